"""The three parts of a fold, made of utterances and their features. Only the training part is fitted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ProtocolError, StoreError
from undertone.experiment import networks
from undertone.experiment.material import Features, Material, copy_id
from undertone.experiment.recipe import Recipe
from undertone.features.assemble import assemble, functionals, two_frames
from undertone.features.subword import Subword
from undertone.labels.rated import fractions, rated, to_unit
from undertone.models.characters import spelled
from undertone.models.example import IGNORE, Dimensions, Example, as_turn, dialogue
from undertone.store import Store
from undertone.training.dataset import Dataset
from undertone.training.loop import Fitted
from undertone.types import Alignment, EncodedText, FrameClock, Utterance

__all__ = ["FoldData", "Sealed", "dataset", "examples", "fold_data", "with_copies"]

Vectors = NDArray[np.float32]
Words: TypeAlias = "EncodedText | tuple[NDArray[np.int64], NDArray[np.int32]]"
SLACK = 0.15
"""Seconds by which frames may be shorter or longer than the utterance is by the manifest."""


class Sealed:
    """The test part of a fold: nothing of it is made before the fold's system is final."""

    def __init__(self, make: Callable[[], Dataset]) -> None:
        self._make = make

    def open(self, final: Fitted) -> Dataset:
        """The test part; ``final`` proves that the system is finished."""
        if not isinstance(final, Fitted):
            raise ProtocolError("the test part opens for a finished system only")
        return self._make()


@dataclass(frozen=True)
class FoldData:
    """One fold, ready to train."""

    train: Dataset
    validation: Dataset
    test: Sealed
    dimensions: Dimensions
    tokenizer: Subword | None
    """Of text that comes as ids; None where it comes as vectors."""


def fold_data(material: Material, recipe: Recipe, fold: str) -> FoldData:
    """The parts of a fold, as its split has them."""
    chosen = next(f for f in material.split.folds if f.name == fold)
    train = _pick(material, chosen.train)
    tokenizer = fit_tokenizer(recipe, train)
    dims = dimensions(material, recipe, tokenizer)

    def make(ids: Sequence[str]) -> Dataset:
        return dataset(material, recipe, _pick(material, ids), tokenizer, dims)

    return FoldData(
        train=dataset(material, recipe, with_copies(material, recipe, train), tokenizer, dims),
        validation=make(chosen.validation),
        test=Sealed(lambda: make(chosen.test)),
        dimensions=dims,
        tokenizer=tokenizer,
    )


def dataset(
    material: Material,
    recipe: Recipe,
    utterances: Sequence[Utterance],
    tokenizer: Subword | None,
    dims: Dimensions,
) -> Dataset:
    """The utterances as examples, to be batched as the recipe's system takes them."""
    made = examples(material, recipe, utterances, tokenizer)
    if recipe.model.targets and recipe.protocol.level == "utterance":
        wanted = recipe.model.targets
        made = [
            replace(e, targets={**e.targets, **targets_of(u, wanted)})
            for e, u in zip(made, utterances, strict=True)
        ]
    if recipe.model.by_statistics and not recipe.speech.tuned:  # the same results, much less to read
        made = [_summarised(example) for example in made]
    return Dataset(made, networks.layout(recipe, dims))


def with_copies(material: Material, recipe: Recipe, utterances: Sequence[Utterance]) -> list[Utterance]:
    """The utterances to train on, and after them their copies, as long as those recordings are."""
    if not (recipe.uses_speech and recipe.speech.copies):
        return list(utterances)
    copies = [_copy(material.features, u, n + 1) for n in range(recipe.speech.copies) for u in utterances]
    return [*utterances, *copies]


