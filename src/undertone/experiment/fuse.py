"""``undertone fuse``: published classifiers, and systems of our own, as the sides of one model folder.

speech and text classifiers ─ label maps ─▶ sides ─▶ a model folder, in seconds
labelled clips ─ logits of every side ─▶ nested cross-validation over speakers ─▶ the same, fitted
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertone import __version__, audio
from undertone.errors import ConfigError, LabelError, UsageError, no_such
from undertone.judging.clip import Clip
from undertone.judging.inputs import recording_of
from undertone.judging.sides import OwnSide, described, member_of
from undertone.labels import CLASSES, in_order
from undertone.labels.published import trained_on
from undertone.labels.synonyms import DROPPED, OTHER, known_to, label_map
from undertone.models import folder
from undertone.models.example import Dimensions
from undertone.models.sides import SideConfig, Sides, SidesConfig

if TYPE_CHECKING:
    from undertone.features.classify import SpeechClassifier, TextClassifier
    from undertone.types import Utterance

__all__ = [
    "Joined",
    "Judged",
    "MadeSide",
    "Wishes",
    "clip_of",
    "joined",
    "judged",
    "make_sides",
    "map_lines",
    "write_sides",
]

Side = Literal["speech", "text"]
REST = {"other": OTHER, "drop": DROPPED}


@dataclass(frozen=True)
class Wishes:
    """What the user states beside the names."""

    maps: Mapping[str, str] = field(default_factory=dict)
    """``CLASS`` or ``NAME:CLASS`` → a class here, ``other`` or ``-``."""
    rest: str | None = None
    """What classes become that nothing decides: ``other`` or ``drop``."""
    classes: tuple[str, ...] = ()
    """Those that there may be; empty: all that the maps give."""
    prior: Mapping[str, float] = field(default_factory=dict)
    """Of classes; the others share what is left."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Powers of members' evidence, by name; 1 where nothing is stated."""
    trained: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Corpora that members were trained on, by name, beside those that are known."""
    precision: str = "auto"
    window: str = "full"


@dataclass(frozen=True)
class MadeSide:
    """A classifier with its map."""

    member: SpeechClassifier | TextClassifier | OwnSide
    side: Side
    given: str
    """The name that the user gave."""
    mapped: dict[str, str]
    """Empty for a regression."""
    trained: tuple[str, ...]

    @property
    def known(self) -> tuple[str, ...]:
        """The classes that it gives evidence about."""
        return known_to(self.mapped)


@dataclass(frozen=True)
class Joined:
    """A system over sides, and what it was made of."""

    system: Sides
    labels: tuple[str, ...]
    sides: tuple[MadeSide, ...]
    """In the order of the system's members."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of the classes: who lacks which."""
        lines = []
        for one in self.sides:
            lacking = [name for name in self.labels if name not in one.known]
            if one.mapped and lacking:
                lines.append(
                    f"{one.given}: lacks {', '.join(lacking)}; it gives no evidence for or against"
                    f" {'it' if len(lacking) == 1 else 'them'}"
                )
        return lines


def make_sides(speech: Sequence[str], text: Sequence[str], wishes: Wishes) -> list[MadeSide]:
    """Every classifier, loaded, with the map of its classes; errors name what is wrong."""
    named = [*(("speech", name) for name in speech), *(("text", name) for name in text)]
    if not named:
        raise UsageError("name at least one classifier by --speech or --text")
    if wishes.rest not in (None, *REST):
        raise UsageError(f"--rest {wishes.rest}: other or drop")
    for name in wishes.classes:
        if name not in (possible := {*CLASSES, OTHER, *wishes.maps.values()}):
            raise UsageError(f"--classes: {no_such('class', name, possible)}")
    _check_names({name for _, name in named}, wishes)
    made = [_side(side, name, wishes) for side, name in named]  # type: ignore[arg-type]
    every = {label for one in made for label in one.member.labels}
    for key in wishes.maps:
        if ":" not in key and key not in every:
            raise LabelError(f"--map {key}: no classifier has such a class ({', '.join(sorted(every))})")
    return made


def _check_names(names: set[str], wishes: Wishes) -> None:
    """What is stated of a member by name is of one that there is."""
    scoped = {key.rpartition(":")[0] for key in wishes.maps if ":" in key}
    for name in (*(s for s in scoped if s not in names), *wishes.weights, *wishes.trained):
        if name not in names:
            raise UsageError(f"'{name}' is not among the given classifiers: {', '.join(sorted(names))}")


