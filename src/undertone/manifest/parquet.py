"""The same utterances as a Parquet table, for manifests of millions of lines (extra ``parquet``).

Columns are typed, so that a cluster can filter without parsing; ``extra`` alone is JSON text,
since every corpus has its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from undertone.errors import ManifestError, MissingExtra
from undertone.manifest.records import to_line
from undertone.types import TIERS, Utterance

__all__ = ["lean", "pyarrow", "read_rows", "schema", "to_row", "write_rows"]

BATCH = 10_000
"""Utterances held as plain values at a time."""


def read_rows(path: Path) -> Iterator[tuple[str, object]]:
    """Each row's place and its plain values, as a line of JSONL would have them."""
    pa = pyarrow()
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", lean(row)
    except (pa.ArrowInvalid, json.JSONDecodeError) as error:
        raise ManifestError(f"{path}, row {number}: not a Parquet manifest: {error}") from None


def write_rows(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write all utterances, a batch at a time."""
    pa = pyarrow()
    import pyarrow.parquet as pq

    columns = schema(pa)
    rows = (to_row(u) for u in utterances)
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=columns))


def pyarrow() -> Any:
    """The library; a MissingExtra with the install line where it is missing."""
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtra("a Parquet manifest", "parquet") from None
    return pa


def schema(pa: Any) -> Any:
    """The columns of a manifest."""
    text, number = pa.string(), pa.float64()
    segment = pa.struct(
        [
            ("text", text),
            ("start", number),
            ("end", number),
            ("score", number),
            ("chars", pa.list_(pa.int32())),
        ]
    )
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("audio", text, nullable=False),
            ("start", number),
            ("end", number),
            ("speaker", text),
            ("session", text),
            ("dialogue", text),
            ("turn", pa.int64()),
            ("text", text),
            ("text_source", text),
            ("label", text),
            ("votes", pa.map_(text, number)),
            ("language", text),
            ("alignment", pa.struct([(tier, pa.list_(segment)) for tier in TIERS])),
            ("extra", text),
        ]
    )


def to_row(utterance: Utterance) -> dict[str, Any]:
    """An utterance as a row of the table."""
    row: dict[str, Any] = json.loads(to_line(utterance))  # the table refuses what JSONL refuses
    row["extra"] = json.dumps(row["extra"], ensure_ascii=False) if "extra" in row else None
    row["votes"] = list(row["votes"].items()) if "votes" in row else None
    return row


def lean(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the nulls that Parquet fills in."""
    plain = {key: value for key, value in row.items() if value is not None}
    if "extra" in plain:
        plain["extra"] = json.loads(plain["extra"])
    if "votes" in plain:
        plain["votes"] = dict(plain["votes"])
    if "alignment" in plain:
        plain["alignment"] = {tier: plain["alignment"][tier] for tier in TIERS if plain["alignment"][tier]}
    return plain
