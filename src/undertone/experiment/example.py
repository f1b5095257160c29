"""One tested utterance to look at closely: its wave, its words, and what each side contributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from undertone import audio
from undertone.evaluation.report import envelope
from undertone.experiment.examples import examples
from undertone.experiment.material import open_material
from undertone.experiment.recipe import Recipe
from undertone.features.subword import Subword
from undertone.models import folder as models
from undertone.models.batch import Batch, collate
from undertone.models.explain import explain
from undertone.models.system import System
from undertone.types import Utterance

__all__ = ["write_example"]


def write_example(recipe: Recipe, run: Path, wanted: str | None = None) -> Path | None:
    """``example.json`` of a run: the wanted utterance, else the first whose stress turns its words' meaning.

    None at the dialogue level, where a word is no part of a turn's vector, and where encoders learn.
    """
    if recipe.protocol.level == "dialogue" or recipe.speech.tuned or recipe.text.tuned:
        return None
    material = open_material(run, recipe.manifest, everything=False)
    utterance = material.corpus.by_id[wanted] if wanted else _telling(material.corpus.utterances)
    fold = next(f for f in material.split.folds if utterance.id in f.test)
    folder = run / fold.name / "0"
    out = run / "example.json"
    weights = folder / "model.safetensors"
    if out.is_file() and out.stat().st_mtime >= weights.stat().st_mtime:
        return out
    loaded = models.load(folder)
    tokenizer = Subword.load(loaded.tokenizer) if loaded.tokenizer else None
    batch = collate(examples(material, recipe, [utterance], tokenizer), loaded.dimensions)
    values = _values(loaded.system, batch, utterance, loaded.labels) | {"fold": fold.name, "seed": 0}
    out.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    return out


def _telling(utterances: tuple[Utterance, ...]) -> Utterance:
    """An utterance with words and boundaries, if there is one; of the demo, one that stress decides."""

    def worth(utterance: Utterance) -> int:
        bounds = utterance.alignment is not None and bool(utterance.alignment.word)
        return 2 * (utterance.extra.get("kind") == "stress") + bounds + bool(utterance.text)

    return max(utterances, key=worth)


@torch.no_grad()
def _values(system: System, batch: Batch, utterance: Utterance, labels: tuple[str, ...]) -> dict[str, Any]:
    output = system.eval()(batch)
    whole = system.posteriors(output.logits)[0]
    best = int(whole.argmax())

    def named(posterior: torch.Tensor) -> dict[str, float]:
        return {label: round(float(p), 6) for label, p in zip(labels, posterior, strict=True)}

    branches = {"speech": output.speech, "text": output.text}
    perspectives = {k: named(system.posteriors(v)[0]) for k, v in branches.items() if v is not None}
    wave = audio.load(utterance.audio, utterance.start, utterance.end)
    return {
        "id": utterance.id,
        "truth": utterance.label,
        "label": labels[best],
        "text": utterance.text or "",
        "duration": round(len(wave) / 16_000, 3),
        "wave": envelope(wave),
        "tiers": _tiers(utterance),
        "words": _words(system, batch, utterance),
        "modalities": _without(system, batch, best),
        "perspectives": {"fused": named(whole), **perspectives},
    }


def _tiers(utterance: Utterance) -> dict[str, list[dict[str, Any]]]:
    if utterance.alignment is None:
        return {}
    return {
        name: [{"text": s.text, "start": s.start, "end": s.end} for s in utterance.alignment.tier(name)]
        for name in utterance.alignment.tiers
    }


def _words(system: System, batch: Batch, utterance: Utterance) -> list[dict[str, Any]]:
    """What the label's log posterior loses with each word."""
    if utterance.alignment is None or "word" not in batch.segments:
        return []
    scores = explain(system, batch)[0].tolist()
    return [
        {"text": s.text, "contribution": round(score, 4), "start": s.start, "end": s.end}
        for s, score in zip(utterance.alignment.word, scores, strict=False)
    ]


def _without(system: System, batch: Batch, label: int) -> dict[str, float]:
    """What the label's log posterior loses with each side, where there are two."""
    if not bool(batch.present.all()):
        return {}
    gone = torch.ones(1, dtype=torch.bool)

    def belief(asked: Batch) -> float:
        return float(np.log(max(float(system.posteriors(system(asked).logits)[0, label]), 1e-9)))

    whole = belief(batch)
    return {
        "speech": round(whole - belief(batch.without(speech=gone)), 4),
        "text": round(whole - belief(batch.without(text=gone)), 4),
    }
