"""The transcript's characters as a further target of speech frames, by CTC (Graves et al. 2006)."""

from __future__ import annotations

import unicodedata
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import Batch
from undertone.models.example import IGNORE

__all__ = ["CHARACTERS", "Characters", "spelled"]

CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"
"""Numbered from 1; 0 is the blank between two characters."""
_NUMBER = {character: index for index, character in enumerate(CHARACTERS, 1)}


def spelled(text: str) -> NDArray[np.int64]:
    """(N,): the numbers of a transcript's characters. Letters lose their accents, all else is left out.

    >>> spelled("Ça va?").tolist()
    [5, 3, 1, 24, 3]
    """
    plain = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return np.array([_NUMBER[c] for c in " ".join(plain.split()) if c in _NUMBER], np.int64)


class Characters(nn.Module):
    """One linear map of frames to characters, and its loss."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, len(CHARACTERS) + 1)

    def forward(self, frames: Tensor, batch: Batch, reduction: Literal["mean", "sum"]) -> Tensor:
        """The loss of frames (B, T, D): the mean a character, or the sum over the batch.

        Only utterances count that have speech, a target, and at least as many frames as its path needs.
        """
        target = batch.targets.get("characters")
        if target is None:  # no utterance of the batch has one
            target = torch.full((len(batch), 1), IGNORE, device=frames.device)
        sizes = (target > 0).sum(1)
        again = ((target[:, 1:] == target[:, :-1]) & (target[:, 1:] > 0)).sum(1)  # a blank between equals
        rows = batch.present[:, 0] & (sizes > 0) & (batch.speech_lengths >= sizes + again)
        logits = self.out(self.dropout(frames))
        if not bool(rows.any()):
            return torch.as_tensor(logits.sum() * 0.0)
        with torch.autocast(logits.device.type, enabled=False):
            scores = logits[rows].float().log_softmax(-1).transpose(0, 1)  # (T, n, characters)
            loss = F.ctc_loss(
                scores,
                target[rows].clamp(min=0),
                batch.speech_lengths[rows],
                sizes[rows],
                reduction="none",
            )
        return loss.sum() if reduction == "sum" else (loss / sizes[rows]).mean()
