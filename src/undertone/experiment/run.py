"""One job: a fold and a seed of a recipe, from features to a model folder and its predictions.

The order is the protocol: fit on training, choose on validation, calibrate on validation, and only
then open the test part (which is the validation part too under ``selection = "test"``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.config import dump_toml
from undertone.evaluation import metrics
from undertone.experiment import finish
from undertone.experiment.examples import dataset, fit_tokenizer, fold_data, with_copies
from undertone.experiment.examples import dimensions as sizes
from undertone.experiment.material import Material, open_material
from undertone.experiment.networks import FINAL, encoding, warmed, wrapped
from undertone.experiment.recipe import Recipe
from undertone.features.english import not_english
from undertone.features.subword import Subword
from undertone.files import whole, write_json, write_lines, write_whole
from undertone.labels.rated import fit_thresholds, present, to_scale
from undertone.models import folder as models
from undertone.models.calibration import calibrate
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import prompts
from undertone.models.system import System, cross_entropy
from undertone.models.table import build
from undertone.models.targets import Target
from undertone.training.dataset import Dataset
from undertone.training.inference import Outputs, infer
from undertone.training.jobs import Job, mark_done
from undertone.training.loop import Fitted, Watch, fit, seed_everything

__all__ = ["Task", "posteriors_of", "predictions", "run_job"]


@dataclass(frozen=True)
class Task:
    """What a job needs besides its fold and its seed."""

    recipe: Recipe
    folder: Path
    """The run's folder."""


def run_job(job: Job, watch: Watch | None = None) -> None:
    """Train and test one fold with one seed, or make the final model; its folder holds what comes of it."""
    task: Task = job.payload
    recipe = task.recipe
    material = open_material(task.folder, recipe.manifest, recipe.every_turn, recipe.rated)
    job.folder.mkdir(parents=True, exist_ok=True)
    for stale in ("done.json", "metrics.json"):  # of other settings
        (job.folder / stale).unlink(missing_ok=True)
    if job.fold == FINAL:
        _final(job, task, material, watch)
    else:
        _fold(job, recipe, material, watch)
    write_whole(job.folder / "recipe.toml", dump_toml(recipe.plain()))
    (job.folder / finish.STATE).unlink(missing_ok=True)
    mark_done(job)


def _fold(job: Job, recipe: Recipe, material: Material, watch: Watch | None) -> None:
    started = time.perf_counter()
    data = fold_data(material, recipe, job.fold)
    system = fresh(recipe, material, data.dimensions, job.fold, job.seed, data.tokenizer)
    score = partial(unweighted, classes=len(material.corpus.labels))
    state = job.folder / finish.STATE
    fitted = _learner(job, recipe, watch)(system, data.train, data.validation, score=score, state=state)
    before, after = temper(fitted)
    chosen: dict[str, Any] = {"calibrated_on": recipe.protocol.selection}
    chosen |= {"validation_nll": {"before_temperature": before, "after": after}}
    if recipe.protocol.refit:
        fitted, more = _refit(job, recipe, material, fitted, watch)
        chosen |= more
    thresholds = thresholds_of(recipe, data.validation, fitted, material.corpus.labels)
    outputs = infer(fitted.system, data.test.open(fitted))
    finish.write_validation(job.folder, fitted)
    seconds = time.perf_counter() - started
    scales = material.corpus.scales_of(recipe)
    rows = predictions(fitted.system, outputs, material.corpus.labels, recipe.title, scales)
    if thresholds:
        rows = [r | {"present": [k for k, p in r["several"].items() if p > thresholds[k]]} for r in rows]
        chosen["thresholds"] = thresholds
    values = _metrics(outputs, fitted.system, material.corpus.labels)
    values |= {"seconds": seconds, "best_epoch": fitted.best_epoch, "epochs": len(fitted.history)}
    values |= {"parameters": sum(p.numel() for p in system.parameters()), **chosen}
    write_lines(job.folder / "history.jsonl", fitted.history)
    write_lines(job.folder / "predictions.jsonl", [r | {"fold": job.fold, "seed": job.seed} for r in rows])
    if outputs.fused is not None:
        known = outputs.labels != IGNORE
        ids = np.array(outputs.ids)[known]
        with whole(job.folder / "embeddings.npz") as part:
            np.savez(part, ids=ids, fused=outputs.fused[known].astype(np.float32))
    card = model_card(recipe, material, fold=job.fold, seed=job.seed)
    card |= {"thresholds": thresholds} if thresholds else {}
    models.save(job.folder, fitted.system, card, data.tokenizer)
    write_json(job.folder / "metrics.json", values, indent=1)


