"""The network of a model of conversations: a clip is judged as the last turn so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.features.assemble import functionals
from undertone.judging.encoders import ClipFeatures
from undertone.judging.networks import TorchNetwork
from undertone.models.batch import collate
from undertone.models.example import Example, as_turn, dialogue

__all__ = ["DialogueNetwork"]


class DialogueNetwork(TorchNetwork):
    """A system of dialogue level: the posterior of each clip as the last turn of its conversation so far."""

    def turn(self, one: ClipFeatures) -> Example:
        """What a later clip gets of this one."""
        return as_turn(one.example, functionals)

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
