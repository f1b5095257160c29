"""What each word contributed to a decision.

The same for every system, through the gates of a batch: the frames and token vectors of one word are
multiplied by 0 (frames are standardised, so 0 is the average frame), and the label's log posterior is
compared with that of the whole utterance.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from undertone.models.batch import Batch
from undertone.models.layers import frame_words
from undertone.models.system import System

__all__ = ["explain"]


@torch.no_grad()
def explain(system: System, batch: Batch, label: Tensor | None = None) -> Tensor:
    """(B, S): how many nats the log posterior of ``label (B,)`` loses without each word.

    Without ``label``: that of the system's decision. 0 where an utterance has no such word.
    """
    training = system.training
    system.eval()
    try:
        labels = system(batch).logits.argmax(-1) if label is None else label
        return _losses(system, batch, labels)
    finally:
        system.train(training)


def _losses(system: System, batch: Batch, labels: Tensor) -> Tensor:
    whole = _log_posterior(system, batch, labels)
    frames, tokens = batch.speech_mask.float(), batch.text_mask.float()
    frame_word, losses = frame_words(batch), []
    for word in range(_words(batch)):
        in_speech, in_text = frame_word == word, batch.token_word == word
        without = replace(batch, speech_gate=frames * ~in_speech, text_gate=tokens * ~in_text)
        real = in_speech.any(1) | in_text.any(1)
        losses.append((whole - _log_posterior(system, without, labels)) * real)
    return torch.stack(losses, 1) if losses else frames.new_zeros(len(batch), 0)


def _words(batch: Batch) -> int:
    tier = batch.segments.get("word")
    timed = 0 if tier is None else tier.spans.shape[1]
    return max(timed, int(batch.token_word.max()) + 1)


def _log_posterior(system: System, batch: Batch, labels: Tensor) -> Tensor:
    """(B,)"""
    posteriors = system.posteriors(system(batch).logits)
    return posteriors.gather(-1, labels[:, None])[:, 0].clamp(min=1e-30).log()