def _copy(features: Features, utterance: Utterance, number: int) -> Utterance:
    copy = replace(utterance, id=copy_id(utterance.id, number))
    own, made = (stored_frames(features, u) for u in (utterance, copy))
    assert own is not None and made is not None, "copies are of speech"
    slower = made.shape[-2] / own.shape[-2]
    if utterance.duration is not None:
        copy = replace(copy, start=0.0, end=utterance.duration * slower)
    if utterance.alignment is None:
        return copy
    tiers = {
        tier: tuple(
            replace(s, start=s.start * slower, end=s.end * slower) for s in utterance.alignment.tier(tier)
        )
        for tier in utterance.alignment.tiers
    }
    return replace(copy, alignment=Alignment(**tiers))


def rated_targets(
    utterance: Utterance, recipe: Recipe, labels: Sequence[str], scales: Mapping[str, tuple[float, float]]
) -> dict[str, NDArray[np.float32]]:
    """The fractions of the votes (C,), and the ratings (n,) in 0…1; nan where there are none."""
    wanted: dict[str, NDArray[np.float32]] = {}
    if {"distribution", "multilabel"} & set(recipe.target):
        wanted["votes"] = fractions(utterance.votes, labels)
    if scales:
        values = rated(utterance.extra)
        row = [to_unit(values[d], scale) if d in values else np.nan for d, scale in scales.items()]
        wanted["ratings"] = np.array(row, np.float32)
    return wanted


