"""What ``undertone predict`` is given: files, folders, globs, manifests, tables, ``-`` for stdin."""

from __future__ import annotations

import glob
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from undertone import manifest as manifests
from undertone.alignment.textgrid import read_textgrid
from undertone.corpora.table import READERS, Table, by_name
from undertone.errors import DataError
from undertone.judging.clip import Recording, Transcript, attached, joined
from undertone.manifest.meta import sidecar
from undertone.types import Utterance

__all__ = ["AUDIO", "beside", "find", "recording_of"]

AUDIO = frozenset(
    ".wav .flac .ogg .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .sph"
    " .m4a .mp4 .aac .webm .wma .amr .mkv .mov".split()
)
"""Suffixes by which a folder's recordings are known; a file named outright may have any."""
COMPANIONS = frozenset(
    {".txt", ".lab", ".textgrid", ".json", ".csv", ".toml", ".rttm", ".ctm", ".vtt", ".srt"}
)
"""What a glob may catch beside recordings."""
MANIFESTS = frozenset({".jsonl", ".parquet"})
TABLES = frozenset({".csv", ".tsv"})


def find(
    places: Iterable[str],
    text: str | None = None,
    doubtful: bool = False,
    columns: Mapping[str, str] | None = None,
) -> list[Recording]:
    """Every recording behind the places, in order, none twice; DataError where a place holds none.

    Files of one name get their paths as ids. ``doubtful`` as for ``recording_of``; ``columns``: a table's
    column → a field; others are known by their names.
    """
    recordings: dict[tuple[str, str], Recording] = {}
    for place in places:
        behind = list(_behind(place, text, doubtful, columns))
        if not behind:
            raise DataError(f"{place}: holds no recordings")
        for where, recording in behind:
            recordings.setdefault((where, recording.id), recording)
    named = Counter(recording.id for recording in recordings.values())
    return [
        replace(recording, id=Path(str(recording.audio)).as_posix()) if named[recording.id] > 1 else recording
        for recording in recordings.values()
    ]


def _behind(
    place: str, text: str | None, doubtful: bool, columns: Mapping[str, str] | None
) -> Iterator[tuple[str, Recording]]:
    """Each recording with where it is."""
    path = Path(place)
    if place == "-":
        yield "-", Recording("stdin", sys.stdin.buffer.read(), _given(text))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in AUDIO and file.is_file() and not file.name.startswith("._"):
                yield _file(str(file), file.relative_to(path).as_posix(), text)
    elif _is_table(path):
        for utterance in Table(path, by_name(_header(path), columns or {})).read():
            yield utterance.audio, replace(recording_of(utterance, doubtful), channels=None)
    elif path.suffix.lower() in MANIFESTS:
        for utterance in manifests.read(path).resolved():
            yield utterance.audio, recording_of(utterance, doubtful)
    elif not path.exists() and glob.has_magic(place):
        for match in sorted(glob.glob(place, recursive=True)):  # noqa: PTH207
            if Path(match).is_file() and Path(match).suffix.lower() not in COMPANIONS:
                yield _file(match, Path(match).as_posix(), text)
    else:
        yield _file(place, path.name, text)


def _is_table(path: Path) -> bool:
    """Of JSON lines and Parquet: whether they are no manifest's, whose rows have ids."""
    kind = path.suffix.lower()
    if not path.is_file() or kind not in MANIFESTS:
        return path.is_file() and kind in TABLES
    if sidecar(path).is_file():
        return False
    if kind == ".parquet":
        return "id" not in _header(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return '"id"' not in file.readline()


def _header(path: Path) -> list[str]:
    """The names of a table's columns."""
    return [name for _, row in islice(READERS[path.suffix.lower()](path), 1) for name in row]


def _given(text: str | None) -> Transcript | None:
    return Transcript(text, "given") if text else None


def _file(reference: str, name: str, text: str | None) -> tuple[str, Recording]:
    def words() -> Transcript | None:
        """Given, lying beside it, or none."""
        return _given(text) or beside(Path(reference))

    return str(Path(reference).absolute()), Recording(name, reference, words)


def recording_of(utterance: Utterance, doubtful: bool = False) -> Recording:
    """An utterance as something to judge: its stretch of the recording, its words with their times.

    Times that the manifest marks as doubtful are used where ``doubtful`` is true.
    """
    words = None
    if utterance.text:
        usable = utterance.alignment if doubtful or utterance.doubt is None else None
        known = attached(usable, utterance.text) if usable else None
        words = Transcript(utterance.text, utterance.text_source or "given", known)
    return Recording(
        utterance.id,
        utterance.audio,
        words,
        utterance.start,
        utterance.end,
        channels="mix",
        label=utterance.label,
        dialogue=utterance.dialogue,
        turn=utterance.turn,
    )


def beside(audio: Path) -> Transcript | None:
    """The transcript in a file beside the recording; None where there is none."""
    for suffix in (".TextGrid", ".textgrid"):
        path = audio.with_suffix(suffix)
        if path.is_file():
            alignment = read_textgrid(path)
            text, words = joined(alignment.word)
            return Transcript(text, path.name, replace(alignment, word=words)) if text else None
    for suffix in (".lab", ".txt"):
        path = audio.with_suffix(suffix)
        if path.is_file():
            return _plain(path)
    return None


def _plain(path: Path) -> Transcript | None:
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the transcript is not UTF-8 ({error.reason})") from None
    return Transcript(text, path.name) if text else None
