"""Who speaks when, as somebody else has found it: RTTM, TextGrid, WebVTT, CTM, JSON; or a diariser.

    .rttm       SPEAKER file channel start duration <NA> <NA> name
    .ctm        file channel start duration word: a channel is a speaker
    .TextGrid   a tier a speaker, its labels their words; FILE.TextGrid#TIER: one tier, its labels speakers
    .vtt        cues with <v Name>words
    .json       {"segments": [{"start", "end", "speaker", "text"}]}, or that list alone

A speaker's turns are sorted; neighbours that touch or overlap become one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from undertone.alignment.given import is_silence
from undertone.alignment.textgrid import read_tiers
from undertone.errors import DataError, ModelError, UndertoneError
from undertone.judging.conversation import GivenTurn, Voice

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Diariser", "Row", "SpeakerSource", "speakers_of", "voices_in", "voices_of"]

Row: TypeAlias = "tuple[str, float, float, str | None]"
"""Speaker, start, end, words."""
SpeakerSource: TypeAlias = "Callable[[str], Sequence[Voice]]"
"""The speakers of a recording, by its path."""
TOUCHING = 0.05
"""Seconds: a pause of one speaker that is shorter is none."""


def speakers_of(source: str) -> SpeakerSource:
    """``pyannote:NAME``, a file for one recording, or a folder of files named as the recordings."""
    kind, _, name = source.partition(":")
    if kind == "pyannote":
        return Diariser(name)
    place, _, tier = source.partition("#")
    path = Path(place)
    if path.is_dir():
        return lambda audio: voices_in(_beside(path, audio), tier or None, Path(audio).stem)
    if not path.is_file():
        raise DataError(f"{source}: no such file or folder (--speakers takes either, or pyannote:NAME)")
    return lambda audio: voices_in(path, tier or None, Path(audio).stem)


def _beside(folder: Path, audio: str) -> Path:
    for suffix in (*READERS, ".TextGrid"):
        path = folder / (Path(audio).stem + suffix)
        if path.is_file():
            return path
    raise DataError(f"{folder}: has no file on who speaks in {Path(audio).name} ({', '.join(READERS)})")


def voices_in(path: Path, tier: str | None = None, recording: str | None = None) -> list[Voice]:
    """Every speaker of a file in the order of their first turns; of several recordings' those of one."""
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: who speaks is read from {', '.join(READERS)}")
    try:
        rows = read(path, tier, recording)
    except UndertoneError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: cannot be read as who speaks when: {error}") from None
    rows = [row for row in rows if row[2] > row[1] >= 0]
    if not rows:
        raise DataError(f"{path}: holds no turns{f' of {recording}' if recording else ''}")
    return voices_of(rows)


def voices_of(rows: Iterable[Row]) -> list[Voice]:
    """Every speaker in the order of their first turns."""
    by_name: dict[str, list[GivenTurn]] = {}
    for name, start, end, text in sorted(rows, key=lambda row: row[1]):
        turns = by_name.setdefault(name, [])
        if turns and start - turns[-1].end <= TOUCHING:
            last = turns.pop()
            words = " ".join(t for t in (last.text, text) if t) or None
            turns.append(GivenTurn(last.start, max(last.end, end), words))
        else:
            turns.append(GivenTurn(start, end, text or None))
    return [Voice(name, turns=tuple(turns)) for name, turns in by_name.items()]


def _rttm(path: Path, _tier: str | None, recording: str | None) -> list[Row]:
    fields = [line.split() for line in _lines(path) if line.startswith("SPEAKER")]
    if not fields:
        raise DataError(f"{path}: is no RTTM (no line begins with SPEAKER)")
    files = {row[1] for row in fields}
    wanted = {recording} if len(files) > 1 else files
    return [(r[7], float(r[3]), float(r[3]) + float(r[4]), None) for r in fields if r[1] in wanted]


