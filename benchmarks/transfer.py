"""Transfer from real pretrained weights to emotion: what each choice gives and costs.

    UNDERTONE_DATA=… python benchmarks/transfer.py windows [--encoder FOLDER_OR_NAME] [--layer 2] [--every 3]

RAVDESS (4 emotions, 18 speakers), one thread. A probe is a logistic regression on standardised vectors of a
clip (mean and deviation over its frames); its UA is the mean over three draws of six folds of speakers.

windows   Whisper at the clip's length and at 30 s, in fp32 and bf16, and transformers' audio-classification
          pipeline of the same encoder: UA and CPU seconds a clip. All take turns on each clip.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from numpy.typing import NDArray

from _timing import line
from undertone.audio import load
from undertone.features.assemble import functionals
from undertone.features.speech import speech_encoder

EMOTIONS = {"01": "neutral", "02": "neutral", "03": "happy", "04": "sad", "05": "angry"}
"""RAVDESS' codes; its calm is neutral."""
DRAWS, FOLDS, RESAMPLES = 3, 6, 2000
PIPELINE_EVERY = 6
"""The pipeline takes every sixth clip: it costs as much as everything else together."""


@dataclass(frozen=True)
class Clips:
    """Real clips with their labels and speakers."""

    waves: list[NDArray[np.float32]]
    labels: NDArray[Any]
    speakers: NDArray[Any]


