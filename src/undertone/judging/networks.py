"""The network of a model folder, run by torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.judging.encoders import ClipFeatures, Encoders
from undertone.judging.model import TrainedModel, name_of
from undertone.models import folder
from undertone.models.batch import Batch, collate
from undertone.models.example import filled
from undertone.models.system import System
from undertone.types import SpeechEncoder

__all__ = ["TorchNetwork", "batch_of", "load_torch"]


class TorchNetwork:
    """A system in evaluation mode."""

    def __init__(self, system: System) -> None:
        self.system = system.eval()

    @torch.inference_mode()
    def run(self, clips: Sequence[ClipFeatures]) -> dict[str, NDArray[np.float32]]:
        output = self.system(batch_of(clips, self.system))
        posteriors = {side: self.system.posteriors(logits) for side, logits in output.sides().items()}
        return {name: values.numpy() for name, values in (posteriors | self.system.asides(output)).items()}


def batch_of(clips: Sequence[ClipFeatures], system: System) -> Batch:
    """The clips as one batch, their gates beside them."""
    batch = collate([clip.example for clip in clips], system.layout)
    return replace(
        batch,
        speech_gate=_gates([clip.frame_gate for clip in clips], max(1, *(c.frame_count for c in clips))),
        text_gate=_gates([clip.token_gate for clip in clips], batch.text.shape[1]),
    )


def _gates(gates: Sequence[NDArray[np.float32] | None], size: int) -> torch.Tensor | None:
    """(B, size) factors, 1 where nothing is gated; None where no clip has a gate."""
    if all(gate is None for gate in gates):
        return None
    return torch.from_numpy(filled(gates, size, 1.0, np.float32))


def load_torch(path: Path, speech: SpeechEncoder | None = None) -> TrainedModel:
    """The model in a folder; ``speech``: an encoder in place of the card's own."""
    loaded = folder.load(path, text_later=True)
    network = TorchNetwork(loaded.system)
    if loaded.config.plain().get("level") == "dialogue":
        network = _of_dialogues(path, loaded)
    card = {**loaded.card, "system": loaded.name}
    return TrainedModel(
        name_of(card, path / folder.WEIGHTS),
        card,
        Encoders(card, loaded.tokenizer, speech=speech),
        network,
        tiers=loaded.system.tiers,
    )


def _of_dialogues(path: Path, loaded: folder.LoadedModel) -> TorchNetwork:
    from undertone.judging.dialogue import DialogueNetwork

    if loaded.config.plain().get("context") not in ("past", "none"):
        raise ModelError(
            f"{path}: judges a turn by later ones too; recordings need a model trained with context = 'past'"
            " (or of utterance level)"
        )
    return DialogueNetwork(loaded.system)
