"""Two real modalities that share nothing but the class: is fusion as good as the product rule?

    UNDERTONE_DATA=… python benchmarks/pairs.py [--quick] [--box] [--average 4] [--systems speech text …]

RAVDESS clips of four classes, each paired with GoEmotions sentences of the same class. Such pairs are
independent given the class, so that the product of the two posteriors is optimal: they test the code,
missing modalities and calibration, not alignment, and are no corpus of their own. Five speaker
folds; a fold trains on three parts' clips, each with six sentences, and on more sentences without speech; one
part's clips, in ten pairings, choose the epoch; the rest is tested in ten pairings with unseen sentences.
One JSON line a system: ``ratio`` is its UA over the better single side's, in the same run; ``over_product``
its points above the product rule's (``score``). ``--box``: frozen Whisper base and MiniLM (recipes/transfer)
in place of acoustic frames and pieces of words learned here. ``--average 4``: each four frames as their mean,
12.5 a second over Whisper, so that systems which attend to frames take a quarter of the time or less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
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
from undertone.features.assemble import averaged, two_frames
from undertone.features.speech import build as speech_encoder
from undertone.features.subword import Subword
from undertone.features.text import text_encoder
from undertone.models.example import Dimensions, Example
from undertone.models.inputs import prompts
from undertone.models.table import build
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.training.loop import fit, seed_everything

CLASSES = ("angry", "happy", "sad", "neutral")
SYSTEMS = (
    *("speech", "text", "score", "concat", "perspective", "mgcma", "multilevel", "unison"),
    *("mmer", "pooled", "bayesian", "timnet", "clap", "paired"),
)
FOLDS, PAIRINGS, TAUGHT, WORDS_ALONE = 5, 10, 6, 1500
"""Sentences are many, clips few: with six sentences a clip, speech is trained long enough before a system
begins to overfit its sentences."""
SETTINGS = ("model.modality_dropout=0.3", "training.epochs=5", "training.batch=32")
BOXED = (
    "training.rate=5e-4",
    "training.precision=fp32",
    'training.keep="best"',
    "training.class_weights=false",
)
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


Texts = Callable[[str], np.ndarray]
"""What a system takes of a sentence: ids of its pieces, or its tokens' vectors."""


def clips(root: Path, quick: bool, box: bool, average: int) -> list[Clip]:
    """The clips of the four classes; calm counts as neutral."""
    acoustic = load_recipe(recipes_folder() / "ravdess" / "speech.toml").speech.acoustic
    whisper = (
        speech_encoder(load_recipe(recipes_folder() / "transfer" / "speech.toml").speech.encoder)
        if box
        else None
    )
    chosen = []
    for u in Ravdess(root / "ravdess").read():
        label = "neutral" if u.label == "calm" else str(u.label)
        if label in CLASSES and not (quick and int(u.speaker) > FOLDS * 2):
            wave = soundfile.read(u.audio, dtype="float32")[0]
            frames = acoustic_frames(wave, acoustic) if whisper is None else whisper.encode([wave])[0]
            chosen.append(Clip(u.id, u.speaker, CLASSES.index(label), averaged(frames, average)))
    return chosen


def by_class(rows: Sequence[sentences.Sentence], rng: np.random.Generator) -> list[list[str]]:
    """The texts of each class, shuffled."""
    pools = [[s.text for s in rows if s.label == label] for label in CLASSES]
    return [[texts[i] for i in rng.permutation(len(texts))] for texts in pools]


def pairing(chosen: Sequence[Clip], texts: list[list[str]], number: int, taken: Texts) -> list[Example]:
    """Each clip with a sentence of its class; no sentence twice within a pairing, nor in two pairings."""
    used = [number * sum(c.label == k for c in chosen) for k in range(len(CLASSES))]
    made = []
    for clip in chosen:
        pool = texts[clip.label]
        text = taken(pool[used[clip.label] % len(pool)])
        used[clip.label] += 1
        made.append(Example(id=f"{clip.id}/{number}", speech=clip.frames, text=text, label=clip.label))
    return made


