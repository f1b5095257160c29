"""Run folders as a cross-validation leaves them, with planted accuracies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone import splits
from undertone.config import dump_toml
from undertone.evaluation import card as cards
from undertone.evaluation import facts, metrics
from undertone.evaluation.card import Card
from undertone.evaluation.report import envelope
from undertone.evaluation.runs import write_plan
from undertone.types import Utterance

LABELS = ("angry", "happy", "sad", "neutral")


def people(size: int = 400, seed: int = 0) -> list[Utterance]:
    """Five sessions of two speakers in dialogues, scripted and improvised, with noise and lengths."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(size):
        session, dialogue, sex = i % 5 + 1, i // 5 % 4, "FM"[i // 20 % 2]
        scripted = dialogue < 2
        line = f"line number {i // 40 if scripted else i} of the play"
        made.append(
            Utterance(
                f"s{session}d{dialogue}{sex}{i:04}",
                f"{i}.wav",
                end=round(float(rng.lognormal(1.2, 0.5)), 2),
                speaker=f"{session}{sex}",
                session=str(session),
                dialogue=f"s{session}d{dialogue}",
                text=line,
                text_source="gold",
                label=str(rng.choice(LABELS, p=[0.2, 0.3, 0.2, 0.3])),
                extra={"scripted": scripted, "snr": round(float(rng.uniform(0, 30)), 1)},
            )
        )
    return made


def posteriors(rng: np.random.Generator, truth: np.ndarray, skill: float) -> np.ndarray:
    """Posteriors whose argmax is right more often the greater ``skill`` is."""
    logits = rng.gumbel(0, 1, (len(truth), len(LABELS)))
    logits[np.arange(len(truth)), truth] += skill
    logits[:, 1] += 0.25
    odds = np.exp(1.1 * logits)
    return odds / odds.sum(axis=1, keepdims=True)


