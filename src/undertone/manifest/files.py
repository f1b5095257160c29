"""A manifest on disk: ``M.jsonl`` (or ``M.parquet``) and its sidecar ``M.meta.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from undertone.errors import ManifestError
from undertone.files import refuse_place, whole, write_json
from undertone.manifest.meta import SCHEMA, Meta, read_meta, sidecar
from undertone.manifest.records import from_plain, to_line, upgrade
from undertone.types import Utterance

__all__ = ["Manifest", "read", "refuse_output", "write"]

SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Manifest:
    """The utterances of a file, as they are written there, and its sidecar."""

    path: Path
    utterances: tuple[Utterance, ...]
    meta: Meta

    def resolved(self) -> tuple[Utterance, ...]:
        """The utterances with absolute audio paths: relative ones start at the manifest's folder."""
        folder = self.path.absolute().parent
        return tuple(
            u if _absolute(u.audio) else replace(u, audio=str(folder / u.audio)) for u in self.utterances
        )


def read(path: str | Path) -> Manifest:
    """The manifest of a file; a ManifestError names the file, the line and what is wrong in it."""
    path = Path(path)
    if path.suffix in (".csv", ".tsv"):
        made = f"`undertone prepare table {path} --out {path.stem}.jsonl`"
        raise ManifestError(f"{path}: a table, and no manifest yet: {made} makes one of it")
    _refuse_name(path)
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest; `undertone prepare` makes one")
    meta = read_meta(path)
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _lines(path)
    return Manifest(path, tuple(_utterances(path, rows, meta)), meta)


def write(path: str | Path, utterances: Iterable[Utterance], meta: Meta) -> None:
    """Write a manifest and its sidecar, whole or not at all.

    Audio beneath the manifest's folder is written relative to it, so that the folder can move.
    """
    path = Path(path)
    _refuse_name(path)
    folder = path.absolute().parent
    placed = [_placed(u, folder) for u in utterances]
    with whole(path) as part:
        if path.suffix == ".parquet":
            from undertone.manifest.parquet import write_rows

            write_rows(part, placed)
        else:
            _write_lines(part, placed)
        write_json(sidecar(path), meta.plain(), indent=2)


def _utterances(path: Path, rows: Iterable[tuple[str, object]], meta: Meta) -> Iterator[Utterance]:
    lenient = meta.schema > SCHEMA
    for place, row in rows:
        try:
            yield from_plain(upgrade(row, meta.schema[0], SCHEMA[0]), lenient)
        except ValueError as error:
            raise ManifestError(f"{path}, {place}: {error}") from None


def _lines(path: Path) -> Iterator[tuple[str, object]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"line {number}", _json(path, number, line)


def _json(path: Path, number: int, line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}, line {number}: not valid JSON: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, object]]:
    from undertone.manifest.parquet import read_rows

    return read_rows(path)


def _write_lines(path: Path, utterances: Iterable[Utterance]) -> None:
    with path.open("wb") as file:
        file.writelines(to_line(utterance) + b"\n" for utterance in utterances)


def _placed(utterance: Utterance, folder: Path) -> Utterance:
    audio = Path(utterance.audio)
    if not audio.is_absolute() or not audio.is_relative_to(folder):
        return utterance
    return replace(utterance, audio=audio.relative_to(folder).as_posix())


def _absolute(audio: str) -> bool:
    return Path(audio).is_absolute()


def refuse_output(path: Path) -> None:
    """Refuse a place where no manifest can be written, before the work is done."""
    _refuse_name(path)
    refuse_place(path)


def _refuse_name(path: Path) -> None:
    """Refuse a name that ``write`` would refuse, before the work is done."""
    if path.suffix not in SUFFIXES:
        raise ManifestError(f"{path}: a manifest's name ends in {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        from undertone.manifest.parquet import pyarrow

        pyarrow()
