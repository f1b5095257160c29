"""The format of a shard: a Parquet manifest with a column of recordings.

A recording's bytes are in the first row of a row group that needs them; further utterances of the same
recording in that group only name it. So a row group can be read alone: it is what a worker takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from undertone.errors import ManifestError
from undertone.manifest.parquet import lean, pyarrow, schema, to_row
from undertone.scale import places
from undertone.types import Utterance

__all__ = ["META", "RECORDING", "columns", "plain", "read_group", "row_groups", "table", "utterance_rows"]

RECORDING = "recording"
"""The column of bytes."""
META = "pack.meta.json"
"""The sidecar among shards; written last, so a folder that has it is whole."""


def columns(pa: Any, *more: tuple[str, Any]) -> Any:
    """A manifest's columns, the recording, and any others."""
    return pa.schema([*schema(pa), pa.field(RECORDING, pa.binary()), *(pa.field(*field) for field in more)])


def table(
    pa: Any,
    utterances: Iterable[Utterance],
    recordings: Mapping[str, bytes],
    more: Mapping[str, tuple[Any, list[Any]]] | None = None,
) -> Any:
    """One row group; ``recordings`` by ``audio``, those that are known; ``more`` columns by name."""
    left = dict(recordings)
    rows = [to_row(u) | {RECORDING: left.pop(u.audio, None)} for u in utterances]
    extra = more or {}
    for name, (_, values) in extra.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    made = columns(pa, *((name, kind) for name, (kind, _) in extra.items()))
    return pa.Table.from_pylist(rows, schema=made)


def row_groups(place: str) -> tuple[bool, tuple[int, ...]]:
    """Whether the file holds recordings, and how many rows each of its row groups has."""
    with _file(place) as file:
        about = file.metadata
        sizes = tuple(about.row_group(i).num_rows for i in range(about.num_row_groups))
        return RECORDING in file.schema_arrow.names, sizes


def read_group(place: str, group: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Plain utterances of a row group, and the recordings by ``audio``."""
    with _file(place) as file:
        rows = file.read_row_group(group).to_pylist()
    recordings = {row["audio"]: row[RECORDING] for row in rows if row.get(RECORDING) is not None}
    return [plain(row) for row in rows], recordings


def utterance_rows(place: str, first: int = 0, last: int | None = None) -> Iterator[dict[str, Any]]:
    """Plain utterances of a Parquet manifest, from row ``first`` to ``last``, a batch at a time."""
    with _file(place) as file:
        at = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if at + size > first and (last is None or at < last):
                for batch in file.iter_batches(1_000, row_groups=[group]):
                    rows = batch.to_pylist()
                    kept = rows[max(0, first - at) : None if last is None else max(0, last - at)]
                    yield from map(plain, kept)
                    at += len(rows)
            else:
                at += size


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The utterance in a row, as a line of JSONL would have it."""
    known = set(Utterance.__dataclass_fields__)
    return lean({key: value for key, value in row.items() if key in known})


@contextmanager
def _file(place: str) -> Iterator[Any]:
    pa = pyarrow()
    import pyarrow.parquet as pq

    with places.opened(place) as raw:
        try:
            yield pq.ParquetFile(raw, pre_buffer=False)
        except (pa.ArrowInvalid, KeyError) as error:
            raise ManifestError(f"{place}: not a manifest in Parquet: {error}") from None