def _refit(
    job: Job, recipe: Recipe, material: Material, chosen: Fitted, watch: Watch | None
) -> tuple[Fitted, dict[str, Any]]:
    """Again from the start, with the validation part among the training, for the epochs it chose.

    What else the validation part fitted (the members' weights, the temperature) is kept as it was.
    """
    fold = next(f for f in material.split.folds if f.name == job.fold)
    together = [material.corpus.by_id[i] for i in (*fold.train, *fold.validation)]
    data = fold_data(material, recipe, job.fold)
    together = with_copies(material, recipe, together)
    joined = dataset(material, recipe, together, data.tokenizer, data.dimensions)
    before = infer(chosen.system, data.test.open(chosen))
    system = fresh(recipe, material, data.dimensions, job.fold, job.seed, data.tokenizer)
    state = job.folder / f"refit-{finish.STATE}"
    again = _learner(job, recipe, watch)(system, joined, None, ends=chosen.best_epoch, state=state)
    finish.combine_like(system, [chosen])
    system.temperature.copy_(chosen.system.temperature)
    state.unlink(missing_ok=True)
    unrefitted = _metrics(before, chosen.system, material.corpus.labels)
    note = {"before_refit": {name: unrefitted[name] for name in metrics.HEADLINES}}
    return Fitted(again.system, chosen.history, chosen.best_epoch, chosen.validation), note


def _final(job: Job, task: Task, material: Material, watch: Watch | None) -> None:
    """The model one deploys: all data, as many epochs as the folds' median, calibrated as the folds were."""
    recipe, split = task.recipe, material.split
    everyone = [u for u in material.corpus.utterances if u.id in _tested(split.folds)]
    tokenizer = fit_tokenizer(recipe, everyone)
    dims = sizes(material, recipe, tokenizer)
    data = dataset(material, recipe, with_copies(material, recipe, everyone), tokenizer, dims)
    folds = finish.read_folds(task.folder, [f.name for f in split.folds], recipe.protocol.seeds)
    system = fresh(recipe, material, dims, job.fold, job.seed, tokenizer)
    state = job.folder / finish.STATE
    ends = finish.median_epochs(folds)
    _learner(job, recipe, watch)(system, data, None, ends=ends, state=state)
    finish.combine_from(system, folds)
    system.temperature.copy_(torch.tensor(finish.middle_temperature(folds)))
    card = model_card(recipe, material, fold=FINAL, seed=job.seed) | {"epochs": ends}
    if fitted := [f.metrics["thresholds"] for f in folds if "thresholds" in f.metrics]:
        card["thresholds"] = {name: fmean(one[name] for one in fitted) for name in material.corpus.labels}
    models.save(job.folder, system, card | {"folds": finish.fold_metrics(folds)}, tokenizer)


def _learner(job: Job, recipe: Recipe, watch: Watch | None) -> Callable[..., Fitted]:
    """``fit`` with this job's settings."""
    return partial(fit, config=recipe.training, seed=job.seed, origin=job.fingerprint, watch=watch)


def _tested(folds: Sequence[Any]) -> set[str]:
    return {i for fold in folds for part in (fold.train, fold.validation, fold.test) for i in part}


def fresh(
    recipe: Recipe,
    material: Material,
    dimensions: Dimensions,
    fold: str,
    seed: int,
    tokenizer: Subword | None = None,
) -> System:
    """The recipe's system with weights drawn from the seed, or those of ``training.warm``, and the encoders
    that learn with it as they are pretrained."""
    seed_everything(seed)
    system = build(recipe.system, recipe.model.plain(), dimensions, recipe.title)
    target = recipe.target_of(material.corpus.scales_of(recipe))
    if target != Target():
        system.aim(target)
    if system.takes_prompts:
        system.describe(prompts(material.corpus.labels, encoding(recipe, tokenizer), dimensions))
    if recipe.training.warm:
        warmed(system, recipe, material.split.hash, fold, seed)
    return wrapped(recipe, system)


def unweighted(labels: NDArray[np.int64], posteriors: NDArray[np.float32], classes: int) -> float:
    """UA: what chooses epochs."""
    return metrics.ua(labels, posteriors.argmax(-1), classes)


def temper(fitted: Fitted) -> tuple[float, float]:
    """The loss on the validation part before and after the system got its temperature from it."""
    assert fitted.validation is not None
    logits, labels = torch.from_numpy(fitted.validation.logits), torch.from_numpy(fitted.validation.labels)
    if fitted.system.target.judged != "class":  # it estimates the votes, and the labels would sharpen it
        loss = float(cross_entropy(logits, labels))
        return loss, loss
    return calibrate(fitted.system, logits, labels)


def thresholds_of(
    recipe: Recipe, validation: Dataset, fitted: Fitted, labels: Sequence[str]
) -> dict[str, float]:
    """By class: the probability above which it is present, fitted on the validation part; empty where the
    recipe wants none."""
    votes = validation.rated("votes")
    if recipe.thresholds == "even" or "multilabel" not in recipe.target or votes is None:
        return {}
    assert fitted.validation is not None
    known = np.isfinite(votes).all(1)
    values = fit_thresholds(present(votes[known]), fitted.validation.asides["several"][known])
    return {name: round(float(value), 6) for name, value in zip(labels, values, strict=True)}


