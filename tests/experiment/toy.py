"""A system that undertone does not know: one file, as ``CONTRIBUTING.md`` describes it."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import masked_mean
from undertone.models.system import Output, System, SystemConfig


class ToyConfig(SystemConfig):
    width: PositiveInt = 8


class Toy(System):
    """The mean of each modality's sequence, a linear layer for each, their logits added."""

    def __init__(self, config: ToyConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.speech_input = SpeechInput(dimensions, config.width, config.convolutions, 0.0)
        self.text_input = TextInput(dimensions, config.width, 0.0)
        self.heads = nn.ModuleList(nn.Linear(config.width, dimensions.classes) for _ in self.sides)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        sequences = (self.speech_input(batch), batch.speech_mask), (self.text_input(batch), batch.text_mask)
        speech, text = (
            self._logits(head, masked_mean(*sequence), present)
            for head, sequence, present in zip(self.heads, sequences, batch.present.T, strict=True)
        )
        return Output(speech + text, speech, text)

    @staticmethod
    def _logits(head: nn.Module, vector: Tensor, present: Tensor) -> Tensor:
        logits: Tensor = head(vector) * present[:, None]
        return logits


class ToyOfWords(Toy):
    """The same, of the words alone."""

    sides = ("text",)
