"""A folder of result shards: one Parquet file a part, in the order of the source."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from undertone.errors import DataError
from undertone.manifest.parquet import pyarrow
from undertone.scale import places
from undertone.scale.parts import PartedSource, WorkPart

__all__ = [
    "SUFFIX",
    "check_folder",
    "finished",
    "read_results",
    "remove_results",
    "result_files",
    "write_result",
]

SUFFIX = ".parquet"
OURS = re.compile(r"part-\d{7}-[0-9a-f]{16}\.parquet")


def result_files(folder: str) -> list[str]:
    """The names of the shards of results, in order."""
    return [name for name in places.names(folder) if OURS.fullmatch(name)]


def finished(folder: str, work: str) -> Callable[[WorkPart], bool]:
    """A test whether a part's shard exists, from one listing of the folder."""
    there = set(result_files(folder))
    return lambda part: part.name(work) + SUFFIX in there


def check_folder(folder: str, source: PartedSource, work: str) -> None:
    """A DataError where the folder holds results of other utterances, another model or other settings.

    So a reader of the whole folder gets each utterance once.
    """
    planned = {part.name(work) + SUFFIX for part in source.parts}
    foreign = [name for name in result_files(folder) if name not in planned]
    if foreign:
        raise DataError(
            f"{folder}: holds {len(foreign)} shards of other utterances, another model or other settings "
            f"({foreign[0]} …); choose another --out, or remove them"
        )


def write_result(folder: str, part: WorkPart, work: str, table: Any) -> None:
    """A part's shard, whole or not at all."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    places.write(places.join(folder, part.name(work) + SUFFIX), sink.getvalue())


def read_results(folder: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Every row of a folder of results, in the order of the source."""
    pyarrow()
    import pyarrow.parquet as pq

    for name in result_files(folder):
        with places.opened(places.join(folder, name)) as file:
            yield from pq.ParquetFile(file).read(columns=columns).to_pylist()


def remove_results(folder: str) -> None:
    """Delete the shards of results, and the folder if nothing else is in it."""
    for name in result_files(folder):
        places.remove(places.join(folder, name))
    if not places.is_url(folder) and not places.names(folder):
        Path(folder).rmdir()
