"""A trained model, ready to judge clips: encoders in front, the network, and what its answers say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.judging.clips import Clip, abstain
from undertone.judging.front import Front, Prepared
from undertone.judging.rows import Network, Row, rows_without_words
from undertone.types import Prediction, WordScore

__all__ = ["Judge", "name_of"]

MOST_ROWS = 64
"""Rows that go through the network at once: memory stays small whatever is asked."""
SIDES = ("fused", "speech", "text")
MOST_WORDS = 200
"""Words of one transcript whose contributions are worked out."""


class Judge:
    """``Model`` over a front and a network."""

    def __init__(
        self, name: str, card: Mapping[str, Any], front: Front, network: Network, tiers: tuple[str, ...]
    ) -> None:
        self.name = name
        self.card = card
        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.rate = front.rate
        self.tiers = tiers
        self.front, self.network = front, network
        self._least = float(card.get("abstain", {}).get("threshold", 0.0))

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """One prediction per clip."""
        prepared = self.front.prepare(clips)
        for one in prepared:
            if not Row(one).frame_count and not Row(one).token_count:
                raise ModelError(f"{one.clip.id}: holds nothing that this model judges by ({self.name})")
        without = [_without(one) if explain else [] for one in prepared]
        # a clip and what is asked about its words stand together: a system may see that and hear it once
        rows = [row for one, fewer in zip(prepared, without, strict=True) for row in (Row(one), *fewer)]
        places = np.cumsum([0, *(1 + len(fewer) for fewer in without)])
        said = self._ask(rows)
        whole = {name: values[places[:-1]] for name, values in said.items()}
        sides = self._sides(prepared, whole)
        predictions = []
        for index, one in enumerate(prepared):
            fused = whole["fused"][index]
            fewer = said["fused"][places[index] + 1 : places[index + 1]]
            words = _words(one, fused, fewer) if len(fewer) else ()
            found = self._prediction(one, fused, sides[index], words)
            extra = self._extra({name: values[index] for name, values in whole.items()}, found.modalities)
            predictions.append(abstain(replace(found, extra=extra), self._least))
        return predictions

    def _extra(self, said: Mapping[str, NDArray[np.float32]], sides: Sequence[str]) -> dict[str, Any]:
        """What the network says besides, of the sides that are there."""
        found: dict[str, Any] = {}
        for name, values in said.items():
            if name in SIDES:
                continue
            group, _, side = name.rpartition("/")
            names = self.card.get("asides", {}).get(name, self.labels)
            plain = {label: float(p) for label, p in zip(names, values, strict=True)}
            if group and side in (*sides, "fused"):
                found.setdefault(group, {})[side] = plain
            elif not group and "speech" in sides:
                found[name] = plain
        return found

    def _ask(self, rows: Sequence[Row]) -> dict[str, NDArray[np.float32]]:
        parts = [self.network.run(rows[at : at + MOST_ROWS]) for at in range(0, len(rows), MOST_ROWS)]
        return {side: np.concatenate([part[side] for part in parts]) for side in parts[0]}

    def _sides(
        self, prepared: Sequence[Prepared], whole: Mapping[str, NDArray[np.float32]]
    ) -> list[dict[str, NDArray[np.float32]]]:
        """What speech and text alone say: the branch's word, or the system's with the other side missing."""
        found: list[dict[str, NDArray[np.float32]]] = [{} for _ in prepared]
        asked: list[tuple[int, str, Row]] = []
        for index, one in enumerate(prepared):
            row = Row(one)
            here = [("speech", row.frame_count), ("text", row.token_count)]
            present = [side for side, count in here if count]
            for side in present:
                if side in whole:
                    found[index][side] = whole[side][index]
                elif len(present) == 1:
                    found[index][side] = whole["fused"][index]
                else:
                    asked.append((index, side, Row(one, speech=side == "speech", text=side == "text")))
        if asked:
            answers = self._ask([row for _, _, row in asked])["fused"]
            for (index, side, _), answer in zip(asked, answers, strict=True):
                found[index][side] = answer
        return found

    def _prediction(
        self,
        one: Prepared,
        fused: NDArray[np.float32],
        sides: Mapping[str, NDArray[np.float32]],
        words: tuple[WordScore, ...],
    ) -> Prediction:
        named = {side: self._named(values) for side, values in {"fused": fused, **sides}.items()}
        label = max(named["fused"], key=named["fused"].__getitem__)
        return Prediction(
            id=one.clip.id,
            label=label,
            confidence=named["fused"][label],
            probabilities=named["fused"],
            perspectives=named,
            words=words,
            model=self.name,
            modalities=tuple(sides),
            text=one.clip.text,
            text_source=one.clip.text_source if one.clip.text else None,
        )

    def _named(self, values: NDArray[np.float32]) -> dict[str, float]:
        return {label: float(p) for label, p in zip(self.labels, values, strict=True)}


def _without(one: Prepared) -> list[Row]:
    """The clip without each of its words, where it has words and not too many."""
    return rows_without_words(one) if one.words and len(one.words) <= MOST_WORDS else []


def _words(one: Prepared, fused: NDArray[np.float32], without: NDArray[np.float32]) -> tuple[WordScore, ...]:
    """Nats of the label's log posterior that go with each word; ``without (n, C)``: the posteriors then."""
    label = int(fused.argmax())
    gained = np.log(np.maximum(fused[label], 1e-9)) - np.log(np.maximum(without[:, label], 1e-9))
    return tuple(
        WordScore(
            text=word.text,
            contribution=float(score),
            start=word.start if one.timed else None,
            end=word.end if one.timed else None,
            chars=word.chars,
        )
        for word, score in zip(one.words, gained, strict=True)
    )


def name_of(card: Mapping[str, Any], weights: Path) -> str:
    """``unison@1a2b3c4d5e6f (demo, loso)``: the system, a hash of its weights, the corpus and protocol."""
    with weights.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    protocol = card.get("protocol", {})
    rule = protocol.get("split", "") if isinstance(protocol, Mapping) else str(protocol)
    about = ", ".join(part for part in (str(card.get("corpus", "")), str(rule)) if part)
    return f"{card.get('system', 'model')}@{mark}" + (f" ({about})" if about else "")
