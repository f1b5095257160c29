"""One utterance as plain JSON values, and back; old schemas are upgraded to the present one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from undertone.errors import ManifestError
from undertone.types import TIERS, Alignment, Segment, Utterance

__all__ = ["FIELDS", "from_plain", "to_line", "to_plain", "upgrade"]

FIELDS = tuple(Utterance.__dataclass_fields__)
"""The keys of a line, in the order in which they are written."""

TEXTS = ("speaker", "session", "dialogue", "text", "text_source", "label", "language")

Plain = dict[str, Any]


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def to_line(utterance: Utterance) -> bytes:
    """The utterance's line of JSONL, without the line feed."""
    try:
        return _encode(to_plain(utterance)).encode("utf-8")
    except (ValueError, TypeError) as error:  # a NaN, a lone surrogate, an object that JSON cannot express
        raise ManifestError(f"{utterance.id!r}: cannot be written to a manifest: {error}") from None


def to_plain(utterance: Utterance) -> Plain:
    """JSON-able values; what is unknown or empty is left out."""
    plain: Plain = {}
    for name in FIELDS:
        value = getattr(utterance, name)
        if isinstance(value, Alignment):
            plain[name] = alignment_to_plain(value)
        elif isinstance(value, Mapping):
            plain.update({name: dict(value)} if value else {})
        elif value is not None:
            plain[name] = value
    return plain


def alignment_to_plain(alignment: Alignment) -> dict[str, list[Plain]]:
    """``{"word": [{"text", "start", "end", …}], …}``, the tiers that have segments."""
    return {tier: [_segment_to_plain(s) for s in alignment.tier(tier)] for tier in alignment.tiers}


def _segment_to_plain(segment: Segment) -> Plain:
    plain: Plain = {"text": segment.text, "start": segment.start, "end": segment.end}
    if segment.score is not None:
        plain["score"] = segment.score
    if segment.chars is not None:
        plain["chars"] = list(segment.chars)
    return plain


def from_plain(values: object, lenient: bool = False) -> Utterance:
    """The utterance of a line; a ValueError where something is wrong with it.

    ``lenient`` leaves out keys of a newer minor schema instead of refusing them.
    """
    if not isinstance(values, dict):
        raise ValueError("should be a JSON object")
    if not lenient:
        _refuse_unknown(values)
    for name in ("id", "audio"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise ValueError(f'"{name}" is required and should be text')
    return Utterance(
        id=values["id"],
        audio=values["audio"],
        start=_number(values, "start"),
        end=_number(values, "end"),
        turn=_whole(values, "turn"),
        votes={str(k): _finite(v, f'votes["{k}"]') for k, v in _object(values, "votes").items()},
        alignment=_alignment(values),
        extra=_object(values, "extra"),
        **{name: _text(values, name) for name in TEXTS},
    )


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    for key in values:
        if key not in FIELDS:
            near = get_close_matches(key, FIELDS, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else 'put it inside "extra"'
            raise ValueError(f'unknown key "{key}": {hint}')


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f'"{name}" should be text, not {value!r}')


def _finite(value: object, name: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} should be a number, not {value!r}")


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    return None if value is None else _finite(value, f'"{name}"')


def _whole(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f'"{name}" should be a whole number, not {value!r}')


def _object(values: Mapping[str, Any], name: str) -> Plain:
    value = values.get(name)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise ValueError(f'"{name}" should be an object, not {value!r}')


def _alignment(values: Mapping[str, Any]) -> Alignment | None:
    if values.get("alignment") is None:
        return None
    tiers = _object(values, "alignment")
    if unknown := sorted(set(tiers) - set(TIERS)):
        raise ValueError(f'"alignment" has no tier "{unknown[0]}"; tiers are {", ".join(TIERS)}')
    return Alignment(**{tier: _segments(tier, tiers.get(tier)) for tier in TIERS})


def _segments(tier: str, values: object) -> tuple[Segment, ...]:
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ValueError(f'"{tier}" should be a list of segments')
    return tuple([_segment(f"{tier} {i}", value) for i, value in enumerate(values)])


def _segment(name: str, value: object) -> Segment:
    try:
        start, end, text = value["start"], value["end"], value["text"]  # type: ignore[index]
        score, chars = value.get("score"), value.get("chars")  # type: ignore[attr-defined]
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f'{name} should be an object with "text", "start" and "end"') from None
    if not isinstance(text, str):
        raise ValueError(f'{name}: "text" should be text, not {text!r}')
    return Segment(
        text,
        _finite(start, f'{name}: "start"'),
        _finite(end, f'{name}: "end"'),
        None if score is None else _finite(score, f'{name}: "score"'),
        None if chars is None else _chars(name, chars),
    )


def _chars(name: str, value: object) -> tuple[int, int]:
    match value:
        case [int(first), int(last)]:
            return first, last
    raise ValueError(f'{name}: "chars" should be two whole numbers, not {value!r}')


def _from_0(line: Plain) -> Plain:
    """Schema 0 named two columns as tables of clips do."""
    names = {"path": "audio", "transcript": "text"}
    return {names.get(key, key): value for key, value in line.items()}


UPGRADES: dict[int, Callable[[Plain], Plain]] = {0: _from_0}
"""For each old major schema: a line of it as a line of the next."""


def upgrade(line: object, major: int, present: int) -> object:
    """A line of an old major schema as one of the present."""
    for old in range(major, present):
        if isinstance(line, dict):
            line = UPGRADES[old](line)
    return line