def _ctm(path: Path, _tier: str | None, recording: str | None) -> list[Row]:
    fields = [line.split() for line in _lines(path) if line.strip() and not line.startswith(";")]
    files = {row[0] for row in fields}
    wanted = {recording} if len(files) > 1 else files
    rows: list[Row] = []
    for row in sorted((r for r in fields if r[0] in wanted), key=lambda r: (r[1], float(r[2]))):
        start, end = float(row[2]), float(row[2]) + float(row[3])
        last = rows[-1] if rows else None
        if last and last[0] == f"channel {row[1]}" and start - last[2] <= 1.0:
            rows[-1] = (last[0], last[1], end, f"{last[3]} {row[4]}")
        else:
            rows.append((f"channel {row[1]}", start, end, row[4]))
    return rows


def _textgrid(path: Path, tier: str | None, _recording: str | None) -> list[Row]:
    tiers = read_tiers(path)
    if tier is not None:
        named = [segments for name, segments in tiers if name == tier]
        if not named:
            raise DataError(f"{path}: has no tier '{tier}', but {', '.join(name for name, _ in tiers)}")
        return [(s.text.strip(), s.start, s.end, None) for s in named[0] if not is_silence(s.text)]
    return [(n, s.start, s.end, s.text.strip()) for n, own in tiers for s in own if not is_silence(s.text)]


CUE = re.compile(r"((?:\d+:)?\d+:\d+[.,]\d+)\s+-->\s+((?:\d+:)?\d+:\d+[.,]\d+)")
VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")


def _vtt(path: Path, _tier: str | None, _recording: str | None) -> list[Row]:
    rows: list[Row] = []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")):
        times = CUE.search(block)
        if times is None:
            continue
        start, end = (_seconds(text) for text in times.groups())
        rows += [(name, start, end, text) for name, text in _spoken(block[times.end() :])]
    return rows


def _spoken(body: str) -> Iterator[tuple[str, str]]:
    """Each voice of a cue and its words; the rest of the line behind the times is settings."""
    lines = body.partition("\n")[2]
    parts = VOICE.split(lines)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        yield name.strip(), " ".join(re.sub(r"<[^>]*>", "", text).split())


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def _json(path: Path, _tier: str | None, _recording: str | None) -> list[Row]:
    values: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    segments = values["segments"] if isinstance(values, dict) else values
    lost = sum("speaker" not in one for one in segments)
    if lost:
        raise DataError(f"{path}: {lost} of {len(segments)} segments name no 'speaker'")
    return [
        (str(s["speaker"]), float(s["start"]), float(s["end"]), " ".join(str(s.get("text") or "").split()))
        for s in segments
    ]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig").splitlines()


READERS: dict[str, Callable[[Path, str | None, str | None], list[Row]]] = {
    ".rttm": _rttm,
    ".textgrid": _textgrid,
    ".json": _json,
    ".vtt": _vtt,
    ".ctm": _ctm,
}


class Diariser:
    """pyannote's pipeline of that name or folder, for those who have it (it is no part of undertone)."""

    def __init__(self, name: str) -> None:
        try:
            from pyannote.audio import Pipeline  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise ModelError(
                f"pyannote:{name}: needs pyannote.audio, which is not part of undertone:"
                " pip install pyannote.audio"
            ) from error
        try:
            self._pipeline = Pipeline.from_pretrained(name)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"pyannote:{name}: cannot be loaded: {error}") from None
        if self._pipeline is None:
            raise ModelError(f"pyannote:{name}: cannot be loaded (its terms must be accepted on its page)")

    def __call__(self, audio: str) -> Sequence[Voice]:
        from undertone import audio as sound

        return self.voices(sound.load(audio))

    def voices(self, wave: Wave) -> Sequence[Voice]:
        """The speakers of mono samples at 16 kHz."""
        import torch

        given = {"waveform": torch.from_numpy(wave)[None], "sample_rate": 16_000}
        output = self._pipeline(given)
        annotation = getattr(output, "speaker_diarization", output)
        by_name: dict[str, list[GivenTurn]] = {}
        for turn, _, name in annotation.itertracks(yield_label=True):
            by_name.setdefault(str(name), []).append(GivenTurn(float(turn.start), float(turn.end)))
        return [
            Voice(name, turns=tuple(sorted(turns, key=lambda t: t.span))) for name, turns in by_name.items()
        ]
