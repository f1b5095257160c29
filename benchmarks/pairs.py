"""Two real modalities that share nothing but the class: is fusion as good as the product rule?

    UNDERTONE_DATA=… python benchmarks/pairs.py [--quick] [--systems speech text score unison …]

RAVDESS clips of four classes, each paired with GoEmotions sentences of the same class. Such pairs are
independent given the class, so that the product of the two posteriors is optimal: they test the code,
missing modalities and calibration, not alignment, and are no corpus of their own. Five speaker
folds; a fold trains on three parts' clips, each with six sentences, and on more sentences without speech; one
part's clips, in ten pairings, choose the epoch; the rest is tested in ten pairings with unseen sentences.
One JSON line a system: ``ratio`` is its UA over the better single side's, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parents[1]))  # ``studies`` is not installed

import numpy as np
import soundfile
import torch

from studies.starter import sentences
from undertone.corpora.ravdess import Ravdess
from undertone.evaluation import metrics
from undertone.experiment.recipe import load_recipe, recipes_folder
from undertone.experiment.run import unweighted
from undertone.features.acoustic import acoustic_frames
from undertone.features.subword import Subword
from undertone.models.example import Dimensions, Example
from undertone.models.table import build
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.training.loop import fit, seed_everything

CLASSES = ("angry", "happy", "sad", "neutral")
SYSTEMS = ("speech", "text", "score", "concat", "perspective", "mgcma", "multilevel", "unison")
FOLDS, PAIRINGS, TAUGHT, WORDS_ALONE = 5, 10, 6, 1500
"""Sentences are many, clips few: with six sentences a clip, speech is trained long enough before a system
begins to overfit its sentences."""
SETTINGS = ("model.modality_dropout=0.3", "training.epochs=5", "training.batch=32")
OWN = {
    "score": ('model.late="product"',),
    "multilevel": ('model.members=["early-frame","late-frame"]',),
    "unison": ("model.delta=1.0",),
}
"""RAVDESS is used as released, without word boundaries. The product rule is the reference."""


@dataclass(frozen=True)
class Clip:
    """A recording's frames."""

    id: str
    speaker: str
    label: int
    frames: np.ndarray


def clips(root: Path, quick: bool) -> list[Clip]:
    """The clips of the four classes; calm counts as neutral."""
    acoustic = load_recipe(recipes_folder() / "ravdess" / "speech.toml").speech.acoustic
    chosen = []
    for u in Ravdess(root / "ravdess").read():
        label = "neutral" if u.label == "calm" else str(u.label)
        if label in CLASSES and not (quick and int(u.speaker) > FOLDS * 2):
            wave = soundfile.read(u.audio, dtype="float32")[0]
            chosen.append(Clip(u.id, u.speaker, CLASSES.index(label), acoustic_frames(wave, acoustic)))
    return chosen


def by_class(rows: Sequence[sentences.Sentence], rng: np.random.Generator) -> list[list[str]]:
    """The texts of each class, shuffled."""
    pools = [[s.text for s in rows if s.label == label] for label in CLASSES]
    return [[texts[i] for i in rng.permutation(len(texts))] for texts in pools]


def pairing(chosen: Sequence[Clip], texts: list[list[str]], number: int, pieces: Subword) -> list[Example]:
    """Each clip with a sentence of its class; no sentence twice within a pairing, nor in two pairings."""
    used = [number * sum(c.label == k for c in chosen) for k in range(len(CLASSES))]
    made = []
    for clip in chosen:
        pool = texts[clip.label]
        ids, _ = pieces.encode(pool[used[clip.label] % len(pool)])
        used[clip.label] += 1
        made.append(Example(id=f"{clip.id}/{number}", speech=clip.frames, text=ids, label=clip.label))
    return made


def alone(texts: list[list[str]], count: int, pieces: Subword) -> list[Example]:
    """Sentences without speech, from the end of the pools."""
    share = count // len(CLASSES)
    return [
        Example(id=f"text/{k}/{i}", speech=None, text=pieces.encode(text)[0], label=k)
        for k, pool in enumerate(texts)
        for i, text in enumerate(pool[-share:])
    ]


@dataclass(frozen=True)
class Fold:
    """One fold's examples."""

    dimensions: Dimensions
    train: list[Example]
    validation: list[Example]
    tests: list[list[Example]]


