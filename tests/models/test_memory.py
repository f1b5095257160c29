"""What a training step keeps for its backward pass grows with the length of speech, not with its square."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.models.synthetic import VARIANTS, VECTORS, batch_of, make, total
from undertone.models.batch import Batch


def _stretched(frames: int) -> Batch:
    """Eight utterances, all as long; their words as they were."""
    batch = batch_of(8, VECTORS)
    speech = torch.randn(8, frames, VECTORS.speech, generator=torch.Generator().manual_seed(0))
    return replace(batch, speech=speech, speech_lengths=torch.full((8,), frames))


def _kept(variant: str, frames: int) -> int:
    """Bytes saved for the backward pass, each storage once."""
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    system = make(variant, VECTORS).train()
    batch = _stretched(frames)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total(system, batch)
    return sum(saved.values())


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "text"])
def test_memory_is_linear_in_the_frames(variant: str) -> None:
    short, middle, long = (_kept(variant, frames) for frames in (256, 512, 1024))
    assert long - middle <= 2.2 * (middle - short)  # the square would make it 4


def test_a_square_would_be_seen() -> None:
    """The measure itself: attention with its weights laid out is quadratic."""

    def kept(frames: int) -> int:
        saved: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved.append(tensor.nbytes)
            return tensor

        x = torch.randn(1, frames, 4, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            (x @ x.transpose(1, 2)).softmax(-1).sum()
        return sum(saved)

    assert kept(1024) - kept(512) > 3 * (kept(512) - kept(256))
