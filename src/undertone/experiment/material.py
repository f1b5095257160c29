"""What every job of a run reads: utterances, folds, and where each utterance's features are in the store.

Written once into the run's folder (``split.json``, ``features.json``) before any training; jobs, in
processes of their own, find it there and need no encoder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone import splits
from undertone.config import Config, fingerprint
from undertone.errors import ConfigError, LabelError, ManifestError
from undertone.experiment.networks import tuned_text
from undertone.experiment.recipe import Recipe
from undertone.features import speech as speech_encoders
from undertone.features import text as text_encoders
from undertone.features.config import CODE
from undertone.features.extract import extract, speech_key, text_key
from undertone.files import write_json
from undertone.labels import in_order
from undertone.labels.rated import DIMENSIONS, SCALES
from undertone.labels.rated import rated as ratings
from undertone.manifest.meta import sidecar
from undertone.store import Store
from undertone.types import TIERS, FrameClock, Segment, Utterance

__all__ = [
    "Features",
    "LabelledCorpus",
    "Material",
    "copy_id",
    "gather_features",
    "open_material",
    "read_corpus",
]

FILE = "features.json"


@dataclass(frozen=True)
class LabelledCorpus:
    """A manifest, ready to be split."""

    name: str
    label_set: str
    labels: tuple[str, ...]
    """The classes, in the order of a model's outputs."""
    utterances: tuple[Utterance, ...]
    """With absolute audio; turns without a label only where ``everything`` is wanted."""
    scales: Mapping[str, tuple[float, float] | None]
    """By dimension that utterances have: the least and the largest rating, None where that is not known."""
    mark: str
    """Hash of the classes and of all that is known of the utterances, but not of their recordings: neither
    where they are nor what they hold."""

    def known(self, ids: Iterable[str]) -> str:
        """Hash of the classes and of all that is known of these utterances."""
        return fingerprint([list(self.labels), [_known(self.by_id[i]) for i in sorted(ids)]])

    def scales_of(self, recipe: Recipe) -> dict[str, tuple[float, float]]:
        """The dimensions that the recipe learns, each with its scale."""
        if "dimensions" not in recipe.target:
            return {}
        known = {name: recipe.scales.get(name) or scale for name, scale in self.scales.items()}
        if not known:
            raise ManifestError(
                f"{recipe.manifest}: no utterance has ratings of arousal, valence or dominance"
            )
        for name, scale in known.items():
            if scale is None or scale[0] >= scale[1]:
                raise ConfigError(
                    f"{recipe.title}: the scale of {name} is not known: --set scales.{name}=[1,7] states it"
                )
        return {name: scale for name, scale in known.items() if scale is not None}

    @cached_property
    def by_id(self) -> dict[str, Utterance]:
        return {u.id: u for u in self.utterances}


@dataclass(frozen=True)
class Features:
    """Where the features of a manifest are, and their sizes."""

    store: str
    """Folder of the store."""
    speech: Mapping[str, str] = field(default_factory=dict)
    """By utterance: its key; empty where no speech is used."""
    text: Mapping[str, str] = field(default_factory=dict)
    """By utterance: its key; empty where text is not used, or its encoder is learned in the fold."""
    clock: FrameClock | None = None
    speech_dim: int = 0
    speech_layers: int = 0
    text_dim: int = 0
    encoders: Mapping[str, Any] = field(default_factory=dict)
    """``speech`` and ``text``: name, identity and settings of each, as a model's card has them."""

    @property
    def mark(self) -> str:
        """Hash of all that a training reads of them: not of where they are, nor where they were made."""
        identities = {side: encoder["identity"] for side, encoder in self.encoders.items()}
        return fingerprint([identities, dict(self.speech), dict(self.text)])


@dataclass(frozen=True)
class Material:
    """Everything a job reads."""

    corpus: LabelledCorpus
    split: splits.Split
    features: Features


