"""Windows and batches cover everything once, in order, within their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertone.errors import ConfigError
from undertone.features.batching import plan, windows
from undertone.features.config import LongClips


@given(total=st.integers(0, 500), size=st.integers(2, 80), share=st.floats(0, 0.49))
def test_windows_keep_every_item_once(total: int, size: int, share: float) -> None:
    overlap = int(size * share)
    made = windows(total, size, overlap)
    assert [i for _, keep in made for i in keep] == list(range(total))
    for see, keep in made:
        assert len(see) == min(size, total)
        assert see.start <= keep.start <= keep.stop <= see.stop
    margin = overlap // 2  # what is kept stands at least this far inside, but at the ends
    for see, keep in made[1:-1]:
        assert keep.start - see.start >= margin and see.stop - keep.stop >= margin


@given(lengths=st.lists(st.integers(1, 60), max_size=40), budget=st.integers(1, 200), pads=st.booleans())
def test_batches_hold_each_clip_once_within_the_budget(lengths: list[int], budget: int, pads: bool) -> None:
    made = plan(lengths, budget, pads)
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    for batch in made:
        sizes = [lengths[i] for i in batch]
        assert len(batch) == 1 or max(sizes) * len(batch) <= budget
        assert pads or len(set(sizes)) == 1


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 · overlap < window ≤ above"):
        LongClips.parse({"above": 20.0, "window": 30.0})