def folds(recordings: list[Clip], root: Path, seed: int, quick: bool) -> list[Fold]:
    """Five folds over speakers."""
    rng = np.random.default_rng(seed)
    rows = sentences.four(sentences.read(root, "train"))
    cut = len(rows) // 10
    held, taught = by_class(rows[:cut], rng), by_class(rows[cut:], rng)
    unseen = by_class(sentences.four(sentences.read(root, "dev")), rng)
    pieces = Subword.fit([t for pool in taught for t in pool[-2000:]], 4000)
    speakers = rng.permutation(sorted({c.speaker for c in recordings}))
    group = {str(s): i % FOLDS for i, s in enumerate(speakers)}
    dims = Dimensions(len(CLASSES), recordings[0].frames.shape[1], 0, 64, pieces.size)
    made = []
    for fold in range(FOLDS):
        parts: list[list[Clip]] = [[], [], []]
        for clip in recordings:
            distance = (group[clip.speaker] - fold) % FOLDS
            parts[2 if distance == 0 else 1 if distance == 1 else 0].append(clip)
        train = [e for number in range(TAUGHT) for e in pairing(parts[0], taught, number, pieces)]
        train += alone(taught, 400 if quick else WORDS_ALONE, pieces)
        tests = [pairing(parts[2], unseen, number, pieces) for number in range(PAIRINGS)]
        validation = [e for number in range(PAIRINGS) for e in pairing(parts[1], held, number, pieces)]
        made.append(Fold(dims, train, validation, tests))
    return made


def without(examples: Sequence[Example], side: str) -> list[Example]:
    """The examples with one modality alone; those that lack it are left out."""
    if side == "speech":
        return [replace(e, text=None) for e in examples if e.speech is not None]
    return [replace(e, speech=None) for e in examples]


def tested(name: str, fold: Fold, seed: int, quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels and ``(pairings, n, C)`` logits of the test part."""
    more = ("training.epochs=2",) if quick else ()
    recipe = load_recipe(
        recipes_folder() / "ravdess" / f"{name}.toml",
        [*SETTINGS[name in ("speech", "text") :], *OWN.get(name, ()), *more],
    )
    side = name if name in ("speech", "text") else None
    sets = [fold.train, fold.validation, *fold.tests]
    data = [Dataset(without(s, side) if side else s, fold.dimensions) for s in sets]
    seed_everything(seed)
    system = build(name, recipe.model.plain(), fold.dimensions)
    fitted = fit(system, data[0], data[1], recipe.training, score=partial(unweighted, classes=4), seed=seed)
    answers = [infer(fitted.system, d) for d in data[2:]]
    return answers[0].labels, np.stack([a.logits for a in answers])


def score(name: str, made: list[Fold], seed: int, quick: bool) -> dict[str, Any]:
    started = time.process_time()
    results = [tested(name, fold, seed, quick) for fold in made]
    labels = np.concatenate([labels for labels, _ in results])
    predicted = np.concatenate([logits for _, logits in results], 1).argmax(-1)  # (pairings, n)
    ua = [metrics.ua(labels, row, len(CLASSES)) for row in predicted]
    seconds = time.process_time() - started
    return {"ua": float(np.mean(ua)), "spread": float(np.std(ua)), "cpu_s": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ten speakers, two epochs")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS)
    parser.add_argument("--seed", type=int, default=0, help="of folds, pairs and weights")
    chosen = parser.parse_args()
    root = os.environ.get("UNDERTONE_DATA")
    if not root:
        print("skipped: UNDERTONE_DATA does not name the folder with ravdess and goemotions", file=sys.stderr)
        return
    torch.set_num_threads(1)
    made = folds(clips(Path(root), chosen.quick), Path(root), chosen.seed, chosen.quick)
    single = 0.0
    for name in chosen.systems:
        scores = score(name, made, chosen.seed, chosen.quick)
        if name in ("speech", "text"):
            single = max(single, scores["ua"])
        ratio = scores["ua"] / single if single else None
        print(
            json.dumps({"name": f"pairs/{name}-vs-better-single-side", "ratio": ratio, **scores}), flush=True
        )


if __name__ == "__main__":
    main()
