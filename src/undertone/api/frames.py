"""What the functions for programs share: several places, a watch, and rows as a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from undertone.errors import MissingExtra
from undertone.progress import Watch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Places", "Watch", "frame_of", "several"]

Places: TypeAlias = "str | Path | Sequence[str | Path]"


def several(places: Places) -> list[str | Path]:
    """The places as a list."""
    return [places] if isinstance(places, str | Path) else list(places)


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a pandas DataFrame."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtra("a DataFrame", "frames") from None
    return pd.DataFrame(list(rows))
