"""Pace, pauses and contour, against a slow obvious computation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, batch_of, examples
from undertone.models.batch import Batch, collate, mask_from
from undertone.models.delivery import Delivery, contour, pace, pace_width
from undertone.models.example import Example
from undertone.types import TIERS


def spoken(*spans: tuple[int, int], frames: int = 40) -> Batch:
    """One utterance with these words."""
    example = Example(
        id="u",
        speech=np.zeros((frames, 10), np.float32),
        text=None,
        segments={"word": np.array(spans)},
        label=0,
    )
    return collate([example], IDS)


def test_pace_is_what_a_loop_over_segments_finds() -> None:
    made = examples(5)
    found = pace(collate(made, IDS), TIERS)
    assert found.shape == (5, pace_width(TIERS))
    for row, example in zip(found, made, strict=True):
        expected = []
        for name in TIERS:
            logs = [np.log(b - a) for a, b in example.segments[name]]
            expected += [np.mean(logs) - 2.0, np.std(logs)]
        words = example.segments["word"]
        pauses = sum(b - a for (_, a), (b, _) in itertools.pairwise(words)) + 1
        said = sum(b - a for a, b in words) + 1
        expected += [np.log(pauses / len(words)), np.log(pauses / said) + 2.0]
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-3)


def test_longer_pauses_and_slower_words_have_other_features() -> None:
    even = pace(spoken((2, 6), (6, 10), (10, 14)), ["word"])[0]
    halting = pace(spoken((2, 6), (12, 16), (24, 28)), ["word"])[0]
    slow = pace(spoken((2, 12), (12, 22), (22, 32)), ["word"])[0]
    assert halting[0] == even[0] and (halting[2:] > even[2:] + 1).all()
    assert slow[0] > even[0] + 0.5 and slow[2] == even[2]


def test_what_is_not_known_is_zero() -> None:
    batch = batch_of(3)
    assert not pace(replace(batch, segments={}), TIERS).any()
    silent = replace(batch, present=torch.tensor([[True, True], [False, True], [True, True]]))
    assert not pace(silent, TIERS)[1].any() and pace(silent, TIERS)[0].any()


def test_a_contour_by_hand() -> None:
    frames, mask = torch.tensor([[[0.0], [2.0], [4.0], [99.0]]]), mask_from(torch.tensor([3]), 4)
    mean, deviation, slope = contour(frames, mask / 3, mask)
    assert mean.item() == pytest.approx(2.0)
    assert deviation.item() == pytest.approx((8 / 3) ** 0.5, abs=1e-3)
    assert slope.item() == pytest.approx(3 * (2 * 2 / 3 * 2) / 3)  # times are -2/3, 0, 2/3
    falling = contour(frames[:, [2, 1, 0, 3]], mask / 3, mask)
    assert falling[2].item() == pytest.approx(-slope.item())
    only_last = contour(frames, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), mask)
    assert [x.item() for x in only_last] == pytest.approx([4.0, 0.001, 0.0])


def test_the_output_is_zero_without_speech() -> None:
    torch.manual_seed(0)
    batch = batch_of(2)
    batch = replace(
        batch, speech_lengths=torch.tensor([0, 4]), present=torch.tensor([[False, True], [True, True]])
    )
    module = Delivery(6, TIERS)
    said = module(torch.randn(2, batch.speech.shape[1], 6), batch)
    assert not said[0].any() and said[1].any()
