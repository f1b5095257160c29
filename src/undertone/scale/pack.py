"""``undertone pack``: recordings into shards, so that a cluster reads few large files.

Parquet shards carry the manifest's columns and the recordings' bytes. A tar shard carries recordings
only, beside a manifest that names them ``shard.tar#member``, which every other command reads too.
Members are named by a hash of their bytes: no name from a manifest is ever a path in a shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from undertone import manifest as manifests
from undertone.audio.source import locate
from undertone.errors import ConfigError, DataError
from undertone.manifest.parquet import pyarrow
from undertone.manifest.records import to_line
from undertone.scale import places
from undertone.scale.shards import META, columns, table
from undertone.types import Utterance

__all__ = ["PackedShards", "pack"]

OURS = re.compile(r"shard-\d{5}-[0-9a-f]{16}\.(parquet|tar)")


@dataclass(frozen=True)
class PackedShards:
    """What was written."""

    shards: tuple[str, ...]
    utterances: int
    bytes: int
    """Of all shards."""
    manifest: str
    """The input of the next command: the folder of Parquet shards, or the manifest beside tars."""


def pack(
    manifest: Path,
    out: str,
    *,
    form: Literal["parquet", "tar"] = "parquet",
    megabytes: float = 256,
    rows: int = 64,
) -> PackedShards:
    """Write a manifest and its recordings as shards of about ``megabytes`` each.

    ``rows`` utterances make a row group, which is what a worker takes at once. Killed, it starts again;
    a folder that holds a finished pack is refused.
    """
    if form not in ("parquet", "tar"):
        raise ConfigError(f"no shards of '{form}': there are parquet and tar")
    if places.exists(places.join(out, META)):
        raise DataError(f"{out}: holds a finished pack; choose another folder, or remove it")
    held = manifests.read(manifest)
    folder = str(held.path.absolute().parent)
    utterances = [replace(u, audio=places.join(folder, u.audio)) for u in held.utterances]
    meta = held.meta.after("pack", format=form)
    limit = int(megabytes * 1e6)
    made: list[tuple[str, int]] = []
    if form == "parquet":
        made = list(_parquet(utterances, out, limit, rows))
        into = out
    else:
        into = places.join(out, "manifest.jsonl")
        made, placed = _tars(utterances, out, limit)
        places.write(into, b"".join(to_line(u) + b"\n" for u in placed))
        places.write(places.join(out, "manifest.meta.json"), _plain(meta))
    _clear(out, {name for name, _ in made})
    places.write(places.join(out, META), _plain(meta))
    return PackedShards(tuple(name for name, _ in made), len(utterances), sum(size for _, size in made), into)


def _plain(meta: manifests.Meta) -> bytes:
    return json.dumps(meta.plain(), ensure_ascii=False, indent=2).encode() + b"\n"


def _clear(out: str, kept: set[str]) -> None:
    """Remove shards that an unfinished earlier pack left and this one does not have."""
    for name in places.names(out):
        if OURS.fullmatch(name) and name not in kept:
            places.remove(places.join(out, name))


# ---- Parquet -----------------------------------------------------------------------------------------


def _parquet(utterances: Sequence[Utterance], out: str, limit: int, rows: int) -> Iterator[tuple[str, int]]:
    groups = iter([utterances[i : i + rows] for i in range(0, len(utterances), rows)])
    number, more = 0, next(groups, None)
    while more is not None:
        with _Shard() as shard:
            while more is not None and (not shard.size or shard.size < limit):
                shard.add(more)
                more = next(groups, None)
            yield shard.finish(out, number)
        number += 1


class _Shard:
    """One Parquet file while it is written."""

    def __init__(self) -> None:
        self.size = 0
        self.content = hashlib.sha256()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "shard.parquet"

    def __enter__(self) -> _Shard:
        import pyarrow.parquet as pq

        pa = pyarrow()
        self.writer = pq.ParquetWriter(
            self.path, columns(pa), compression="zstd", write_statistics=["id", "speaker", "label"]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()
        self.folder.cleanup()

    def add(self, utterances: Sequence[Utterance]) -> None:
        """A row group; each recording of it once."""
        recordings: dict[str, bytes] = {}
        for utterance in utterances:
            if utterance.audio not in recordings:
                recordings[utterance.audio] = _recording(utterance.audio)
        labels = {audio: _member(audio, data) for audio, data in recordings.items()}
        placed = [replace(u, audio=labels[u.audio]) for u in utterances]
        for utterance in placed:
            self.content.update(to_line(utterance))
        self.writer.write_table(table(pyarrow(), placed, {labels[a]: data for a, data in recordings.items()}))
        self.size += sum(map(len, recordings.values()))

    def finish(self, out: str, number: int) -> tuple[str, int]:
        self.writer.close()
        name = f"shard-{number:05}-{self.content.hexdigest()[:16]}.parquet"
        size = self.path.stat().st_size
        places.put(self.path, places.join(out, name))
        return name, size


# ---- tar ---------------------------------------------------------------------------------------------


def _tars(
    utterances: Sequence[Utterance], out: str, limit: int
) -> tuple[list[tuple[str, int]], list[Utterance]]:
    """The archives, and the utterances that point into them; a recording is packed once."""
    made: list[tuple[str, int]] = []
    where: dict[str, str] = {}
    waiting = list(dict.fromkeys(u.audio for u in utterances))
    while waiting:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{secrets.token_hex(4)}.tar"
            members = _tar(path, waiting, limit)
            content = hashlib.sha256("\n".join(members.values()).encode()).hexdigest()[:16]
            name = f"shard-{len(made):05}-{content}.tar"
            made.append((name, path.stat().st_size))
            places.put(path, places.join(out, name))
        where |= {audio: f"{name}#{member}" for audio, member in members.items()}
        waiting = waiting[len(members) :]
    return made, [replace(u, audio=where[u.audio]) for u in utterances]


def _tar(path: Path, audios: Iterable[str], limit: int) -> dict[str, str]:
    """As many recordings as fit, in order; the member of each."""
    members: dict[str, str] = {}
    written: set[str] = set()
    size = 0
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for audio in audios:
            if size >= limit:
                break
            data = _recording(audio)
            member = _member(audio, data)
            if member not in written:
                entry = tarfile.TarInfo(member)  # no owner, no date: the same recordings, the same bytes
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            written.add(member)
            members[audio] = member
            size += len(data)
    return members


def _recording(audio: str) -> bytes:
    """The bytes of a file, of a member of an archive, or behind a URL."""
    if places.is_url(audio):
        return places.read(audio)
    with locate(audio).open() as file:
        return file.read()


def _member(audio: str, data: bytes) -> str:
    """The hash of the bytes, with the suffix by which ffmpeg and people know the format."""
    suffix = PurePosixPath(audio.rpartition("#")[2].replace("\\", "/")).suffix.lower()
    kind = suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""
    return hashlib.sha256(data).hexdigest()[:32] + kind