def ravdess(data: Path, every: int) -> Clips:
    """Every ``every``-th clip of the four emotions."""
    with (data / "ravdess" / "manifest.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    codes = [Path(row["path"]).name.split("-")[2] for row in listed]
    rows = [(row, EMOTIONS[c]) for row, c in zip(listed, codes, strict=True) if c in EMOTIONS][::every]
    waves = [load(data / "ravdess" / row["path"]) for row, _ in rows]
    return Clips(waves, np.array([label for _, label in rows]), np.array([row["speaker"] for row, _ in rows]))


def probe(vectors: NDArray[np.float32], clips: Clips) -> NDArray[Any]:
    """(DRAWS, clips): each clip's label, predicted by a probe trained on other speakers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.empty((DRAWS, len(vectors)), clips.labels.dtype)
    for draw in range(DRAWS):
        folds = GroupKFold(FOLDS, shuffle=True, random_state=draw)
        for train, test in folds.split(vectors, clips.labels, clips.speakers):
            head = LogisticRegression(C=0.02, max_iter=2000, class_weight="balanced")
            model = make_pipeline(StandardScaler(), head).fit(vectors[train], clips.labels[train])
            predicted[draw, test] = model.predict(vectors[test])
    return predicted


def unweighted(right: NDArray[np.float64], labels: NDArray[Any]) -> float:
    """UA: the mean over labels of the share of clips that are right."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def difference(a: NDArray[Any], b: NDArray[Any], clips: Clips) -> tuple[float, float, float]:
    """UA of ``a`` minus UA of ``b`` in points, with its 95 % interval over speakers."""
    right = [(x == clips.labels).mean(0) for x in (a, b)]
    drawn, names, values = np.random.default_rng(0), np.unique(clips.speakers), []
    rows = {name: np.flatnonzero(clips.speakers == name) for name in names}
    for _ in range(RESAMPLES):
        some = np.concatenate([rows[name] for name in drawn.choice(names, len(names))])
        scores = [unweighted(x[some], clips.labels[some]) for x in right]
        values.append(100 * (scores[0] - scores[1]))
    low, high = np.percentile(values, [2.5, 97.5])
    return 100 * (unweighted(right[0], clips.labels) - unweighted(right[1], clips.labels)), low, high


def pipeline(name: str) -> Callable[[NDArray[np.float32]], Any]:
    """transformers' audio-classification pipeline over the encoder of a Whisper, in fp32."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
    from transformers import pipeline as made

    model = AutoModelForAudioClassification.from_pretrained(name, num_labels=4, dtype=torch.float32)
    classify = made(
        "audio-classification", model=model, feature_extractor=AutoFeatureExtractor.from_pretrained(name)
    )
    return lambda wave: classify({"raw": wave, "sampling_rate": 16_000})


def published(name: str, layer: int, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """One clip's frames by transformers' own forward at 30 s, the padding's cut off."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    mel = AutoFeatureExtractor.from_pretrained(name)(wave, sampling_rate=16_000, return_tensors="pt")
    encoder = AutoModel.from_pretrained(name, dtype=torch.float32).get_encoder()
    with torch.inference_mode():
        states = encoder(**mel, output_hidden_states=True).hidden_states[layer][0].numpy()
    return np.asarray(states[: -(-len(wave) // 320)])


def windows(data: Path, options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    clips = ravdess(data, options.every)
    name = options.encoder or str(data / "encoders" / "whisper-tiny.en")
    kinds = [(w, p) for p in ("fp32", "bf16") for w in ("clip", "full") if f"{w}-{p}" not in options.without]
    ours = {
        f"{window}-{precision}": speech_encoder(name, options.layer, precision, window=window)
        for window, precision in kinds
    }
    classify = pipeline(name)
    vectors: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in ours}
    taken: dict[str, list[float]] = {kind: [] for kind in (*ours, "pipeline")}
    for kind in ours:
        ours[kind].encode(clips.waves[:1])
    classify(clips.waves[0])
    for number, wave in enumerate(clips.waves):
        for kind, encoder in ours.items():
            began = time.process_time()
            (frames,) = encoder.encode([wave])
            taken[kind].append(time.process_time() - began)
            vectors[kind].append(functionals(frames)[0])
        if number % PIPELINE_EVERY == 0:
            began = time.process_time()
            classify(wave)
            taken["pipeline"].append(time.process_time() - began)
    more: dict[str, Any] = {}
    if "full-fp32" in ours:
        (exact,) = ours["full-fp32"].encode(clips.waves[:1])
        theirs = published(name, options.layer, clips.waves[0])
        more["full_fp32_rel_err"] = float(np.abs(exact - theirs).max() / np.abs(theirs).max())
    predicted = {kind: probe(np.stack(values), clips) for kind, values in vectors.items()}
    seconds = {kind: float(np.mean(values)) for kind, values in taken.items()}
    label = f"transfer/windows/{Path(name).name}/layer-{options.layer}"
    length = float(np.mean([len(wave) for wave in clips.waves])) / 16_000
    full = next(kind for kind in predicted if kind.startswith("full"))
    for kind, labels in predicted.items():
        points, low, high = difference(labels, predicted[full], clips)
        line(
            f"{label}/{kind}",
            ua=100 * unweighted((labels == clips.labels).mean(0), clips.labels),
            difference=[round(x, 1) for x in (points, low, high)],
            same_decisions=float((labels == predicted[full]).mean()),
            compared_with=full,
            seconds_a_clip=seconds[kind],
            against_pipeline=seconds["pipeline"] / seconds[kind],
            clips=len(clips.waves),
        )
    line(f"{label}/pipeline", seconds_a_clip=seconds["pipeline"], clip_seconds=length, **more)


SECTIONS = {"windows": windows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all of them when none is named")
    parser.add_argument("--encoder", help="a Whisper's folder or hub name; the shared tiny.en when not given")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--every", type=int, default=3, help="take every n-th clip")
    parser.add_argument("--without", nargs="*", default=[], help="windows: kinds to leave out, as full-fp32")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    data = Path(os.environ.get("UNDERTONE_DATA") or "")
    if not (data / "ravdess").is_dir():
        raise SystemExit("UNDERTONE_DATA names no folder with ravdess: nothing is measured")
    for section in options.sections or SECTIONS:
        SECTIONS[section](data, options)


if __name__ == "__main__":
    main()
