"""A corpus with a planted rule and ready-made features: no audio, no encoder, folds of two speakers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from undertone import manifest as manifests
from undertone.experiment.crossval import Plan, plan
from undertone.experiment.material import Features, LabelledCorpus
from undertone.experiment.recipe import Recipe, parse_recipe
from undertone.experiment.run import run_job
from undertone.store import Store
from undertone.types import Alignment, FrameClock, Segment, Utterance

LABELS = ("angry", "happy", "sad")
WORDS = {"angry": "furious", "happy": "merry", "sad": "gloomy"}
HOP = 0.04
FAST = ("training.epochs=8", "training.batch=16", "training.rate=0.01", "model.width=8")


def corpus(folder: Path, count: int = 90, *, seed: int = 0, words: bool = True) -> Path:
    """A manifest of ``count`` utterances in three sessions of two speakers, six to a dialogue."""
    random = np.random.default_rng(seed)
    utterances = [_utterance(i, random, words) for i in range(count)]
    path = folder / "corpus.jsonl"
    manifests.write(path, utterances, manifests.Meta("planted", "own", LABELS))
    return path


def _utterance(index: int, random: np.random.Generator, words: bool) -> Utterance:
    session, label = index % 3, LABELS[(index // 3) % 3]
    told = [WORDS[label] if words else "plain", *random.choice(["boat", "wave", "river", "house"], 3)]
    order = random.permutation(4)
    text = [told[i] for i in order]
    length = 0.2 * len(text)
    alignment = Alignment(tuple(Segment(w, 0.2 * i, 0.2 * (i + 1)) for i, w in enumerate(text)))
    return Utterance(
        id=f"u{index:03}",
        audio=f"u{index:03}.wav",
        start=0.0,
        end=round(length, 3),
        speaker=f"{session}{'FM'[(index // 3) % 2]}",
        session=str(session),
        dialogue=f"d{session}{index // 18}",
        turn=index,
        text=" ".join(text),
        label=label,
        alignment=alignment,
    )


class Planted:
    """``features_of`` for ``plan``: frames whose level says the label, as loud as ``strength``."""

    def __init__(self, folder: Path, strength: float = 2.0) -> None:
        self.store = Store(folder / "store")
        self.strength = strength
        self.shift: dict[str, str] = {}
        """By utterance: whose frames it is given instead of its own."""
        self.told: dict[str, str] = {}
        """By utterance: the label that its frames say instead of its own."""

    def __call__(self, recipe: Recipe, data: LabelledCorpus) -> Features:
        keys = {}
        with self.store.writer() as writer:
            for utterance in data.utterances:
                label = self.told.get(utterance.id, utterance.label or LABELS[0])
                key = f"{utterance.id}-{label}-{self.strength}".ljust(32, "0")
                keys[utterance.id] = key
                if self.store.get(key) is None:
                    writer.put(key, {"frames": self.frames(utterance, label)})
        swapped = {name: keys[self.shift.get(name, name)] for name in keys}
        return Features(
            str(self.store.root),
            swapped if recipe.uses_speech else {},
            clock=FrameClock(HOP, HOP / 2),
            speech_dim=4,
            encoders={"speech": {"name": "planted", "identity": str(self.strength)}},
        )

    def frames(self, utterance: Utterance, label: str) -> np.ndarray:
        random = np.random.default_rng(int(utterance.id[1:]))
        assert utterance.duration is not None
        frames = random.normal(0, 1, (round(utterance.duration / HOP), 4))
        frames[:, LABELS.index(label)] += self.strength
        return frames.astype(np.float32)


def recipe(manifest: Path, system: str = "concat", *overrides: str) -> Recipe:
    values = {"system": system, "manifest": str(manifest), "text": {"width": 8, "vocabulary": 60}}
    pooled = ["model.pooling=mean_std"] if system in ("speech", "text", "concat", "score") else []
    return parse_recipe(values).but([*FAST, *pooled, *overrides])


def planned(folder: Path, made: Recipe, features: Planted | None = None) -> Plan:
    return plan(made, folder / "runs" / made.title, features or Planted(folder))


def done(folder: Path, made: Recipe, features: Planted | None = None, fold: int = 0) -> Path:
    """Run one fold; its folder."""
    job = planned(folder, made, features).jobs[fold]
    run_job(job)
    return job.folder


def relabelled(path: Path, change: dict[str, str]) -> None:
    """Give utterances other labels."""
    manifest = manifests.read(path)
    changed = [replace(u, label=change.get(u.id, u.label)) for u in manifest.utterances]
    manifests.write(path, changed, manifest.meta)


def retold(path: Path, change: dict[str, str]) -> None:
    """Give utterances other transcripts, and no boundaries."""
    manifest = manifests.read(path)
    changed = [
        replace(u, text=change[u.id], alignment=None) if u.id in change else u for u in manifest.utterances
    ]
    manifests.write(path, changed, manifest.meta)
