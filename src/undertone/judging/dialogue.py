"""Conversations as one example: each turn one vector of each modality. For training and for judging alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.features.assemble import functionals
from undertone.judging.encoders import ClipFeatures
from undertone.judging.networks import TorchNetwork
from undertone.models.batch import collate
from undertone.models.example import Example

__all__ = ["DialogueNetwork", "as_turn", "dialogue"]


def as_turn(whole: Example) -> Example:
    """One utterance's example with one vector of each modality that it has."""
    if whole.speech is not None:
        whole = replace(whole, speech=functionals(whole.speech), segments={}, segment_word={})
    if whole.text is not None and len(whole.text):
        whole = replace(whole, text=whole.text.mean(0, keepdims=True), token_word=None)
    return whole


def dialogue(name: str, turns: Sequence[Example], speakers: Sequence[str | None]) -> Example:
    """One example of the turns in their order, with who speaks each."""
    people = {speaker: number for number, speaker in enumerate(dict.fromkeys(speakers))}
    return Example(
        id=name,
        speech=_stack([turn.speech for turn in turns]),
        text=_stack([turn.text for turn in turns]),
        labels=np.array([turn.label for turn in turns], np.int64),
        ids=tuple(turn.id for turn in turns),
        speakers=np.array([people[speaker] for speaker in speakers], np.int64),
        turn_present=np.array([[_given(turn.speech), _given(turn.text)] for turn in turns]),
    )


def _given(vectors: NDArray[Any] | None) -> bool:
    return vectors is not None and len(vectors) > 0


def _stack(turns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """(U, D), zeros (masked) for a turn without the modality; None where no turn has it."""
    first = next((x for x in turns if x is not None and len(x)), None)
    if first is None:
        return None
    missing = np.zeros_like(first)
    return np.concatenate([x if x is not None and len(x) else missing for x in turns])


class DialogueNetwork(TorchNetwork):
    """A system of dialogue level: the posterior of each clip as the last turn of its conversation so far."""

    def turn(self, one: ClipFeatures) -> Example:
        """What a later clip gets of this one."""
        return as_turn(one.example)

    @torch.inference_mode()
    def run(self, clips: Sequence[ClipFeatures]) -> dict[str, NDArray[np.float32]]:
        talks = [[*one.clip.before, self.turn(one)] for one in clips]
        examples = [dialogue(f"talk-{n}", talk, [None] * len(talk)) for n, talk in enumerate(talks)]
        output = self.system(collate(examples, self.system.layout))
        rows, last = torch.arange(len(talks)), torch.tensor([len(talk) - 1 for talk in talks])
        return {
            side: self.system.posteriors(logits)[rows, last].numpy()
            for side, logits in output.sides().items()
        }