def _side(side: Side, name: str, wishes: Wishes) -> MadeSide:
    settings: dict[str, Any] = {"precision": wishes.precision}
    settings |= {"window": wishes.window} if side == "speech" else {}
    member = member_of(name, side, **settings)
    plain = name.removeprefix("hf:")
    given = {}
    for key, target in wishes.maps.items():
        scope, _, own = key.rpartition(":")
        if scope == name or (not scope and own in member.labels):
            given[own] = target
    mapped: dict[str, str] = {}
    if member.task != "regression":
        rest = REST[wishes.rest] if wishes.rest else None
        mapped = label_map(member.labels, given, name, rest=rest, wanted=wishes.classes or None)
    stated = [*wishes.trained.get(name, ()), *_stated(member, plain)]
    return MadeSide(member, side, name, mapped, trained_on(plain, stated))


def _stated(member: SpeechClassifier | TextClassifier | OwnSide, name: str) -> list[str]:
    """The corpora that a folder's own pages name."""
    from undertone.pretrained import locate
    from undertone.pretrained.classifiers import stated_corpora

    if isinstance(member, OwnSide):
        corpus = str(member.model.card.get("corpus", ""))
        return [one.strip() for one in corpus.replace("+", ",").split(",") if one.strip()]
    return stated_corpora(locate(name, member.revision)[0])


def map_lines(sides: Iterable[MadeSide]) -> Iterator[str]:
    """Every map, for a person."""
    for one in sides:
        trained = f" (trained on {', '.join(one.trained)})" if one.trained else ""
        yield f"{one.side} {one.given}{trained}"
        if not one.mapped:
            yield f"    gives {', '.join(one.member.labels)}: dimensions, no classes"
        for name, target in one.mapped.items():
            yield f"    {name} -> {'left out' if target == DROPPED else target}"


def joined(sides: Sequence[MadeSide], wishes: Wishes) -> Joined:
    """The untrained system over the sides: temperatures 1, the product rule, the stated prior."""
    labels = _classes(sides, wishes)
    ordered = tuple(sorted(sides, key=lambda one: one.side))  # stable: speech first
    index = {name: i for i, name in enumerate(labels)} | {DROPPED: -1}
    members = tuple(
        SideConfig(
            name=one.given,
            side=one.side,
            classes=tuple(index[one.mapped[c]] for c in one.member.labels)
            if one.mapped
            else (-1,) * one.member.dim,
            task=one.member.task,
            weight=wishes.weights.get(one.given, 1.0),
        )
        for one in ordered
    )
    widths = {s: sum(one.member.dim for one in ordered if one.side == s) for s in ("speech", "text")}
    sizes = Dimensions(classes=len(labels), speech=widths["speech"], text=widths["text"])
    config = SidesConfig(members=members, prior=_prior(labels, wishes.prior))
    return Joined(Sides(config, sizes).eval(), labels, ordered)


def _classes(sides: Sequence[MadeSide], wishes: Wishes) -> tuple[str, ...]:
    known = [set(one.known) for one in sides if one.mapped]
    if not known:
        raise LabelError(
            f"{sides[0].given}: gives {', '.join(sides[0].member.labels)}, numbers and no classes:"
            " it can stand beside a classifier, not be one"
        )
    for one, names in zip((s for s in sides if s.mapped), known, strict=True):
        others = {label for other in known if other is not names for label in other}
        if len(known) > 1 and not (names - {OTHER}) & others:
            theirs = ", ".join(in_order(others))
            raise LabelError(
                f"{one.given}: knows {', '.join(one.known)}, the others {theirs}: no class is common, so"
                " nothing can be fused; --map states what means the same"
            )
    every = set().union(*known)
    if wishes.classes:
        if lacking := [name for name in wishes.classes if name not in every]:
            raise LabelError(f"--classes: no side knows '{lacking[0]}'")
        return tuple(wishes.classes)
    return (*in_order(every - {OTHER}), *([OTHER] if OTHER in every else []))