def make_run(
    folder: Path,
    skill: float = 1.5,
    *,
    utterances: Sequence[Utterance] | None = None,
    seeds: Sequence[int] = (0, 1),
    sides: bool = True,
    example: bool = True,
    recipe: dict[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """A finished run in ``folder``; ``changed`` goes into its protocol card."""
    spoken = people() if utterances is None else list(utterances)
    split = splits.make(spoken, "loso")
    by_id = {u.id: u for u in spoken}
    rng = np.random.default_rng(sum(map(ord, folder.name)))
    own = {name: rng.normal(0, 0.35) for name in sorted({u.speaker or "" for u in spoken})}
    for fold in split.folds:
        truth = np.array([LABELS.index(by_id[i].label or "") for i in fold.test])
        shift = np.array([own[by_id[i].speaker or ""] for i in fold.test])
        for seed in seeds:
            where = folder / fold.name / str(seed)
            where.mkdir(parents=True)
            said = {"fused": posteriors(rng, truth, 0)}
            for side, gain in (("fused", 1.0), ("speech", 0.6), ("text", 0.5)):
                if side == "fused" or sides:
                    said[side] = np.stack(
                        [
                            posteriors(rng, truth[j : j + 1], skill * gain + shift[j])[0]
                            for j in range(len(truth))
                        ]
                    )
            _write_predictions(where, fold.test, fold.name, seed, truth, said)
            scores = metrics.summary(truth, said["fused"], LABELS) | {"seconds": 4.2 + skill}
            (where / "metrics.json").write_text(json.dumps(scores), encoding="utf-8")
            _write_history(where, scores["ua"], rng)
            centres = np.random.default_rng(3).normal(0, skill, (4, 16))
            vectors = (centres[truth] + rng.normal(0, 1, (len(truth), 16))).astype(np.float32)
            np.savez(where / "embeddings.npz", ids=np.array(fold.test), fused=vectors)
            given = recipe or {"system": folder.name, "model": {"width": 64}}
            (where / "recipe.toml").write_text(dump_toml(given), encoding="utf-8")
            (where / "done.json").write_text(json.dumps({"fingerprint": f"{fold.name} {seed}"}))
    write_plan(folder, [(f.name, seed, f"{f.name} {seed}") for f in split.folds for seed in seeds])
    own_card = Card(
        corpus="demo",
        labels="demo4",
        protocol="loso",
        seeds=tuple(seeds),
        counts={c: sum(u.label == c for u in spoken) for c in LABELS},
        data="2b63d84d63e81663",
        split=split.hash,
        folds=len(split.folds),
        encoders={"speech": "acoustic (79eae8b1)", "text": "subword (fitted in the fold)"},
        code="0.1.0+55332da833",
        machine="2 cores · AMD EPYC · Linux · Python 3.11.7",
        audit=(
            "warning: 24.5% of 2,123 scripted utterances occur word for word in another part of the split",
        ),
        notes=("reconstruction: no code was published",),
    )
    cards.write(folder, replace(own_card, **changed))
    facts.write(folder, facts.facts(spoken, split))
    if example:
        (folder / "example.json").write_text(json.dumps(_example(spoken[7], rng, sides)), encoding="utf-8")
    return folder


def _write_predictions(
    where: Path, ids: Sequence[str], fold: str, seed: int, truth: np.ndarray, said: dict[str, np.ndarray]
) -> None:
    rows = []
    for j, i in enumerate(ids):
        sides = {side: dict(zip(LABELS, p[j].round(6).tolist(), strict=True)) for side, p in said.items()}
        best = max(sides["fused"], key=lambda label: sides["fused"][label])
        row = {"id": i, "label": best, "confidence": sides["fused"][best], "probabilities": sides["fused"]}
        row |= {"perspectives": sides, "truth": LABELS[truth[j]], "fold": fold, "seed": seed}
        rows.append(json.dumps(row))
    (where / "predictions.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _write_history(where: Path, end: float, rng: np.random.Generator) -> None:
    epochs = int(rng.integers(9, 16))
    rows = [
        {
            "epoch": e + 1,
            "loss": 1.4 * np.exp(-e / 6),
            "validation_ua": float(
                np.clip(0.25 + (end - 0.25) * (1 - np.exp(-e / 3)) + rng.normal(0, 0.012), 0, 1)
            ),
        }
        for e in range(epochs)
    ]
    (where / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


def _example(utterance: Utterance, rng: np.random.Generator, sides: bool) -> dict[str, Any]:
    words = "I really can't believe you did that".split()
    edges = np.concatenate([[0.18], 0.18 + np.cumsum(rng.uniform(0.14, 0.42, len(words)))])
    duration = float(edges[-1] + 0.2)
    time = np.linspace(0, duration, 12000)
    loud = sum(np.exp(-(((time - (a + b) / 2) / (b - a) * 2.4) ** 2)) for a, b in pairwise(edges))
    pieces = [(w, float(a), float(b)) for w, a, b in zip(words, edges, edges[1:], strict=False)]
    halves = [(w[: len(w) // 2 or 1], a, (a + b) / 2) for w, a, b in pieces] + [
        (w[len(w) // 2 :], (a + b) / 2, b) for w, a, b in pieces if len(w) > 3
    ]
    believed = dict(zip(LABELS, (0.62, 0.21, 0.07, 0.10), strict=True))
    return {
        "id": utterance.id,
        "fold": "session-3",
        "seed": 0,
        "truth": "angry",
        "label": "angry",
        "text": " ".join(words),
        "duration": round(duration, 3),
        "wave": envelope(rng.normal(0, 0.25, len(time)) * loud),
        "tiers": {
            "word": [{"text": w, "start": a, "end": b} for w, a, b in pieces],
            "syllable": [{"text": w, "start": a, "end": b} for w, a, b in halves],
        },
        "words": [
            {"text": w, "contribution": round(float(rng.normal(0.1, 0.3)), 3), "start": a, "end": b}
            for w, a, b in pieces
        ],
        "modalities": {"speech": 0.83, "text": -0.12} if sides else {},
        "perspectives": {"fused": believed} | ({"speech": believed, "text": believed} if sides else {}),
    }


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., Path]:
    """``runs("name", skill, …)`` makes a run folder."""

    def make(name: str, skill: float = 1.5, **options: Any) -> Path:
        return make_run(tmp_path / "runs" / name, skill, **options)

    return make
