"""One fold of one recipe, and what a recipe resolves to before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import UsageError, no_such
from undertone.evaluation.runs import TRIAL
from undertone.experiment.crossval import plan, reserved
from undertone.experiment.material import gather_features, read_corpus
from undertone.experiment.recipe import Recipe
from undertone.experiment.run import run_job
from undertone.labels.rated import DIMENSIONS
from undertone.models.example import Dimensions
from undertone.models.table import build
from undertone.store import Store
from undertone.training.jobs import Job, finished
from undertone.training.loop import Watch

__all__ = ["Sizes", "sizes", "train_one"]


def train_one(
    recipe: Recipe,
    out: Path,
    store: Store,
    *,
    fold: str | None = None,
    seed: int = 0,
    watch: Watch | None = None,
    do: Callable[[Job], None] | None = None,
    over: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """The folder and the metrics of one fold, trained and tested in this process unless ``do`` does it.

    It lies in ``out/<name>/trial``, beside the folds of a cross-validation and never among them.
    """
    seeded = recipe.but([f"protocol.seeds={max(seed + 1, recipe.protocol.seeds)}"])
    folder = out / recipe.title / TRIAL
    with reserved(seeded, folder, over):
        planned = plan(seeded, folder, lambda r, corpus: gather_features(r, corpus.utterances, store))
        names = [f.name for f in planned.split.folds]
        wanted = fold or names[0]
        if wanted not in names:
            raise UsageError(no_such("fold", wanted, names))
        job = next(j for j in planned.jobs if (j.fold, j.seed) == (wanted, seed))
        if not finished(job):
            run_job(job, watch) if do is None else do(job)
        metrics: dict[str, Any] = json.loads((job.folder / "metrics.json").read_text(encoding="utf-8"))
    return job.folder, metrics


@dataclass(frozen=True)
class Sizes:
    """What a recipe resolves to."""

    parameters: int
    members: tuple[str, ...]
    terms: tuple[str, ...]
    """Loss terms that are on."""
    utterances: int = 0
    """0 where the manifest is not there yet."""
    folds: int = 0


def sizes(recipe: Recipe) -> Sizes:
    """Build the recipe's system; where the manifest exists, split it too."""
    from undertone.features.speech import build as speech_encoder

    classes, utterances, folds = 4, 0, 0
    dims: tuple[str, ...] = DIMENSIONS
    if Path(recipe.manifest).is_file():
        corpus = read_corpus(recipe.manifest, recipe.every_turn, recipe.rated)
        dims = tuple(corpus.scales_of(recipe))
        split = recipe.protocol.split_of(corpus.utterances)
        classes, utterances, folds = len(corpus.labels), len(corpus.utterances), len(split.folds)
    acoustic = recipe.speech.name == "acoustic"
    speech = speech_encoder(recipe.speech.encoder).dim if acoustic else WIDTH
    wide = recipe.protocol.level == "dialogue"
    dimensions = Dimensions(
        classes=classes,
        speech=speech * (2 if wide else 1),
        speech_layers=_layers(recipe.speech.layer),
        text=recipe.text.width if recipe.text.learned else WIDTH,
        vocabulary=recipe.text.vocabulary if recipe.text.learned else 0,
        hop=0.0 if wide else HOP,
    )
    system = build(recipe.system, recipe.model.plain(), dimensions, recipe.title)
    if recipe.rated:
        system.aim(recipe.target_of(dims))
    return Sizes(
        parameters=sum(p.numel() for p in system.parameters()),
        members=tuple(name or "whole" for name in system.members()),
        terms=tuple(name for name, weight in system.weights.items() if weight),
        utterances=utterances,
        folds=folds,
    )


def _layers(layer: int | str) -> int:
    """How many hidden states a recipe's speech encoder gives, 0 for one."""
    if isinstance(layer, int) or layer == "last":
        return 0
    low, _, high = layer.partition("-")
    return int(high) - int(low) + 1 if high else LAYERS


WIDTH, LAYERS, HOP = 768, 13, 0.02
"""Of the base-sized encoders: pretrained ones are not loaded for their sizes."""
