"""A trained model, ready to judge clips: its encoders, its network, and predictions of its posteriors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.judging.clip import Clip, abstain
from undertone.judging.encoders import ClipFeatures, Encoders
from undertone.labels.rated import to_scale
from undertone.types import BESIDE, Prediction, WordScore

__all__ = ["Network", "Posteriors", "TrainedModel", "name_of"]

Posteriors = Mapping[str, NDArray[np.float32]]
"""(n, C) or, of one clip, (C,): ``fused``, ``speech`` / ``text`` where there is such a branch, and the
system's ``asides`` by their names."""

MOST_ROWS, MOST_FRAMES = 64, 800
"""Clips, or variants of them, that go through the network at once, and their frames with the padding: memory
stays small."""
SIDES = ("fused", "speech", "text")
MOST_WORDS = 200
"""Words of one transcript whose contributions are worked out."""


class Network(Protocol):
    """The part with weights: torch, onnxruntime and OpenVINO have the same form here."""

    def run(self, clips: Sequence[ClipFeatures]) -> Posteriors:
        """Posteriors (n, C) by name."""


class TrainedModel:
    """``Model`` over encoders and a network."""

    def __init__(
        self, name: str, card: Mapping[str, Any], encoders: Encoders, network: Network, tiers: tuple[str, ...]
    ) -> None:
        self.name = name
        self.card = card
        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.rate = encoders.rate
        self.sides, self.tiers = encoders.sides, tiers
        self.encoders, self.network = encoders, network
        self._turn = getattr(network, "turn", None)  # what a later turn gets of one
        self.contextual = self._turn is not None
        self._threshold = float(card.get("abstain", {}).get("threshold", 0.0))
        # (C,) what is added to the log posterior of words that were spoken: their classes come in other
        # proportions than those of the sentences that the words' side learned from
        self._spoken = np.array(card["spoken"], np.float32) if "spoken" in card else None

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """One prediction per clip."""
        features = self.encoders.encode(clips)
        for one in features:
            if not one.sides:
                raise ModelError(f"{one.clip.id}: holds nothing that this model judges by ({self.name})")
        deleted = [self._without_words(one) if explain and not self.contextual else [] for one in features]
        # a clip stands beside its variants: a system may notice that and compute what they share once
        rows = [row for one, variants in zip(features, deleted, strict=True) for row in (one, *variants)]
        first = np.cumsum([0, *(1 + len(variants) for variants in deleted)])
        posteriors = self._run(rows)
        whole = {name: values[first[:-1]] for name, values in posteriors.items()}
        sides = self._sides(features, whole)
        predictions = []
        for index, one in enumerate(features):
            fused = whole["fused"][index]
            variants = posteriors["fused"][first[index] + 1 : first[index + 1]]
            if "text" in sides[index] and one.clip.words is not None and one.clip.words.spoken:
                sides[index]["text"] = self._as_spoken(sides[index]["text"])
                if one.sides == ("text",):
                    fused, variants = self._as_spoken(fused), self._as_spoken(variants)
            words = _contributions(one, fused, variants) if len(variants) else ()
            prediction = self._prediction(one, fused, sides[index], words)
            extra = self._extra({name: values[index] for name, values in whole.items()}, one.sides)
            if self._turn is not None:
                extra["turn"] = self._turn(one)
            predictions.append(abstain(replace(prediction, extra=extra), self._threshold))
        return predictions

    def _without_words(self, one: ClipFeatures) -> list[ClipFeatures]:
        """The clip without each of its words, where it has words and not too many."""
        few = one.words and len(one.words) <= MOST_WORDS
        return self.encoders.without_each_word(one) if few else []

    def _run(self, rows: Sequence[ClipFeatures]) -> dict[str, NDArray[np.float32]]:
        parts = [self.network.run(part) for part in _parts(rows)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _sides(
        self, features: Sequence[ClipFeatures], whole: Posteriors
    ) -> list[dict[str, NDArray[np.float32]]]:
        """The posteriors of speech and text alone: the branch's, or the system's with the other missing."""
        sides: list[dict[str, NDArray[np.float32]]] = [{} for _ in features]
        open_rows: list[tuple[int, str, ClipFeatures]] = []
        for index, one in enumerate(features):
            for side in one.sides:
                if side in whole:
                    sides[index][side] = whole[side][index]
                elif len(one.sides) == 1:
                    sides[index][side] = whole["fused"][index]
                else:
                    open_rows.append((index, side, one.only(side)))
        if open_rows:
            fused = self._run([row for _, _, row in open_rows])["fused"]
            for (index, side, _), posterior in zip(open_rows, fused, strict=True):
                sides[index][side] = posterior
        return sides

    def _as_spoken(self, posteriors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The posteriors (…, C) of words alone, for classes in the proportions of speech."""
        if self._spoken is None:
            return posteriors
        moved = posteriors * np.exp(self._spoken)
        shares: NDArray[np.float32] = moved / moved.sum(-1, keepdims=True)
        return shares

    def _prediction(
        self,
        one: ClipFeatures,
        fused: NDArray[np.float32],
        sides: Posteriors,
        words: tuple[WordScore, ...],
    ) -> Prediction:
        named = {side: self._named(values) for side, values in {"fused": fused, **sides}.items()}
        label = max(named["fused"], key=named["fused"].__getitem__)
        transcript = one.clip.words
        return Prediction(
            id=one.clip.id,
            label=label,
            confidence=named["fused"][label],
            probabilities=named["fused"],
            perspectives=named,
            words=words,
            model=self.name,
            modalities=tuple(sides),
            text=transcript.text if transcript else None,
            text_source=transcript.source if transcript else None,
        )

    def _extra(self, posteriors: Posteriors, sides: Sequence[str]) -> dict[str, Any]:
        """The network's further posteriors, of the modalities that are present."""
        extra: dict[str, Any] = {}
        for name, values in posteriors.items():
            if name in SIDES:
                continue
            if name == "distance":
                if "speech" in sides:  # "usual": what a twentieth of known speech is beyond
                    extra[name] = {"speech": float(values[0]), **self.card.get(name, {})}
                continue
            group, _, side = name.rpartition("/")
            named = self._named(values, self.card.get("asides", {}).get(name))
            if name in BESIDE and "target" in self.card:  # what it was trained on, by any of its sides
                extra[name] = self._on_scale(name, named)
                continue
            if group and side in (*sides, "fused"):
                extra.setdefault(group, {})[side] = named
            elif not group and "speech" in sides:
                extra[name] = named
        if "dimensions" in extra and (scales := self.card.get("scales")):
            extra["scales"] = {d: {"low": low, "high": high} for d, (low, high) in scales.items()}
        return extra

    def _on_scale(self, name: str, values: dict[str, float]) -> dict[str, float]:
        """Dimensions and their spread as their raters would state them; all else as it is."""
        if name not in ("dimensions", "spread"):
            return values
        scales: Mapping[str, tuple[float, float]] = self.card["scales"]
        if name == "spread":
            return {d: x * (scales[d][1] - scales[d][0]) for d, x in values.items()}
        return {d: to_scale(x, scales[d]) for d, x in values.items()}

    def _named(self, values: NDArray[np.float32], labels: Sequence[str] | None = None) -> dict[str, float]:
        return {label: float(p) for label, p in zip(labels or self.labels, values, strict=True)}


def _parts(rows: Sequence[ClipFeatures]) -> Iterator[Sequence[ClipFeatures]]:
    first, longest = 0, 0
    for index, row in enumerate(rows):
        longest = max(longest, row.frame_count)
        count = index + 1 - first
        if count > 1 and (count > MOST_ROWS or count * longest > MOST_FRAMES):
            yield rows[first:index]
            first, longest = index, row.frame_count
    yield rows[first:]


def _contributions(
    one: ClipFeatures, fused: NDArray[np.float32], without: NDArray[np.float32]
) -> tuple[WordScore, ...]:
    """Nats that the label's log posterior loses with each word; ``without (n, C)``: the posteriors then."""
    label = int(fused.argmax())
    lost = np.log(np.maximum(fused[label], 1e-9)) - np.log(np.maximum(without[:, label], 1e-9))
    return tuple(
        WordScore(
            text=word.text,
            contribution=float(score),
            start=word.start if one.timed else None,
            end=word.end if one.timed else None,
            chars=word.chars,
        )
        for word, score in zip(one.words, lost, strict=True)
    )


def name_of(card: Mapping[str, Any], weights: Path) -> str:
    """``unison@1a2b3c4d5e6f (demo, loso)``: the system, a hash of its weights, the corpus and protocol."""
    with weights.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    protocol = card.get("protocol", {})
    rule = protocol.get("split", "") if isinstance(protocol, Mapping) else str(protocol)
    about = ", ".join(part for part in (str(card.get("corpus", "")), str(rule)) if part)
    return f"{card.get('system', 'model')}@{mark}" + (f" ({about})" if about else "")
