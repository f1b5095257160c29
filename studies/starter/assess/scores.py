"""Models' predictions, kept on disk: a condition is predicted again only when model or code changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.starter.assess.cases import CONDITIONS, EIGHT, FOUR, Case, Part
from undertone.code import code_mark
from undertone.config import fingerprint
from undertone.files import one_thread, write_lines
from undertone.judging.clip import Clip, Model, Transcript
from undertone.judging.predictor import load_model

if TYPE_CHECKING:
    from undertone.types import Prediction

__all__ = ["Row", "mark_of", "opened", "predictions", "rows_of"]

BATCH = 20
"""Questions at once; a clip with all of its pairings fits in."""
CODE = ("undertone.judging.predictor", "studies.starter.assess.cases")
"""The modules that make a prediction, and a case; what they import counts too."""


@dataclass(frozen=True)
class Row:
    """One prediction. Posteriors are in the order of ``FOUR``, of ``eight`` in that of ``EIGHT``."""

    id: str
    group: str
    unit: str
    truth: str | None
    label: str | None
    """None: it abstained."""
    posteriors: Mapping[str, Sequence[float]]
    """``fused``, ``speech``, ``text``: those there are."""
    uncalibrated: Mapping[str, Sequence[float]] = field(default_factory=dict)
    eight: Sequence[float] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def rows_of(model: Path, part: Part, condition: str, kept: Path) -> list[Row]:
    """The rows of one condition, from ``kept`` if they are of this model and code, else predicted now."""
    mark = mark_of(model, part, condition)
    rows = _read(kept, mark)
    if rows is None:
        cases = CONDITIONS[condition](part)
        rows = [
            _row(case, prediction)
            for batch in iter(lambda: list(islice(cases, BATCH)), [])
            for case, prediction in zip(batch, predictions(model, batch), strict=True)
        ]
        write_lines(kept, [{"mark": mark}, *map(asdict, rows)])
    return rows


def predictions(model: Path, cases: Sequence[Case]) -> list[Prediction]:
    """One prediction a case, by the predictor that users call."""
    clips = [Clip(case.id, case.wave, Transcript(case.text) if case.text else None) for case in cases]
    return opened(model).predict(clips)


@lru_cache(1)
def opened(model: Path) -> Model:
    """The model of a folder; the last one stays open, since conditions come model by model.

    It computes with one thread, so that its numbers do not depend on the machine's cores.
    """
    ready = load_model(model)
    one_thread()
    return ready


def mark_of(model: Path, part: Part, condition: str) -> str:
    """A hash of everything that determines the predictions: weights, settings, code and cases."""
    files = sorted(path for path in model.iterdir() if path.suffix in (".safetensors", ".toml", ".json"))
    weights = [sha256(path.read_bytes()).hexdigest() for path in files]
    ids = [[clip.corpus, clip.id] for clip in part.clips], [sentence.id for sentence in part.sentences]
    return fingerprint([weights, code_mark(*CODE), condition, *ids])


def _row(case: Case, prediction: Prediction) -> Row:
    return Row(
        id=case.id,
        group=case.group,
        unit=case.unit,
        truth=case.truth,
        label=prediction.label,
        posteriors={side: _in_order(values, FOUR) for side, values in prediction.perspectives.items()},
        uncalibrated={
            side: _in_order(v, FOUR) for side, v in prediction.extra.get("uncalibrated", {}).items()
        },
        eight=_in_order(prediction.extra.get("ravdess8", {}), EIGHT),
        facts=case.facts,
    )


def _in_order(values: Mapping[str, float], order: Sequence[str]) -> list[float]:
    return [round(values[label], 6) for label in order] if values else []


def _read(path: Path, mark: str) -> list[Row] | None:
    """The kept rows; None where there are none, or of something else."""
    try:
        lines: Iterator[str] = iter(path.read_text(encoding="utf-8").splitlines())
        return (
            [Row(**json.loads(line)) for line in lines] if json.loads(next(lines)) == {"mark": mark} else None
        )
    except (FileNotFoundError, StopIteration, ValueError, TypeError):
        return None