def _prior(labels: Sequence[str], stated: Mapping[str, float]) -> tuple[float, ...]:
    """Of each class; those that are not stated share what is left."""
    if not stated:
        return ()
    if unknown := [name for name in stated if name not in labels]:
        raise LabelError(f"--prior: no class '{unknown[0]}' (classes: {', '.join(labels)})")
    left, open_ = 1.0 - sum(stated.values()), len(labels) - len(stated)
    if min(stated.values()) <= 0 or (open_ and left <= 0) or (not open_ and abs(left) > 1e-6):
        raise ConfigError("--prior: shares must be above 0 and sum to 1 with those of the other classes")
    return tuple(stated.get(name, left / max(open_, 1)) for name in labels)


def milliseconds(sides: Iterable[MadeSide], clips: Sequence[Clip] = ()) -> dict[str, float]:
    """What each side takes for a clip, median: of some clips, else of one made up of three seconds."""
    noise = (0.05 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    waves = [c.wave for c in clips[:5] if c.wave is not None] or [noise]
    texts = [c.text for c in clips[:5] if c.text] or ["I did not know that you would be here today"]
    cost = {}
    for one in sides:
        given: Sequence[Any] = waves if one.side == "speech" else texts
        one.member.encode(given[:1])  # the first call is slower
        times = []
        for value in given:
            begun = time.perf_counter()
            one.member.encode([value])
            times.append(1000 * (time.perf_counter() - begun))
        cost[one.given] = round(median(times), 1)
    return cost


def write_sides(out: Path, made: Joined, more: Mapping[str, Any] | None = None) -> None:
    """The model folder of a system over sides; ``more`` goes onto its card."""
    encoders: dict[str, Any] = {}
    for side in ("speech", "text"):
        members = [described(one.member) for one in made.sides if one.side == side]
        if members:
            names = " + ".join(one["name"] for one in members)
            encoders[side] = {"name": names, "members": members}
    trained = {one.given: list(one.trained) for one in made.sides}
    card: dict[str, Any] = {
        "labels": list(made.labels),
        "corpus": "published classifiers",
        "protocol": {"split": "untrained"},
        "encoders": encoders,
        "maps": {one.given: one.mapped for one in made.sides if one.mapped},
        "trained_on": trained,
        "undertone": __version__,
    }
    dims = [one for one in made.sides if one.member.task == "regression"]
    if dims:
        card["asides"] = {"dimensions": [label.casefold() for label in dims[0].member.labels]}
    with torch.no_grad():
        folder.save(out, made.system, card | dict(more or {}))


@dataclass(frozen=True)
class Judged:
    """What the sides gave for labelled clips."""

    parts: tuple[Tensor, ...]
    """Each member's logits (n, K)."""
    present: Tensor
    """(M, n) whether the member had its modality."""
    labels: Tensor
    """(n,)"""
    speakers: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: NDArray[Any]) -> Judged:
        """Some of the clips."""
        index = torch.from_numpy(np.flatnonzero(rows) if rows.dtype == bool else rows)
        parts = tuple(part[index] for part in self.parts)
        return Judged(parts, self.present[:, index], self.labels[index], self.speakers[rows])

    def without(self, member: int) -> Judged:
        """As if a member had never anything."""
        kept = self.present.clone()
        kept[member] = False
        return replace(self, present=kept)


def clip_of(utterance: Utterance) -> Clip:
    wave = audio.load(utterance.audio, utterance.start, utterance.end)
    return Clip(utterance.id, wave, recording_of(utterance).transcript())


def judged(
    made: Joined,
    utterances: Sequence[Utterance],
    labels: Sequence[int],
    watch: Callable[[int, int], None] | None = None,
) -> Judged:
    """The logits that every side gives for the utterances."""
    rows: list[list[NDArray[np.float32]]] = [[] for _ in made.sides]
    present = np.zeros((len(made.sides), len(utterances)), bool)
    for number, utterance in enumerate(utterances):
        clip = clip_of(utterance)
        for index, one in enumerate(made.sides):
            member: Any = one.member
            nothing: NDArray[np.float32] = np.zeros(one.member.dim, np.float32)
            if one.side == "speech":
                given = clip.wave is not None and len(clip.wave) > 0
                row = member.encode([clip.wave])[0][0] if given else nothing
            else:
                given = bool(clip.text and clip.text.strip())
                row = member.encode([clip.text])[0].vectors[0] if given else nothing
            rows[index].append(row)
            present[index, number] = given
        if watch is not None:
            watch(number + 1, len(utterances))
    parts = tuple(torch.from_numpy(np.stack(part)) for part in rows)
    speakers = np.array([str(u.speaker) for u in utterances])
    return Judged(parts, torch.from_numpy(present), torch.tensor(labels), speakers)
