"""What a decision was made of: how much each word, token and frame spoke for a label.

The question is put the same way to every system, through the gates of a batch: each frame and each
token vector is multiplied by a number, 1 as it is and 0 as if silent (frames are standardised, so
silence is the average frame).

    gradient   integrated gradients: the slope of the label's log posterior along the way from all
               gates 0 to all gates 1; contributions add up to the difference of the two ends
    deletion   the label's log posterior as it is, less what it is without that word (token)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from undertone.models.batch import Batch
from undertone.models.layers import frame_words
from undertone.models.system import System

__all__ = ["Contributions", "Method", "explain"]

Method = Literal["gradient", "deletion"]
STEPS = 16
"""Points of the way that the gradient is taken at."""


@dataclass(frozen=True)
class Contributions:
    """In nats of the label's log posterior: positive speaks for the label. Zeros on padding."""

    label: Tensor
    """(B,) the labels that were asked about."""
    frame: Tensor
    """(B, T) each frame of speech; zeros for ``deletion``, which asks of whole words."""
    token: Tensor
    """(B, L) each token's text."""
    word: Tensor
    """(B, S) each word of the word tier: its speech and its tokens together."""


def explain(
    system: System, batch: Batch, label: Tensor | None = None, method: Method = "deletion"
) -> Contributions:
    """Contributions to ``label (B,)``, or to what the system decides."""
    training = system.training
    system.eval()
    try:
        with torch.no_grad():
            asked = system(batch).logits.argmax(-1) if label is None else label
        if method == "gradient":
            frame, token = _integrated(system, batch, asked)
            return Contributions(asked, frame, token, _by_word(frame, token, batch))
        return _deleted(system, batch, asked)
    finally:
        system.train(training)


def _belief(system: System, batch: Batch, label: Tensor) -> Tensor:
    """(B,) log posteriors of the labels."""
    posteriors = system.posteriors(system(batch).logits)
    return posteriors.gather(-1, label[:, None])[:, 0].clamp(min=1e-30).log()


def _integrated(system: System, batch: Batch, label: Tensor) -> tuple[Tensor, Tensor]:
    frames, tokens = batch.speech_mask.float(), batch.text_mask.float()
    sums = torch.zeros_like(frames), torch.zeros_like(tokens)
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        gates = [(share * real).requires_grad_() for real in (frames, tokens)]
        with torch.enable_grad():
            belief = _belief(system, _gated(batch, *gates), label).sum()
        slopes = torch.autograd.grad(belief, gates, allow_unused=True)
        for total, slope in zip(sums, slopes, strict=True):
            if slope is not None:
                total += slope / STEPS
    return sums[0] * frames, sums[1] * tokens


def _gated(batch: Batch, frames: Tensor, tokens: Tensor) -> Batch:
    return replace(batch, speech_gate=frames, text_gate=tokens)


def _by_word(frame: Tensor, token: Tensor, batch: Batch) -> Tensor:
    """(B, S): what lies in each word, summed."""
    size = _words(batch)
    total = frame.new_zeros(len(batch), size + 1)  # the last column takes what belongs to no word
    for values, words in ((frame, frame_words(batch)), (token, batch.token_word)):
        total.scatter_add_(1, torch.where(words < 0, size, words), values)
    return total[:, :size]


def _words(batch: Batch) -> int:
    tier = batch.segments.get("word")
    spoken = 0 if tier is None else tier.spans.shape[1]
    return max(spoken, int(batch.token_word.max()) + 1)


@torch.no_grad()
def _deleted(system: System, batch: Batch, label: Tensor) -> Contributions:
    """Each word silenced in speech and text, then each token in text alone."""
    full = _belief(system, batch, label)
    frames, tokens = batch.speech_mask.float(), batch.text_mask.float()
    spoken = frame_words(batch)
    word = []
    for index in range(_words(batch)):
        in_speech, in_text = spoken == index, batch.token_word == index
        without = _gated(batch, frames * ~in_speech, tokens * ~in_text)
        there = in_speech.any(1) | in_text.any(1)
        word.append((full - _belief(system, without, label)) * there)
    token = []
    for index in range(tokens.shape[1]):
        kept = tokens.clone()
        kept[:, index] = 0.0
        gone = full - _belief(system, _gated(batch, frames, kept), label)
        token.append(gone * batch.text_mask[:, index])
    words = torch.stack(word, 1) if word else frames.new_zeros(len(batch), 0)
    return Contributions(label, torch.zeros_like(frames), torch.stack(token, 1), words)
