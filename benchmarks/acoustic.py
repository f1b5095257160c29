"""Acoustic frames: speed against openSMILE, and accuracy with each normalisation.

    UNDERTONE_DATA=… python benchmarks/acoustic.py [--quick]

Speed: CPU seconds for a minute of noise, one thread, against openSMILE's eGeMAPS descriptors. Accuracy:
RAVDESS (648 clips of 4 emotions, 18 speakers), statistics of each clip's frames into a
logistic regression, six folds of speakers, UA; with ``+gain`` each clip is louder or softer by up to
12 dB, differently in training and test: the score that remains does not come from the recording level.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _timing import measure, report
from undertone.audio import load
from undertone.features.acoustic import acoustic_frames
from undertone.features.config import AcousticConfig
from undertone.features.speech import speech_encoder

EMOTIONS = {"01": "neutral", "02": "neutral", "03": "happy", "04": "sad", "05": "angry"}


def speed(quick: bool) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000 * (10 if quick else 60)).astype(np.float32)
    ours = speech_encoder("acoustic")
    rivals: dict[str, Any] = {"ours": lambda: ours.encode([wave])}
    if importlib.util.find_spec("opensmile"):
        smile = speech_encoder("egemaps")
        rivals["opensmile"] = lambda: smile.encode([wave])
    times = measure(rivals, 2 if quick else 7)
    real_time = len(wave) / 16_000 / times["ours"].cpu
    theirs = times["opensmile"].cpu if "opensmile" in times else float("nan")
    report("acoustic/frames/opensmile-egemaps", times["ours"].cpu, theirs, times_real_time=real_time)


def statistics(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """One vector a clip: mean, spread, deciles, movement; pitch of voiced frames."""
    voiced = frames[:, -2][frames[:, -1] > 0.5] if (frames[:, -1] > 0.5).any() else np.zeros(1)
    deciles = np.percentile(frames, [10, 50, 90], axis=0).ravel()
    moves = np.abs(np.diff(frames, axis=0)).mean(0)
    pitch = [voiced.mean(), voiced.std(), np.median(voiced)]
    vector = np.concatenate([frames.mean(0), frames.std(0), deciles, moves, pitch])
    return vector.round(4)  # zeros with rounding errors must not be scaled up


def unweighted_accuracy(vectors: NDArray[np.float64], labels: NDArray[Any], speakers: NDArray[Any]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = []
    for train, test in GroupKFold(6).split(vectors, labels, speakers):
        head = LogisticRegression(C=0.02, max_iter=2000, class_weight="balanced")
        model = make_pipeline(StandardScaler(), head).fit(vectors[train], labels[train])
        scores.append(balanced_accuracy_score(labels[test], model.predict(vectors[test])))
    return float(np.mean(scores))


def accuracy(folder: Path, quick: bool) -> None:
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["path"]).name.split("-")[2] in EMOTIONS]
    rows = rows[:: 8 if quick else 1]
    waves = [load(folder / row["path"]) for row in rows]
    labels = np.array([EMOTIONS[Path(row["path"]).name.split("-")[2]] for row in rows])
    speakers = np.array([row["speaker"] for row in rows])
    gains = 10 ** (np.random.default_rng(0).uniform(-12, 12, len(waves)) / 20)
    for how in ("none", "gain", "bands", "utterance"):
        config = AcousticConfig(stack=2, normalise=how)  # type: ignore[arg-type]
        for name, scale in ((how, np.ones(len(waves))), (f"{how}+gain", gains)):
            frames = (
                acoustic_frames((w * g).astype(np.float32), config) for w, g in zip(waves, scale, strict=True)
            )
            score = unweighted_accuracy(np.stack([statistics(f) for f in frames]), labels, speakers)
            print(
                json.dumps({"name": f"acoustic/ravdess-4/{name}", "ua": round(score, 3), "clips": len(rows)})
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    speed(quick)
    data = os.environ.get("UNDERTONE_DATA")
    if data and (Path(data) / "ravdess").is_dir():
        accuracy(Path(data) / "ravdess", quick)
    else:
        print(json.dumps({"name": "acoustic/ravdess-4", "skipped": "UNDERTONE_DATA is not set"}))


if __name__ == "__main__":
    main()
