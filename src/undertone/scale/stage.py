"""One part's utterances, with their recordings as local files while they are worked on.

Everything below this room reads recordings by path. So bytes out of shards and objects behind URLs are
written into a temporary folder under names of our own, never under names that a manifest or archive chose.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from undertone.audio.source import TAR
from undertone.errors import DataError, ManifestError
from undertone.manifest.meta import SCHEMA
from undertone.manifest.records import from_plain, upgrade
from undertone.scale import places
from undertone.scale.parts import WorkPart
from undertone.scale.shards import read_group, utterance_rows
from undertone.types import Utterance

__all__ = ["Staged", "staged"]


@dataclass(frozen=True)
class Staged:
    """One utterance with its recording as a local file."""

    utterance: Utterance
    """As the source has it, a relative path resolved against the source's folder."""
    local: Utterance
    """With ``audio`` a local file, or a member of a local archive."""
    recording: bytes | None = None
    """Its bytes, if they came out of a shard."""
    error: str | None = None
    """Why there is no local file."""

    def with_source_path(self, message: str) -> str:
        """The same message with the source's path in place of the local one."""
        return message.replace(self.local.audio, self.utterance.audio)


@contextmanager
def staged(part: WorkPart) -> Iterator[list[Staged]]:
    """The utterances of a part, in order; their files are removed afterwards."""
    utterances, recordings = _read(part)
    with tempfile.TemporaryDirectory(prefix="undertone-") as folder:
        files = _Folder(Path(folder), places.parent(part.place), recordings)
        yield [files.stage(utterance) for utterance in utterances]


def _read(part: WorkPart) -> tuple[Sequence[Utterance], Mapping[str, bytes]]:
    recordings: Mapping[str, bytes] = {}
    rows: Sequence[object]
    if part.kind == "lines":
        rows = _lines(part)
    elif part.kind == "rows":
        rows = list(utterance_rows(part.place, part.first, part.last))
    else:
        rows, recordings = read_group(part.place, part.first)
    try:
        lenient = part.schema > SCHEMA
        utterances = [from_plain(upgrade(row, part.schema[0], SCHEMA[0]), lenient) for row in rows]
    except ValueError as error:
        raise ManifestError(f"{part.place}, {part.kind} {part.first} to {part.last}: {error}") from None
    if len(utterances) != part.utterances:
        raise ManifestError(f"{part.place}: has changed since the run was planned; start it again")
    return utterances, recordings


def _lines(part: WorkPart) -> list[Any]:
    with places.opened(part.place) as file:
        file.seek(part.first)
        text = file.read(part.last - part.first)
    try:
        return [json.loads(line.decode("utf-8-sig")) for line in text.split(b"\n") if line.strip()]
    except ValueError as error:
        raise ManifestError(f"{part.place}: a line is not valid JSON: {error}") from None


class _Folder:
    """The temporary folder of one part."""

    def __init__(self, folder: Path, source: str, recordings: Mapping[str, bytes]) -> None:
        self._folder, self._source, self._recordings = folder, source, recordings
        self._written: dict[str, Path] = {}

    def stage(self, utterance: Utterance) -> Staged:
        data = self._recordings.get(utterance.audio)
        if data is not None:
            path = self._write(utterance.audio, data)
            return Staged(utterance, replace(utterance, audio=str(path)), data)
        utterance = replace(utterance, audio=places.join(self._source, utterance.audio))
        try:
            local = self._local(utterance.audio)
        except DataError as error:
            return Staged(utterance, utterance, error=str(error))
        return Staged(utterance, replace(utterance, audio=local))

    def _local(self, place: str) -> str:
        """The path itself, or that of a copy; of an archive, with the member that was named."""
        if not places.is_url(place):
            return place
        if TAR in place:
            archive, _, member = place.partition("#")
            return f"{self._fetched(archive)}#{member}"
        return str(self._fetched(place))

    def _fetched(self, place: str) -> Path:
        if place not in self._written:
            self._written[place] = places.fetch(place, self._free(place))
        return self._written[place]

    def _write(self, audio: str, data: bytes) -> Path:
        if audio not in self._written:
            path = self._free(audio)
            path.write_bytes(data)
            self._written[audio] = path
        return self._written[audio]

    def _free(self, name: str) -> Path:
        """A path of our own; of the name only a harmless suffix is kept, by which formats are known."""
        suffix = PurePosixPath(name).suffix.lower()
        kind = suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""
        return self._folder / (hashlib.sha256(name.encode()).hexdigest()[:32] + kind)