def alone(texts: list[list[str]], count: int, taken: Texts) -> list[Example]:
    """Sentences without speech, from the end of the pools."""
    share = count // len(CLASSES)
    return [
        Example(id=f"text/{k}/{i}", speech=None, text=taken(text), label=k)
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
    taken: Texts


def folds(recordings: list[Clip], root: Path, seed: int, quick: bool, box: bool) -> list[Fold]:
    """Five folds over speakers."""
    rng = np.random.default_rng(seed)
    rows = sentences.four(sentences.read(root, "train"))
    cut = len(rows) // 10
    held, taught = by_class(rows[:cut], rng), by_class(rows[cut:], rng)
    unseen = by_class(sentences.four(sentences.read(root, "dev")), rng)
    frames = recordings[0].frames
    layers = frames.shape[0] if frames.ndim == 3 else 0
    if box:
        minilm = text_encoder("minilm-l6")
        taken: Texts = lru_cache(maxsize=None)(lambda text: minilm.encode([text])[0].vectors)
        dims = Dimensions(len(CLASSES), frames.shape[-1], layers, minilm.dim)
    else:
        pieces = Subword.fit([t for pool in taught for t in pool[-2000:]], 4000)
        taken = lru_cache(maxsize=None)(lambda text: pieces.encode(text)[0])
        dims = Dimensions(len(CLASSES), frames.shape[-1], layers, 64, pieces.size)
    speakers = rng.permutation(sorted({c.speaker for c in recordings}))
    group = {str(s): i % FOLDS for i, s in enumerate(speakers)}
    made = []
    for fold in range(FOLDS):
        parts: list[list[Clip]] = [[], [], []]
        for clip in recordings:
            distance = (group[clip.speaker] - fold) % FOLDS
            parts[2 if distance == 0 else 1 if distance == 1 else 0].append(clip)
        train = [e for number in range(TAUGHT) for e in pairing(parts[0], taught, number, taken)]
        train += alone(taught, 400 if quick else WORDS_ALONE, taken)
        tests = [pairing(parts[2], unseen, number, taken) for number in range(PAIRINGS)]
        validation = [e for number in range(PAIRINGS) for e in pairing(parts[1], held, number, taken)]
        made.append(Fold(dims, train, validation, tests, taken))
    return made


def without(examples: Sequence[Example], side: str) -> list[Example]:
    """The examples with one modality alone; those that lack it are left out."""
    if side == "speech":
        return [replace(e, text=None) for e in examples if e.speech is not None]
    return [replace(e, speech=None) for e in examples]


def tested(
    name: str, fold: Fold, seed: int, quick: bool, box: bool, changes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels and ``(pairings, n, C)`` logits of the test part; UA of the validation part."""
    more = (*changes, *(("training.epochs=2",) if quick else ()))
    recipe = load_recipe(
        recipes_folder() / ("transfer" if box else "ravdess") / f"{name}.toml",
        [*SETTINGS[name in ("speech", "text") :], *(BOXED if box else ()), *OWN.get(name, ()), *more],
    )
    side = name if name in ("speech", "text") else None
    sets = [fold.train, fold.validation, *fold.tests]
    if recipe.model.by_statistics:  # the same results, faster
        sets = [[e if e.speech is None else replace(e, speech=two_frames(e.speech)) for e in s] for s in sets]
    data = [Dataset(without(s, side) if side else s, fold.dimensions) for s in sets]
    seed_everything(seed)
    system = build(name, recipe.model.plain(), fold.dimensions)
    if system.takes_prompts:
        system.describe(prompts(CLASSES, fold.taken, fold.dimensions))
    fitted = fit(system, data[0], data[1], recipe.training, score=partial(unweighted, classes=4), seed=seed)
    answers = [infer(fitted.system, d) for d in data[1:]]
    validation = unweighted(answers[0].labels, answers[0].logits, len(CLASSES))
    return answers[1].labels, np.stack([a.logits for a in answers[1:]]), validation


def score(
    name: str, made: list[Fold], seed: int, quick: bool, box: bool, changes: Sequence[str]
) -> dict[str, Any]:
    started = time.process_time()
    results = [tested(name, fold, seed, quick, box, changes) for fold in made]
    labels = np.concatenate([labels for labels, _, _ in results])
    predicted = np.concatenate([logits for _, logits, _ in results], 1).argmax(-1)  # (pairings, n)
    ua = [metrics.ua(labels, row, len(CLASSES)) for row in predicted]
    seconds = time.process_time() - started
    validation = float(np.mean([value for _, _, value in results]))
    return {
        "ua": float(np.mean(ua)),
        "spread": float(np.std(ua)),
        "validation": validation,
        "cpu_s": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ten speakers, two epochs")
    parser.add_argument("--box", action="store_true", help="over the encoders in the box")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS)
    parser.add_argument("--average", type=int, default=1, help="so many frames of speech become one")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the systems")
    parser.add_argument("--folds", type=int, nargs="+", default=range(FOLDS), help="these alone")
    parser.add_argument("--seed", type=int, default=0, help="of folds, pairs and weights")
    chosen = parser.parse_args()
    root = os.environ.get("UNDERTONE_DATA")
    if not root:
        print("skipped: UNDERTONE_DATA does not name the folder with ravdess and goemotions", file=sys.stderr)
        return
    torch.set_num_threads(1)
    recordings = clips(Path(root), chosen.quick, chosen.box, chosen.average)
    made = folds(recordings, Path(root), chosen.seed, chosen.quick, chosen.box)
    made = [fold for number, fold in enumerate(made) if number in chosen.folds]
    single, product = 0.0, None
    for name in chosen.systems:
        scores = score(name, made, chosen.seed, chosen.quick, chosen.box, chosen.set)
        if name in ("speech", "text"):
            single = max(single, scores["ua"])
        product = scores["ua"] if name == "score" else product
        ratio = scores["ua"] / single if single else None
        over = None if product is None else 100 * (scores["ua"] - product)
        what = "boxed-pairs" if chosen.box else "pairs"
        values = {
            "ratio": ratio,
            "over_product": over,
            **scores,
            "seed": chosen.seed,
            "average": chosen.average,
        }
        print(json.dumps({"name": f"{what}/{name}-vs-better-single-side", **values}), flush=True)


if __name__ == "__main__":
    main()
