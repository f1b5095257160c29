"""How large the systems are beside one another."""

from __future__ import annotations

from typing import Any

from undertone.models.example import Dimensions
from undertone.models.table import build

PUBLISHED = Dimensions(classes=4, speech=768, text=768)


def _size(name: str, **settings: Any) -> int:
    return sum(p.numel() for p in build(name, settings, PUBLISHED).parameters())


def test_ours_is_no_larger_than_it_may_be() -> None:
    assert _size("unison") <= 1.5 * _size("multilevel", members=["early-word"])
    assert _size("unison") <= max(_size(name) for name in ("multilevel", "perspective", "mgcma"))
