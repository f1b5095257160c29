"""Padding: every value stands at its place, and the rest is what padding should be."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.models.synthetic import IDS, LAYERS, VECTORS, examples
from undertone.models.example import Dimensions, filled, padded


@pytest.mark.parametrize("dims", [IDS, VECTORS, LAYERS])
def test_each_row_is_its_example_and_then_padding(dims: Dimensions) -> None:
    items = examples(4, dims)
    items[1] = replace(items[1], speech=None, segments={}, segment_word={})
    items[2] = replace(items[2], text=None)
    arrays = padded(items, dims, ("word", "phone"))
    for i, item in enumerate(items):
        frames, tokens = arrays["speech_lengths"][i], arrays["text_lengths"][i]
        assert frames == (0 if item.speech is None else item.speech.shape[-2])
        assert tokens == (0 if item.text is None else len(item.text))
        if item.speech is not None:
            np.testing.assert_array_equal(arrays["speech"][i, ..., :frames, :], item.speech)
        if item.text is not None:
            np.testing.assert_array_equal(arrays["text"][i, :tokens], item.text)
            np.testing.assert_array_equal(arrays["token_word"][i, :tokens], item.token_word)
        assert not arrays["speech"][i, ..., frames:, :].any() and not arrays["text"][i, tokens:].any()
        assert (arrays["token_word"][i, tokens:] == -1).all()
        for tier in ("word", "phone"):
            spans = item.segments.get(tier, np.zeros((0, 2)))
            assert arrays[f"{tier}_lengths"][i] == len(spans)
            np.testing.assert_array_equal(arrays[f"{tier}_spans"][i, : len(spans)], spans)
            assert not arrays[f"{tier}_spans"][i, len(spans) :].any()
            assert (arrays[f"{tier}_word"][i, len(spans) :] == -1).all()


def test_a_missing_item_is_padding_alone() -> None:
    assert filled([np.array([1, 2]), None], 3, -1).tolist() == [[1, 2, -1], [-1, -1, -1]]
    assert filled([None], None, 0).shape == (1, 1)


def test_padding_needs_no_torch() -> None:
    code = "import sys, undertone.models.example; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
