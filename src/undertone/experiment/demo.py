"""An experiment from end to end on synthesised speech: corpus, features, cross-validation, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone.config import fingerprint
from undertone.errors import TrainingError, UsageError, no_such
from undertone.evaluation import report, results
from undertone.experiment.crossval import Watched, crossval
from undertone.experiment.example import write_example
from undertone.experiment.prepare import prepare
from undertone.experiment.recipe import Recipe, load_recipe, recipes_folder
from undertone.files import write_json, write_whole
from undertone.models.table import SYSTEMS, preferred
from undertone.store import Store
from undertone.training.jobs import Failure, Job

__all__ = ["DemoResult", "demo", "demo_recipes"]

log = logging.getLogger(__name__)

SIZE, QUICK_SIZE = 1000, 500
"""Utterances of the corpus."""
QUICK = ("training.epochs=12",)
ALL = "all"


@dataclass(frozen=True)
class DemoResult:
    """Where the demo wrote its files, and its results."""

    runs: tuple[Path, ...]
    results: tuple[results.Result, ...]
    summary: Path
    report: Path
    failures: tuple[Failure, ...]
    recipes: tuple[Recipe, ...]
    clip: Path
    """A clip of the corpus, to predict."""
    words: str
    """Its transcript."""


def demo_recipes(
    out: Path, quick: bool = False, overrides: Sequence[str] = (), systems: Collection[str] = ()
) -> list[Recipe]:
    """The demo's recipes, reading the corpus in ``out``: of the systems that it shows, ``all`` that have one
    there, or those named.

    ``quick``: of the preferred system, and of those that are there to compare with.
    """
    manifest = f"manifest={json.dumps((out / 'corpus.jsonl').as_posix())}"
    changed = [manifest, *(QUICK if quick else ()), *overrides]
    files = {name: recipes_folder() / "demo" / f"{name}.toml" for name in SYSTEMS}
    ranks = {name: system.rank for name, (system, _) in SYSTEMS.items()}
    present = [name for name, file in files.items() if file.is_file()]
    for name in systems:
        if name not in (*present, ALL):
            raise UsageError(no_such("system", name, (*present, ALL)))
    if systems:
        chosen = [name for name in present if name in systems or ALL in systems]
    else:
        shown = [name for name in present if SYSTEMS[name][0].demonstrated]
        chosen = [name for name in shown if not quick or ranks[name] == 0 or name == preferred()]
    return [load_recipe(files[name], changed) for name in chosen]


def demo(
    out: Path,
    *,
    quick: bool = False,
    processes: int = 2,
    overrides: Sequence[str] = (),
    systems: Collection[str] = (),
    say: Callable[[str], None] = log.info,
    start: Callable[[Sequence[Job]], None] | None = None,
    watch: Watched | None = None,
) -> DemoResult:
    """Run the demo into ``out``; what is there from an earlier call is not done again."""
    recipes = demo_recipes(out, quick, overrides, systems)
    utterances = _corpus(out, QUICK_SIZE if quick else SIZE, processes, say)
    say("extract and cross-validate: " + ", ".join(recipe.title for recipe in recipes))
    store = Store(out / "store")
    done = crossval(recipes, out, store=store, processes=processes, start=start, watch=watch, over=True)
    runs = done.whole
    if not runs:
        raise TrainingError(f"no system got through every fold, the first: {done.failures[0].why}")
    say("report")
    clip = utterances[0]
    for recipe, run in zip(recipes, done.runs, strict=True):
        if run in runs:
            write_example(recipe, run)
    measured = report.render(runs, out / "report.html", reference=_reference(runs))
    summary = out / "summary.json"
    write_json(summary, _summary(measured), indent=2)
    return DemoResult(
        runs=runs,
        results=tuple(measured),
        summary=summary,
        report=out / "report.html",
        failures=done.failures,
        recipes=tuple(recipes),
        clip=Path(clip.audio),
        words=clip.text or "",
    )


def _reference(runs: Sequence[Path]) -> str:
    """The run that others are compared with: the preferred system's where it is among them."""
    return max((run.name for run in runs), key=lambda name: SYSTEMS[name][0].rank)


def _corpus(out: Path, size: int, processes: int, say: Callable[[str], None]) -> tuple[Any, ...]:
    """The corpus in ``out``, made unless it is there already from the same code."""
    path, made = out / "corpus.jsonl", out / "corpus.made"
    mark = fingerprint([size, *(p.read_bytes().hex() for p in _sources())])
    if not (path.is_file() and made.is_file() and made.read_text(encoding="utf-8") == mark):
        say(f"make the demo corpus: {size} utterances of synthesised speech")
        made.unlink(missing_ok=True)
        prepare("demo", out / "corpus", path, options={"size": size, "workers": processes})
        write_whole(made, mark)
    return manifests.read(path).resolved()


def _sources() -> list[Path]:
    """The files that determine the corpus."""
    package = Path(__file__).parents[1]
    return sorted(p for room in ("corpora/demo", "espeak") for p in (package / room).glob("*.py"))


def _summary(measured: Sequence[results.Result]) -> dict[str, Any]:
    card = measured[0].run.card
    systems = {
        result.name: {
            "wa": round(result.seeds["wa"].mean, 6),
            "ua": round(result.seeds["ua"].mean, 6),
            "ua_interval": [round(result.intervals["ua"].low, 6), round(result.intervals["ua"].high, 6)],
            "seconds": round(result.run.seconds or 0.0, 3),
        }
        for result in measured
    }
    protocol = f"{card.protocol}, {card.folds} folds, seeds {list(card.seeds)}, selection by {card.selection}"
    return {"corpus": card.corpus, "protocol": protocol, "systems": systems}
