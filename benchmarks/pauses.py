"""Does a pause change the answer? Clips of one speaker and one emotion joined with gaps, and clips with more
silence or noise around them, judged by the starter.

    UNDERTONE_DATA=… python benchmarks/pauses.py [--quick]

Only clips that are judged right alone take part, so what is printed says nothing about accuracy: the starter
was trained on these speakers. The opponent is the same model given each recording as one clip. That all ways
to ask give the same prediction is tested by ``tests/serving/test_routes.py``.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from _timing import line
from undertone import audio
from undertone.judging.clip import Clip
from undertone.judging.predictor import Predictor, load

LABELS = {
    "anger": "angry", "angry": "angry", "happiness": "happy", "happy": "happy",
    "sadness": "sad", "sad": "sad", "neutral": "neutral",
}  # fmt: skip
GAPS = (0.2, 0.5, 1.0, 2.0)
RATE = audio.RATE


@dataclass(frozen=True)
class Sample:
    """A real clip and what is known of it."""

    corpus: str
    speaker: str
    label: str
    text: str
    wave: np.ndarray


def samples(data: Path, each: int) -> list[Sample]:
    """Clips of both corpora, ``each`` of every speaker and label."""
    drawn = np.random.default_rng(0)
    chosen = []
    for corpus in ("ravdess", "emodb"):
        groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        with (data / corpus / "manifest.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["label"] in LABELS:
                    groups[row["speaker"], LABELS[row["label"]]].append(row)
        for (speaker, label), rows in sorted(groups.items()):
            for at in drawn.permutation(len(rows))[:each]:
                wave = audio.load(data / corpus / rows[at]["path"])
                chosen.append(Sample(corpus, speaker, label, rows[at].get("transcript") or "", wave))
    return chosen


def joined(parts: list[Sample], gap: float) -> np.ndarray:
    """The clips with silence between them."""
    silence = np.zeros(round(gap * RATE), np.float32)
    waves = [piece for part in parts for piece in (silence, part.wave)]
    return np.concatenate(waves[1:]).astype(np.float32)


def label(model: Predictor, wave: np.ndarray, text: str | None = None) -> str:
    """The most probable class, whether the model abstains or not."""
    return str(model.predict(wave, text, explain=False, threshold=0.0).label)


def as_one_clip(model: Predictor, wave: np.ndarray) -> str:
    (prediction,) = model.model.predict([Clip("whole", wave)])
    return max(prediction.probabilities, key=prediction.probabilities.__getitem__)


def recordings(right: list[Sample]) -> list[tuple[float, list[Sample]]]:
    """Joined recordings of 2 and of 4 clips with every gap, of every group that has enough clips."""
    groups: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
    for one in right:
        groups[one.corpus, one.speaker, one.label].append(one)
    many = [group for group in groups.values() if len(group) >= 4]
    return [(gap, group[:count]) for group in many for count in (2, 4) for gap in GAPS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    data = Path(os.environ.get("UNDERTONE_DATA") or "")
    if not (data / "ravdess").is_dir():
        raise SystemExit("UNDERTONE_DATA names no folder with ravdess and emodb: nothing is measured")
    model = load("starter")
    right = [one for one in samples(data, 4) if label(model, one.wave) == one.label]
    plan = recordings(right)
    plan = plan[:: len(plan) // 24] if quick else plan[:: max(1, len(plan) // 240)]
    kept: dict[str, list[bool]] = {"pooled": [], "one clip": [], "with words": []}
    by_gap: dict[float, list[bool]] = defaultdict(list)
    for gap, parts in plan:
        wave, text = joined(parts, gap), " ".join(part.text for part in parts) or None
        kept["pooled"].append(label(model, wave) == parts[0].label)
        kept["one clip"].append(as_one_clip(model, wave) == parts[0].label)
        by_gap[gap].append(kept["pooled"][-1])
        if parts[0].corpus == "ravdess":  # the transcripts are neutral English sentences
            speech = model.predict(wave, text, explain=False).perspectives["speech"]
            kept["with words"].append(max(speech, key=speech.__getitem__) == parts[0].label)
    line(
        "joined recordings keep their label",
        value=float(np.mean(kept["pooled"])),
        recordings=len(plan),
        speech_side_with_words=float(np.mean(kept["with words"])),
        by_gap={str(gap): float(np.mean(values)) for gap, values in sorted(by_gap.items())},
        opponent="the recording as one clip",
        opponent_value=float(np.mean(kept["one clip"])),
    )
    drawn = np.random.default_rng(1)
    same: dict[str, list[bool]] = {"silence": [], "room noise": []}
    few = right[:: 12 if quick else 2]
    for one in few:
        for kind in same:
            before, after = (round(drawn.uniform(0.0, 8.0) * RATE) for _ in range(2))
            around = [np.zeros(n, np.float32) for n in (before, after)]
            if kind == "room noise":
                around = [room(drawn, n, one.wave) for n in (before, after)]
            wave = np.concatenate([around[0], one.wave, around[1]]).astype(np.float32)
            same[kind].append(label(model, wave) == one.label)
    for kind, values in same.items():
        line(f"label with 0 to 8 s of {kind} at either end", value=float(np.mean(values)), clips=len(values))


def room(drawn: np.random.Generator, count: int, speech: np.ndarray) -> np.ndarray:
    """Low noise, 35 dB below the clip's level: a quiet room."""
    noise = np.convolve(drawn.standard_normal(count + 15), np.full(16, 0.25), "valid")
    level = np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    return (noise * level * 10 ** (-35 / 20)).astype(np.float32)


if __name__ == "__main__":
    main()