def targets_of(utterance: Utterance, names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """What is known of the utterance beside its label, as numbers, by name."""
    known = {
        "characters": spelled(utterance.text or ""),
        "gender": _number(_gender(utterance)),
        "speaker": _number(utterance.speaker),
    }
    return {name: known[name] for name in names if len(known[name])}


def _number(name: str | None) -> NDArray[np.int64]:
    """A number that is the same for equal names."""
    return np.array([] if name is None else [crc32(name.encode())], np.int64)


def _gender(utterance: Utterance) -> str | None:
    """As the manifest states it, or by the last letter of the speaker's name, F or M; None where neither."""
    stated = utterance.extra.get("gender")
    last = str(stated or utterance.speaker or "")[slice(1) if stated else slice(-1, None)].upper()
    return last if last in ("F", "M") else None


def _summarised(example: Example) -> Example:
    if example.speech is None or example.ids:
        return example
    return replace(example, speech=two_frames(example.speech), segments={}, segment_word={})


def fit_tokenizer(recipe: Recipe, utterances: Sequence[Utterance]) -> Subword | None:
    """What makes ids of texts: fitted to those of the utterances where text is learned in the fold, the text
    network's own where that learns; None where text comes as vectors."""
    if recipe.uses_text and recipe.text.tuned:
        return networks.own_tokens(recipe)
    if not (recipe.uses_text and recipe.text.learned):
        return None
    return Subword.fit([u.text for u in utterances if u.text], recipe.text.vocabulary)


def dimensions(material: Material, recipe: Recipe, tokenizer: Subword | None) -> Dimensions:
    """The sizes a system is built for."""
    features = material.features
    wide = recipe.protocol.level == "dialogue"
    fitted = tokenizer is not None and recipe.text.learned
    return Dimensions(
        classes=len(material.corpus.labels),
        speech=features.speech_dim * (2 if wide else 1),
        speech_layers=features.speech_layers,
        text=recipe.text.width if fitted else features.text_dim,
        vocabulary=tokenizer.size if tokenizer and fitted else 0,
        hop=features.clock.hop if features.clock and not wide else 0.0,
    )


def examples(
    material: Material, recipe: Recipe, utterances: Sequence[Utterance], tokenizer: Subword | None
) -> list[Example]:
    """One example an utterance, or a dialogue, in the order of ``utterances``."""
    labels = {name: index for index, name in enumerate(material.corpus.labels)}
    turns = [_example(material.features, recipe, u, tokenizer, labels) for u in utterances]
    if recipe.rated:
        scales = material.corpus.scales_of(recipe)
        turns = [
            replace(e, targets=rated_targets(u, recipe, material.corpus.labels, scales))
            for e, u in zip(turns, utterances, strict=True)
        ]
    return _dialogues(utterances, turns) if recipe.protocol.level == "dialogue" else turns


def _pick(material: Material, ids: Sequence[str]) -> list[Utterance]:
    return [material.corpus.by_id[name] for name in ids]


def _example(
    features: Features,
    recipe: Recipe,
    utterance: Utterance,
    tokenizer: Subword | None,
    labels: dict[str, int],
) -> Example:
    frames = stored_frames(features, utterance)
    text = stored_text(features, utterance, tokenizer)
    if frames is not None and features.clock is not None:
        _check_times(utterance, frames, features.clock.hop)
    return example_of(recipe, utterance, frames, features.clock, text, labels)


def example_of(
    recipe: Recipe,
    utterance: Utterance,
    frames: Vectors | None,
    clock: FrameClock | None,
    text: Words | None,
    labels: Mapping[str, int],
) -> Example:
    """One utterance's example, its features given; pooled where its turns are."""
    parts = assemble(utterance, frames, clock, text)
    label = IGNORE if utterance.label is None else labels[utterance.label]
    whole = Example(id=utterance.id, label=label, **parts)
    return as_turn(whole, functionals) if recipe.protocol.level == "dialogue" else whole


@lru_cache(maxsize=4)
def _store(root: str) -> Store:
    return Store(root)


def _stored(features: Features, key: str, utterance: str) -> dict[str, NDArray[np.float32]]:
    arrays = _store(features.store).get(key)
    if arrays is None:
        raise StoreError(
            f"{utterance}: its features are no longer in {features.store}; run the command again"
        )
    return arrays


def stored_frames(features: Features, utterance: Utterance) -> Vectors | None:
    """The utterance's frames, where speech is used."""
    key = features.speech.get(utterance.id)
    return None if key is None else _stored(features, key, utterance.id)["frames"]


def stored_text(features: Features, utterance: Utterance, tokenizer: Subword | None) -> Words | None:
    """The transcript's vectors, or its pieces' ids where text is learned in the fold."""
    if not utterance.text:
        return None
    if tokenizer is not None:
        return tokenizer.encode(utterance.text)
    key = features.text.get(utterance.id)
    if key is None:
        return None
    arrays = _stored(features, key, utterance.id)
    return EncodedText(arrays["vectors"], arrays["chars"].astype(np.int32))


def _check_times(utterance: Utterance, frames: Vectors, hop: float) -> None:
    """Refuse frames that are not as long as the utterance: they are those of another one."""
    seconds = frames.shape[-2] * hop
    slack = SLACK + 2 * hop
    ends = [tier[-1].end for name in ("word", "syllable", "phone") if (tier := _tier(utterance, name))]
    wrong = utterance.duration is not None and abs(utterance.duration - seconds) > slack
    if wrong or max(ends, default=0.0) > seconds + slack:
        wanted = utterance.duration if wrong else max(ends)
        raise ProtocolError(
            f"{utterance.id}: its features are of {seconds:.2f} s, the utterance of {wanted:.2f} s: "
            "are the ids of features and labels swapped?"
        )


def _tier(utterance: Utterance, name: str) -> tuple:  # type: ignore[type-arg]
    return getattr(utterance.alignment, name) if utterance.alignment else ()


def _dialogues(utterances: Sequence[Utterance], turns: Sequence[Example]) -> list[Example]:
    """One example a dialogue, its turns in order, each turn one vector of each modality."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, utterance in enumerate(utterances):
        if utterance.dialogue is None:
            raise ProtocolError(f"{utterance.id}: the dialogue level needs the dialogue of every utterance")
        groups[utterance.dialogue].append(index)
    return [_dialogue(name, utterances, turns, groups[name]) for name in sorted(groups)]


def _dialogue(
    name: str, utterances: Sequence[Utterance], turns: Sequence[Example], members: list[int]
) -> Example:
    order = sorted(members, key=lambda i: (utterances[i].turn or 0, utterances[i].start or 0.0, turns[i].id))
    return dialogue(name, [turns[i] for i in order], [utterances[i].speaker for i in order])
