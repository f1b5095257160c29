"""Where words carry no emotion, do they lower the scores? And which granularity of speech helps?

    UNDERTONE_DATA=… python benchmarks/harmless.py [--corpora emodb ravdess4 ravdess8]
        [--systems speech unison multilevel-word …] [--epochs N] [--seeds 1] [--jobs 2] [--out DIR] [--quick]

EmoDB with phones, syllables and words marked by people; RAVDESS in four classes (calm is neutral) and eight,
its words aligned by us. Recipes are those of ``recipes/``; five folds over speakers. Each system is run with
the true transcripts and, named ``…-shuffled``, with each transcript replaced by another clip's, its words put
on the segments in their order. ``multilevel-word`` … are the granularities one by one: speech and words at
that level. One JSON line a run: UA, its difference to ``speech`` with a paired interval over speakers,
``ratio`` of the two. Finished folds are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from undertone import manifest
from undertone.evaluation import facts, metrics, runs, significance
from undertone.experiment.align import align
from undertone.experiment.aligned import AlignmentRequest
from undertone.experiment.crossval import crossval
from undertone.experiment.prepare import prepare
from undertone.experiment.recipe import Recipe, load_recipe, recipes_folder
from undertone.store import Store
from undertone.types import Alignment, Segment, Utterance

CORPORA = {"emodb": "emodb4", "ravdess4": "ravdess4", "ravdess8": "ravdess8"}
"""The label set of each."""
SYSTEMS = (
    *("speech", "text", "score", "concat", "perspective", "mgcma", "multilevel", "unison"),
    *("mmer", "pooled", "bayesian", "timnet", "clap", "paired"),
)
LEVELS = ("multilevel-frame", "multilevel-phone", "multilevel-syllable", "multilevel-word")
"""Speech and words at one granularity."""
QUICK = ("speech", "concat")


def prepared(corpus: str, data: Path, out: Path, jobs: int) -> Path:
    """The corpus with boundaries."""
    aligned = out / f"{corpus}.jsonl"
    if aligned.is_file():
        return aligned
    name = corpus.rstrip("48")
    plain = out / f"{corpus}-plain.jsonl"
    prepare(name, data / name, plain, labels=CORPORA[corpus])
    how = (
        AlignmentRequest("given", source=str(data / name)) if name == "emodb" else AlignmentRequest("sphinx")
    )
    align(plain, aligned, how, jobs=jobs)
    return aligned


def shuffled(path: Path) -> Path:
    """The manifest with each transcript replaced by another clip's."""
    made = path.with_name(f"{path.stem}-shuffled.jsonl")
    if not made.is_file():
        whole = manifest.read(path)
        manifest.write(made, exchanged(list(whole.utterances)), whole.meta)
    return made


def exchanged(utterances: list[Utterance]) -> Iterator[Utterance]:
    others = list(utterances)
    random.Random(0).shuffle(others)
    for u, other in zip(utterances, others, strict=True):
        yield replace(u, text=other.text, alignment=renamed(u, other))


def renamed(u: Utterance, other: Utterance) -> Alignment | None:
    """The clip's own boundaries with the other's words in their order."""
    if u.alignment is None:
        return None
    names = list(other.alignment.word if other.alignment else ())
    names += [Segment("", 0, 0)] * len(u.alignment.word)
    words = (replace(w, text=n.text, chars=n.chars) for w, n in zip(u.alignment.word, names, strict=False))
    return replace(u.alignment, word=tuple(words))


def recipes(corpus: str, path: Path, chosen: argparse.Namespace) -> Iterator[Recipe]:
    """Every run of one corpus."""
    folder = recipes_folder() / corpus.rstrip("48")
    common = [f"protocol.seeds={chosen.seeds}", *chosen.set]
    if epochs := 2 if chosen.quick else chosen.epochs:
        common.append(f"training.epochs={epochs}")

    def named(system: str, name: str, manifest_path: Path) -> Recipe:
        whole, _, level = system.partition("-")
        more = [f'model.members=["early-{level}"]'] if level else []
        given = [*common, f'manifest="{manifest_path}"', f'name="{name}"', *more]
        return load_recipe(folder / f"{whole}.toml", given)

    other = shuffled(path)
    for system in chosen.systems:
        yield named(system, f"{corpus}-{system}", path)
        if system != "speech" and system not in LEVELS:
            yield named(system, f"{corpus}-{system}-shuffled", other)


def line(run: runs.Run, speech: runs.Run) -> dict[str, Any]:
    """One run's UA, and its difference to speech alone."""
    ua = float(np.mean([_ua(run, row) for row in run.predictions.predicted()]))
    alone = float(np.mean([_ua(speech, row) for row in speech.predictions.predicted()]))
    row = {"name": f"harmless/{run.name}-vs-speech", "ua": round(ua, 4), "ratio": round(ua / alone, 4)}
    if run.name != speech.name:
        gap = significance.paired(_tallies(run), _tallies(speech)).difference
        row |= {"difference": round(gap.value, 4), "low": round(gap.low, 4), "high": round(gap.high, 4)}
    return row | {"seeds": len(run.predictions.seeds), "seconds": round(run.seconds or 0.0)}


def _ua(run: runs.Run, row: np.ndarray) -> float:
    return metrics.ua(run.predictions.truth, row, len(run.predictions.labels))


def _tallies(run: runs.Run) -> significance.Tallies:
    made = run.predictions
    speakers = facts.grouping(run.facts, made.ids, "speaker")
    return significance.tally(made.truth, made.predicted(), speakers, len(made.labels))


def report(out: Path, names: Iterable[str], corpus: str) -> None:
    speech = runs.read(out / f"{corpus}-speech")
    for name in names:
        print(json.dumps(line(runs.read(out / name), speech)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS + LEVELS, default=SYSTEMS + LEVELS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all systems")
    parser.add_argument("--epochs", type=int, help="default: the recipes' (30)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/harmless"))
    parser.add_argument(
        "--quick", action="store_true", help="EmoDB, two systems, two epochs, in runs/harmless-quick"
    )
    chosen = parser.parse_args()
    data = os.environ.get("UNDERTONE_DATA")
    if not data:
        print("skipped: UNDERTONE_DATA does not name the folder with emodb and ravdess", file=sys.stderr)
        return
    if chosen.quick:
        chosen.corpora, chosen.systems, chosen.out = ["emodb"], QUICK, Path("runs/harmless-quick")
    chosen.out.mkdir(parents=True, exist_ok=True)
    for corpus in chosen.corpora:
        made = list(recipes(corpus, prepared(corpus, Path(data), chosen.out, chosen.jobs), chosen))
        crossval(made, chosen.out, store=Store(chosen.out / "store"), processes=chosen.jobs, final=False)
        report(chosen.out, [recipe.title for recipe in made], corpus)


if __name__ == "__main__":
    main()