def posteriors_of(system: System, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Calibrated posteriors (n, C)."""
    with torch.no_grad():
        posteriors: NDArray[np.float64] = system.posteriors(torch.from_numpy(logits)).double().numpy()
    return posteriors


def _metrics(outputs: Outputs, system: System, labels: Sequence[str]) -> dict[str, Any]:
    known = outputs.labels != IGNORE
    posteriors = posteriors_of(system, outputs.logits[known])
    return metrics.summary(outputs.labels[known], posteriors, list(labels))


def predictions(
    system: System,
    outputs: Outputs,
    labels: Sequence[str],
    model: str,
    scales: Mapping[str, tuple[float, float]] | None = None,
) -> list[dict[str, Any]]:
    """A line of ``predictions.jsonl`` for everything that has a label, but for fold and seed; where votes or
    dimensions are targets for everything, with what is predicted of them."""
    from undertone.types import Prediction

    logits = {"fused": outputs.logits, **outputs.branches}
    posteriors = {name: posteriors_of(system, values) for name, values in logits.items()}
    rows = []
    for i, (name, label) in enumerate(zip(outputs.ids, outputs.labels.tolist(), strict=True)):
        if label == IGNORE and not system.target.further:
            continue
        posterior = dict(zip(labels, posteriors["fused"][i].tolist(), strict=True))
        best = max(posterior, key=posterior.__getitem__)
        perspectives = {k: dict(zip(labels, v[i].tolist(), strict=True)) for k, v in posteriors.items()}
        prediction = Prediction(name, best, posterior[best], posterior, perspectives, model=model)
        plain = {key: value for key, value in prediction.plain().items() if key not in OF_RECORDINGS}
        further = {key: values[i] for key, values in outputs.asides.items()}
        plain |= named_asides(further, labels, scales or {}) if further else {}
        rows.append({**plain, "truth": None if label == IGNORE else labels[label]})
    return rows


def named_asides(
    values: Mapping[str, NDArray[np.float32]],
    labels: Sequence[str],
    scales: Mapping[str, tuple[float, float]],
) -> dict[str, dict[str, float]]:
    """``dimensions`` and ``spread`` on their scales, ``distribution`` and ``several`` by class."""
    named: dict[str, dict[str, float]] = {}
    for key, row in values.items():
        if key == "dimensions":
            named[key] = {d: to_scale(float(x), s) for (d, s), x in zip(scales.items(), row, strict=True)}
        elif key == "spread":
            named[key] = {d: float(x) * (s[1] - s[0]) for (d, s), x in zip(scales.items(), row, strict=True)}
        elif key in ("distribution", "several"):
            named[key] = dict(zip(labels, map(float, row), strict=True))
    return {key: {name: round(x, 6) for name, x in inner.items()} for key, inner in named.items()}


OF_RECORDINGS = frozenset({"turns", "speakers", "moments", "change", "evidence", "withheld", "schema"})
"""Fields of an answer to a recording that one utterance's prediction in a run has no use for."""


def model_card(recipe: Recipe, material: Material, *, fold: str, seed: int) -> dict[str, Any]:
    """The card of a model folder: labels, encoders, where the model comes from."""
    import undertone

    languages = _languages(recipe, material)
    return {
        "labels": list(material.corpus.labels),
        **({"languages": languages} if languages else {}),
        "label_set": material.corpus.label_set,
        "corpus": material.corpus.name,
        "synthesised": material.corpus.name == "demo",
        "encoders": material.features.encoders,
        "protocol": {"split": recipe.protocol.split, "fold": fold, "seed": seed, "hash": material.split.hash},
        **(_target_card(recipe, material) if recipe.rated else {}),
        "selection": recipe.protocol.selection,
        "calibrated_on": recipe.protocol.selection,
        "run": recipe.title,
        "undertone": undertone.__version__,
        "notes": list(recipe.notes),
    }


def _target_card(recipe: Recipe, material: Material) -> dict[str, Any]:
    """What is learned, and on which scale each dimension is."""
    scales = material.corpus.scales_of(recipe)
    own = {"asides": {"dimensions": list(scales), "spread": list(scales)}, "scales": scales} if scales else {}
    return {"target": list(recipe.target), **own}


def _languages(recipe: Recipe, material: Material) -> list[str]:
    """The languages of the words that it learns from: as the manifest names them, or English where almost all
    of them read so; none where that is not known."""
    if not recipe.uses_text:
        return []
    spoken = [utterance for utterance in material.corpus.utterances if utterance.text]
    named = {utterance.language for utterance in spoken}
    if named and None not in named:
        return sorted({str(language).lower()[:2] for language in named})
    some = [str(utterance.text) for utterance in spoken[:: max(1, len(spoken) // 500)]]
    english = sum(not_english(text) is None for text in some)
    return ["en"] if some and english >= 0.95 * len(some) else []
