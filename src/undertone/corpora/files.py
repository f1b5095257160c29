"""Shared by the corpora: folders that must exist, recordings by their names, texts, and checks of codes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = [
    "SOUND", "acted_utterance", "check_codes", "clips", "delimiter_of", "folder", "read_csv", "read_lines",
    "read_objects", "read_text", "visible",
]  # fmt: skip

SOUND = (".wav", ".flac", ".ogg", ".opus", ".mp3")
"""Suffixes of recordings that soundfile reads, the preferred first: a corpus may be kept packed."""

SEPARATORS = ",;\t"


def folder(path: Path, corpus: str, holds: str) -> Path:
    """``path`` as an absolute folder; an error says what it should hold."""
    if not path.is_dir():
        raise CorpusError(f"{path}: no such folder; {corpus} is read from the folder that holds {holds}")
    return path.absolute()


def visible(paths: Iterator[Path]) -> list[Path]:
    """Paths in a stable order without hidden ones, such as the ``._`` files of macOS archives."""
    return sorted(p for p in paths if not p.name.startswith("."))


def clips(root: Path, name: re.Pattern[str], notes: list[str]) -> dict[str, Path]:
    """The recordings beneath a folder whose names match, by name; of several copies the preferred format.

    Some mirrors hold a corpus twice, and some releases hold two formats: that is noted.
    """
    paths = [p for p in visible(root.rglob("*")) if p.suffix.lower() in SOUND and name.fullmatch(p.stem)]
    chosen: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: SOUND.index(p.suffix.lower())):
        chosen.setdefault(path.stem, path)
    if len(paths) > len(chosen):
        notes.append(f"{len(paths) - len(chosen)} further copies of clips left out")
    return {stem: chosen[stem] for stem in sorted(chosen)}


def check_codes(path: Path, corpus: str, *codes: tuple[str, Container[str]]) -> None:
    """A CorpusError where a code in a recording's name is not in its table."""
    for code, table in codes:
        if code not in table:
            raise CorpusError(f"{path}: '{code}' is no code of {corpus}")


def acted_utterance(
    path: Path, speaker: str, text: str, label: str | None, extra: Mapping[str, Any], language: str = "en"
) -> Utterance:
    """The utterance of a recording whose name is its id, and whose speaker reads a given sentence."""
    return Utterance(
        id=path.stem,
        audio=str(path),
        speaker=speaker,
        text=text,
        text_source="gold",
        label=label,
        language=language,
        extra=extra,
    )


def read_text(path: Path) -> str:
    """The text of a corpus file: UTF-8, or Latin-1 where it is not."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_lines(path: Path) -> list[str]:
    """The lines of a corpus file, parted at line feeds alone.

    ``splitlines`` would also part at U+0085, which is what an ellipsis of Windows-1252 often became.
    """
    return [line.rstrip("\r") for line in read_text(path).split("\n")]


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and values of each line of a JSON-lines file."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise CorpusError(f"{path}:{number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise CorpusError(f"{path}:{number}: an object is wanted")
            yield number, row


def delimiter_of(path: Path) -> str:
    """What parts the cells of a table: the comma, semicolon or tab of which its header has most."""
    return max(SEPARATORS, key=read_lines(path)[0].count)


def read_csv(path: Path, delimiter: str = ",") -> csv.DictReader[str]:
    """The rows of a csv file; a quoted cell may hold line breaks."""
    return csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
