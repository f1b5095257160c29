"""One tested utterance to look at closely: its wave, its words, and what each modality contributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from undertone import audio
from undertone.evaluation.report import envelope
from undertone.experiment.material import open_material
from undertone.experiment.recipe import Recipe
from undertone.files import write_whole
from undertone.judging.clip import Clip
from undertone.judging.inputs import recording_of
from undertone.judging.model import TrainedModel
from undertone.judging.networks import load_torch
from undertone.types import Utterance

__all__ = ["write_example"]


def write_example(recipe: Recipe, run: Path, wanted: str | None = None) -> Path | None:
    """``example.json`` of a run: the wanted utterance, else the first whose stress turns its words' meaning.

    None at the dialogue level, where a word is no part of a turn's vector.
    """
    if recipe.protocol.level == "dialogue":
        return None
    material = open_material(run, recipe.manifest, everything=False, rated=recipe.rated)
    utterance = material.corpus.by_id[wanted] if wanted else _worth_a_look(material.corpus.utterances)
    fold = next(f for f in material.split.folds if utterance.id in f.test)
    folder = run / fold.name / "0"
    out = run / "example.json"
    weights = folder / "model.safetensors"
    if out.is_file() and out.stat().st_mtime >= weights.stat().st_mtime:
        return out
    values = _values(load_torch(folder), utterance) | {"fold": fold.name, "seed": 0}
    write_whole(out, json.dumps(values, ensure_ascii=False))
    return out


def _worth_a_look(utterances: tuple[Utterance, ...]) -> Utterance:
    """An utterance with words and boundaries, if there is one; of the demo, one that stress decides."""

    def worth(utterance: Utterance) -> int:
        bounds = utterance.alignment is not None and bool(utterance.alignment.word)
        return 2 * (utterance.extra.get("kind") == "stress") + bounds + bool(utterance.text)

    return max(utterances, key=worth)


def _values(model: TrainedModel, utterance: Utterance) -> dict[str, Any]:
    wave = audio.load(utterance.audio, utterance.start, utterance.end, model.rate)
    clip = Clip(utterance.id, wave, recording_of(utterance).transcript())
    (prediction,) = model.predict([clip], explain=True)
    return {
        "id": utterance.id,
        "truth": utterance.label,
        "label": max(prediction.probabilities, key=prediction.probabilities.__getitem__),
        "text": utterance.text or "",
        "duration": round(len(wave) / model.rate, 3),
        "wave": envelope(wave),
        "tiers": _tiers(utterance),
        "words": [
            {"text": w.text, "contribution": round(w.contribution, 4), "start": w.start, "end": w.end}
            for w in prediction.words
        ],
        "modalities": _modalities(model, clip),
        "perspectives": {
            name: {label: round(value, 6) for label, value in posterior.items()}
            for name, posterior in prediction.perspectives.items()
        },
    }


def _tiers(utterance: Utterance) -> dict[str, list[dict[str, Any]]]:
    if utterance.alignment is None:
        return {}
    return {
        name: [{"text": s.text, "start": s.start, "end": s.end} for s in utterance.alignment.tier(name)]
        for name in utterance.alignment.tiers
    }


def _modalities(model: TrainedModel, clip: Clip) -> dict[str, float]:
    """What the label's log posterior loses without each modality, where there are two."""
    (features,) = model.encoders.encode([clip])
    if len(features.sides) < 2:
        return {}
    fused = model.network.run([features, features.only("text"), features.only("speech")])["fused"]
    whole, *without = np.log(np.maximum(fused[:, fused[0].argmax()], 1e-9)).tolist()
    return {side: round(whole - rest, 4) for side, rest in zip(("speech", "text"), without, strict=True)}
