"""What models answered, kept on disk: a condition is asked again only when the model or the code changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.starter.assess.questions import CONDITIONS, EIGHT, FOUR, Question, Side
from undertone.code import code_mark
from undertone.config import fingerprint

if TYPE_CHECKING:
    from undertone.types import Prediction

__all__ = ["Ask", "Row", "asked", "mark_of"]

Ask = Callable[[Sequence[Question]], "list[Prediction]"]
"""A model's public face: one prediction a question."""
BATCH = 20
"""Questions at once; a clip with all of its pairings fits in."""
CODE = ("undertone.judging.predictor", "studies.starter.assess.questions")
"""The modules that make an answer, and a question; what they import counts too."""


@dataclass(frozen=True)
class Row:
    """One answer. Posteriors are in the order of ``FOUR``, of ``eight`` in that of ``EIGHT``."""

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


def asked(model: Path, side: Side, condition: str, ask: Callable[[], Ask], kept: Path) -> list[Row]:
    """The rows of one condition, from ``kept`` if they are of this model and code, else asked now."""
    mark = mark_of(model, side, condition)
    found = _read(kept, mark)
    if found is not None:
        return found
    put = ask()
    rows = []
    for questions in _batches(CONDITIONS[condition](side)):
        answers = put(questions)
        rows += [_row(question, answer) for question, answer in zip(questions, answers, strict=True)]
    _write(kept, mark, rows)
    return rows


def mark_of(model: Path, side: Side, condition: str) -> str:
    """A hash of everything that determines the answers: weights, settings, code, and what is asked."""
    files = sorted(path for path in model.iterdir() if path.suffix in (".safetensors", ".toml", ".json"))
    weights = [sha256(path.read_bytes()).hexdigest() for path in files]
    ids = [[clip.corpus, clip.id] for clip in side.clips], [sentence.id for sentence in side.sentences]
    return fingerprint([weights, code_mark(*CODE), condition, *ids])


def _batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    waiting = iter(questions)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def _row(question: Question, answer: Prediction) -> Row:
    return Row(
        id=question.id,
        group=question.group,
        unit=question.unit,
        truth=question.truth,
        label=answer.label,
        posteriors={side: _in_order(values, FOUR) for side, values in answer.perspectives.items()},
        uncalibrated={side: _in_order(v, FOUR) for side, v in answer.extra.get("uncalibrated", {}).items()},
        eight=_in_order(answer.extra.get("ravdess8", {}), EIGHT),
        facts=question.facts,
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


def _write(path: Path, mark: str, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    lines = [json.dumps({"mark": mark}), *(json.dumps(asdict(row), ensure_ascii=False) for row in rows)]
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(path)
