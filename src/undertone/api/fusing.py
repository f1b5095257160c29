"""Fusion: ``fuse`` makes a model folder of classifiers, ``fuse_posteriors`` joins what systems gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.api.frames import Places, Watch, frame_of, several
from undertone.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Fused", "fuse", "fuse_posteriors"]


@dataclass(frozen=True)
class Fused:
    """A fusion of classifiers: what each of their classes became, and what was measured."""

    folder: Path | None
    """The model folder, for ``load``; None where none was wanted."""
    labels: tuple[str, ...]
    sides: tuple[dict[str, Any], ...]
    """Of each classifier: ``side``, ``given`` (its name), ``classes`` (its own → ours)."""
    notes: tuple[str, ...]
    """Which classifier lacks which class."""
    measured: dict[str, Any]
    """``milliseconds`` a clip by name; with clips ``fusion``: metrics, what was chosen and how."""

    def plain(self) -> dict[str, Any]:
        """JSON values, as ``undertone fuse --json``."""
        out = str(self.folder) if self.folder else None
        return {"out": out, "labels": list(self.labels), "sides": list(self.sides), **self.measured}

    def rows(self) -> list[dict[str, Any]]:
        """Each classifier, then the fusions, with their scores where there are clips."""
        scores = self.measured.get("fusion", {}).get("metrics", {})
        cost = self.measured["milliseconds"]
        rows: list[dict[str, Any]] = [
            {"name": one["given"], "side": one["side"], "milliseconds": cost.get(one["given"])}
            for one in self.sides
        ]
        fusions = [name for name in scores if name not in {row["name"] for row in rows}]
        rows += [{"name": name, "side": "fused", "milliseconds": sum(cost.values())} for name in fusions]
        for row in rows:
            values = dict(scores.get(row["name"], {}))
            if interval := values.pop("interval", None):
                values |= {"ua_low": interval[0], "ua_high": interval[1]}
            row |= values
        return rows

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame."""
        return frame_of(self.rows())


def fuse(
    clips: str | Path | None = None,
    *,
    speech: Places = (),
    text: Places = (),
    out: str | Path | None = None,
    maps: Mapping[str, str] | None = None,
    rest: str | None = None,
    classes: Sequence[str] = (),
    prior: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    budget: float | None = None,
    window: str = "full",
    precision: str = "auto",
    allow_overlap: bool = False,
    say: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> Fused:
    """Classifiers of speech and of text put together into the model folder ``out``, as ``undertone fuse``.

    ``clips``: a manifest of labelled clips to fit the fusion on, of which ``watch`` counts those judged;
    without, the sides' evidence is multiplied. ``maps``: class or ``name:class`` → ours, ``other`` or ``-``.
    ``say`` gets the maps line by line, before they are used.

    >>> fuse(speech="starter").labels
    ('angry', 'happy', 'sad', 'neutral')
    """
    from undertone.experiment.fuse import Wishes, joined, make_sides, map_lines, milliseconds, write_sides
    from undertone.files import refuse_place

    if budget is not None and clips is None:
        raise UsageError("--budget needs labelled clips: without them nothing says which side to leave out")
    if out is not None:
        refuse_place(Path(out), folder=True)
    wishes = Wishes(
        maps=maps or {},
        rest=rest,
        classes=tuple(classes),
        prior=prior or {},
        weights=weights or {},
        trained={name: tuple(corpora) for name, corpora in (trained_on or {}).items()},
        precision=precision,
        window=window,
    )
    sides = make_sides([str(one) for one in several(speech)], [str(one) for one in several(text)], wishes)
    for line in map_lines(sides) if say is not None else ():
        say(line)  # type: ignore[misc]
    made = joined(sides, wishes)
    notes = tuple(made.notes)
    more: dict[str, Any] = {}
    if clips is not None:
        from undertone.experiment.fusion import fit_sides

        made, more = fit_sides(made, Path(clips), wishes, allow_overlap, budget, watch)
    else:
        more = {"milliseconds": milliseconds(sides)}
    if out is not None:
        write_sides(Path(out), made, more)
    shown = tuple({"side": one.side, "given": one.given, "classes": dict(one.mapped)} for one in sides)
    return Fused(Path(out) if out is not None else None, made.labels, shown, notes, more)


def fuse_posteriors(*posteriors: ArrayLike, weights: Sequence[float] | None = None) -> NDArray[Any]:
    """(N, C) one posterior of several systems by the product rule, each to the power of its weight.

    >>> fuse_posteriors([[0.8, 0.2]], [[0.5, 0.5]]).round(2).tolist()
    [[0.8, 0.2]]
    """
    import numpy as np

    given = [np.asarray(one, float) for one in posteriors]
    powers = [1.0] * len(given) if weights is None else list(weights)
    if not given or len({one.shape for one in given}) > 1 or len(powers) != len(given):
        shapes = ", ".join(str(one.shape) for one in given) or "none"
        raise DataError(
            f"posteriors of one shape and a weight each are wanted: {shapes}, {len(powers)} weights"
        )
    logs = sum(power * np.log(np.maximum(one, 1e-12)) for power, one in zip(powers, given, strict=True))
    joined = np.exp(logs - np.max(logs, axis=-1, keepdims=True))
    fused: NDArray[Any] = joined / joined.sum(axis=-1, keepdims=True)
    return fused