def read_corpus(path: str | Path, everything: bool = False, rated: str = "") -> LabelledCorpus:
    """The utterances of a manifest that have a label; all of them where context is wanted, and with ``rated``
    (``Recipe.rated``) those that have votes or ratings alone.

    A manifest that many recipes share is read once, as long as it stays as it is.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise ManifestError(
            f"{path}: no such manifest; `undertone prepare` makes one, --set manifest=FILE names another"
        )
    files = [p.stat() for p in (path, sidecar(path)) if p.is_file()]
    return _read(path, everything, rated, tuple((f.st_ino, f.st_mtime_ns, f.st_size) for f in files))


@lru_cache(maxsize=4)
def _read(
    path: Path, everything: bool, rated: str, _as_it_is: tuple[tuple[int, int, int], ...]
) -> LabelledCorpus:
    manifest = manifests.read(path)
    labelled = [u.label for u in manifest.utterances if u.label is not None]
    if not labelled and not (rated and manifest.meta.classes):
        raise ManifestError(
            f"{path}: no utterance has a label to learn from (of a table: prepare it with --map COLUMN=label)"
        )
    strange = manifests.unknown_labels(manifest)
    if wrong := [u for u in manifest.utterances if u.label in strange]:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise LabelError(f"{path}: {wrong[0].id}: {strange[str(wrong[0].label)]}{more}")
    labels = manifest.meta.classes or in_order(labelled)
    kept = tuple(
        u
        for u in manifest.resolved()
        if everything or u.label is not None or (rated == "train" and (u.votes or ratings(u.extra)))
    )
    known = [_known(u) + ([dict(u.votes), ratings(u.extra)] if rated else []) for u in kept]
    mark = fingerprint([list(labels), known])
    name = manifest.meta.corpus or path.stem
    own = manifest.meta.scales or dict.fromkeys(DIMENSIONS, SCALES.get(name))
    there = {dimension for u in kept for dimension in ratings(u.extra)}
    scales = {d: own.get(d) for d in DIMENSIONS if d in there}
    return LabelledCorpus(name, manifest.meta.label_set or "own", tuple(labels), kept, scales, mark)


def _known(utterance: Utterance) -> list[Any]:
    """What splits, training and scoring go by."""
    u = utterance
    tiers = [(tier, [_placed(s) for s in u.alignment.tier(tier)]) for tier in TIERS] if u.alignment else []
    return [u.id, u.start, u.end, u.speaker, u.session, u.dialogue, u.turn, u.text, u.label, tiers]


def _placed(segment: Segment) -> list[Any]:
    return [segment.text, round(segment.start, 4), round(segment.end, 4), segment.chars]


def gather_features(
    recipe: Recipe, utterances: Sequence[Utterance], store: Store, *, jobs: int = 1
) -> Features:
    """Encode what the store lacks; returns where everything is."""
    speech = speech_encoders.build(recipe.speech.encoder) if recipe.uses_speech else None
    wants_text = recipe.uses_text and not recipe.text.learned and not recipe.text.tuned
    text = text_encoders.build(recipe.text.encoder) if wants_text else None
    written = [u for u in utterances if u.text] if text is not None else []
    extract(utterances, store, speech=speech, jobs=jobs)
    copies = [speech_encoders.Changed(speech, n + 1) for n in range(recipe.speech.copies)] if speech else []
    for copied in copies:
        extract(utterances, store, speech=copied, jobs=jobs)
    if text is not None:
        extract(written, store, text=text, jobs=jobs)
    encoders: dict[str, Any] = {}
    layers, text_dim = (speech.layers if speech else 0), (text.dim if text else 0)
    if speech is not None:
        encoders["speech"] = described_encoder(speech, recipe.speech.encoder)
        if recipe.speech.tuned:
            encoders["speech"]["tuning"] = recipe.speech.tuning.plain()
            layers = recipe.speech.tuning.layers(speech.blocks)  # type: ignore[attr-defined]
    if text is not None:
        encoders["text"] = described_encoder(text, recipe.text.encoder)
    elif recipe.uses_text and recipe.text.tuned:
        encoders["text"], text_dim = tuned_text(recipe)
    elif recipe.uses_text:
        encoders["text"] = {"name": recipe.text.name, "identity": f"fitted in the fold, {_subword(recipe)}"}
    keys = {u.id: speech_key(u, speech) for u in utterances} if speech is not None else {}
    keys |= {copy_id(u.id, c.number): speech_key(u, c) for c in copies for u in utterances}
    text_keys = {u.id: text_key(u, text) for u in written} if text is not None else {}
    text_keys |= {copy_id(name, c.number): key for c in copies for name, key in text_keys.items()}
    return Features(
        store=str(store.root),
        speech=keys,
        text=text_keys,
        clock=speech.clock if speech is not None else None,
        speech_dim=speech.dim if speech is not None else 0,
        speech_layers=layers,
        text_dim=text_dim,
        encoders=encoders,
    )


def copy_id(utterance: str, number: int) -> str:
    """The name of an utterance's copy."""
    return f"{utterance}#copy-{number}"


def described_encoder(encoder: Any, wanted: Config) -> dict[str, Any]:
    """A model's card of an encoder, with what ``auto`` and a branch's name came to on this machine: the model
    asks for the same features on a machine where they would come to something else."""
    settings = getattr(encoder, "config", wanted).plain()
    values = {"name": encoder.name, "identity": encoder.identity, "settings": settings}
    if files := getattr(encoder, "files", None):
        values |= {"files": dict(files), "code": CODE}
    if revision := getattr(encoder, "revision", None):
        values["revision"] = revision
    return values


def _subword(recipe: Recipe) -> str:
    return f"{recipe.text.vocabulary} × {recipe.text.width}"


def write_features(folder: Path, features: Features) -> None:
    """Write ``features.json`` into the run's folder."""
    write_json(folder / FILE, asdict(features))


def _read_features(folder: Path) -> Features:
    values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    clock = values.pop("clock")
    values.pop("recordings", None)  # of an older version
    return Features(**values, clock=FrameClock(**clock) if clock else None)


def open_material(folder: Path, manifest: str, everything: bool, rated: str = "") -> Material:
    """What the run in ``folder`` was planned with; read once a process."""
    changed = (folder / FILE).stat().st_mtime_ns, (folder / "split.json").stat().st_mtime_ns
    return _open(folder, manifest, everything, rated, changed)


@lru_cache(maxsize=8)
def _open(folder: Path, manifest: str, everything: bool, rated: str, _changed: tuple[int, int]) -> Material:
    corpus = read_corpus(manifest, everything, rated)
    split = splits.read(folder / "split.json")
    split.check(u.id for u in corpus.utterances)
    return Material(corpus, split, _read_features(folder))
