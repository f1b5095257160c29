"""A manifest, or a folder of shards, cut into parts.

A part is the unit of everything that follows: one call of a worker, one file of results, what is lost
when a machine goes and what is skipped when a driver comes back. Its mark is a hash of what it is made
of, so a file of results named after the mark cannot be of other utterances.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from undertone.errors import ManifestError
from undertone.manifest.meta import SCHEMA, Meta, read_meta, sidecar
from undertone.scale import places
from undertone.scale.shards import META, row_groups, utterance_rows

__all__ = ["PartedSource", "WorkPart", "open_source"]

T = TypeVar("T")

CONTENT_NAMED = re.compile(r"(shard|part)-\d+-[0-9a-f]{16}\.parquet")
"""What ``pack`` and runs on a cluster write: the name is a hash of the content or of what it was made of."""
FOOTERS = 16
"""Shards whose footers are read at once."""


@dataclass(frozen=True, slots=True)
class WorkPart:
    """Some neighbouring utterances of a source."""

    number: int
    """Its place in the source, from 0."""
    place: str
    """The file it is in."""
    kind: Literal["lines", "rows", "group"]
    """Of a JSONL manifest, a Parquet manifest, or a row group of a shard that holds recordings."""
    first: int
    """Byte (lines), row (rows) or row group where it begins."""
    last: int
    """Where it ends, exclusive."""
    utterances: int
    mark: str
    """Hash of what it is made of."""
    schema: tuple[int, int] = SCHEMA
    """Of the manifest."""

    def name(self, work: str) -> str:
        """The name of its file of results for that work; names sort in the order of the source."""
        return f"part-{self.number:07}-{_hash(self.mark, work)}"

    def text(self) -> str:
        """As JSON, to be sent to a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> WorkPart:
        values = json.loads(text)
        return cls(**{**values, "schema": tuple(values["schema"])})


@dataclass(frozen=True)
class PartedSource:
    """A manifest or a folder of shards, with its parts."""

    place: str
    meta: Meta
    parts: tuple[WorkPart, ...]
    packed: bool
    """Whether recordings lie in the shards themselves."""

    @property
    def utterances(self) -> int:
        return sum(part.utterances for part in self.parts)


def open_source(place: str, rows: int) -> PartedSource:
    """A manifest (``M.jsonl``, ``M.parquet``) or a folder of Parquet shards, by path or URL, in parts."""
    place = place if places.is_url(place) else str(Path(place).absolute())
    meta = _meta(place)
    parts: list[WorkPart] = []
    for cut in _cut(place, rows):
        parts.append(WorkPart(len(parts), *cut, schema=meta.schema))
    if not parts:
        raise ManifestError(f"{place}: holds no utterances")
    return PartedSource(place, meta, tuple(parts), packed=parts[0].kind == "group")


Cut = tuple[str, Literal["lines", "rows", "group"], int, int, int, str]


def _cut(place: str, rows: int) -> Iterator[Cut]:
    if place.endswith(".jsonl"):
        yield from _lines(place, rows)
    elif place.endswith(".parquet"):
        yield from _table(place, rows, row_groups(place))
    elif shards := [name for name in places.names(place) if name.endswith(".parquet")]:
        files = [places.join(place, name) for name in shards]
        with ThreadPoolExecutor(FOOTERS, "footers") as pool:
            for file, groups in zip(files, pool.map(row_groups, files), strict=True):
                yield from _table(file, rows, groups)
    else:
        raise ManifestError(
            f"{place}: neither a manifest (.jsonl, .parquet) nor a folder of Parquet shards; "
            "`undertone prepare` makes a manifest, `undertone pack` shards"
        )


def _lines(place: str, rows: int) -> Iterator[Cut]:
    """Ranges of bytes, so that a worker reads its own lines and no process holds them all."""
    folder = places.parent(place)
    with places.opened(place) as file:
        at = 0
        for lines in _batched(file, rows):
            end = at + sum(map(len, lines))
            written = [line for line in lines if line.strip()]
            if written:
                marks = (_recording(folder, _audio(place, line)) for line in written)
                yield place, "lines", at, end, len(written), _hash(*lines, *marks)
            at = end


def _table(place: str, rows: int, groups: tuple[bool, tuple[int, ...]]) -> Iterator[Cut]:
    packed, sizes = groups
    if not packed:
        yield from _rows(place, rows, sum(sizes))
        return
    content = place.replace("\\", "/").rpartition("/")[2]
    mark = content if CONTENT_NAMED.fullmatch(content) else places.mark(place)
    for index, size in enumerate(sizes):
        if size:
            yield place, "group", index, index + 1, size, _hash(mark, str(index))


def _rows(place: str, rows: int, count: int) -> Iterator[Cut]:
    """A Parquet manifest: its rows are read once for their mark, a batch at a time."""
    folder = places.parent(place)
    batches = _batched(utterance_rows(place), rows)
    for first, some in zip(range(0, count, rows), batches, strict=True):
        lines = (json.dumps(row, sort_keys=True, ensure_ascii=False, default=str) for row in some)
        marks = (_recording(folder, str(row.get("audio"))) for row in some)
        yield place, "rows", first, first + len(some), len(some), _hash(*lines, *marks)


def _audio(place: str, line: bytes) -> str:
    try:
        values: Any = json.loads(line.decode("utf-8-sig"))
        return str(values["audio"])
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{place}: a line is not an utterance: {line[:80]!r} ({error})") from None


def _recording(folder: str, audio: str) -> str:
    """Size and date of a local recording; an object in a store is taken never to change."""
    place = places.join(folder, audio)
    return "" if places.is_url(place) else _local(place)


@lru_cache(maxsize=4096)
def _local(place: str) -> str:
    return places.mark(place if "#" not in place or Path(place).exists() else place.partition("#")[0])


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\x1f")
    return digest.hexdigest()[:16]


def _meta(place: str) -> Meta:
    """The manifest's sidecar, or the one that lies among shards."""
    if not place.endswith((".jsonl", ".parquet")):
        return _sidecar(places.join(place, META), "shards.jsonl")
    if places.is_url(place):
        stem, _, _ = place.rpartition(".")
        return _sidecar(f"{stem}.meta.json", "manifest.jsonl")
    return read_meta(Path(place))


def _sidecar(place: str, name: str) -> Meta:
    if not places.exists(place):
        return Meta()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / name
        sidecar(manifest).write_bytes(places.read(place))
        return read_meta(manifest)
