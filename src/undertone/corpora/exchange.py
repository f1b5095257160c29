"""Data sets as other tools keep them: AudioFolder and Parquet of Hugging Face datasets, audformat, lhotse,
SpeechBrain and Kaldi. Written against the formats, so that none of these tools is needed to read them.

Each is a table whose rows come from other files; ``columns`` and ``label_map`` are a table's own. What stands
in a folder or table of one part (``train``, ``test`` …) says so in ``extra.split``, as the protocol ``fixed``
wants it. Nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertone.corpora.files import SOUND, read_lines, read_text, visible
from undertone.corpora.table import ALIASES, READERS, Row, Table
from undertone.errors import CorpusError, MissingExtra, no_such
from undertone.files import write_whole
from undertone.types import Alignment, Segment, Utterance

__all__ = ["Audformat", "AudioFolder", "HuggingFace", "Kaldi", "Lhotse", "SpeechBrain"]

NAMES = {
    **ALIASES,
    "file_name": "audio", "wav": "audio", "file": "audio", "filename": "audio",
    "emotion": "label", "emo": "label",
    "transcription": "text", "sentence": "text", "words": "text", "wrd": "text",
    "speaker_id": "speaker", "spk": "speaker", "spk_id": "speaker", "locale": "language", "lang": "language",
}  # fmt: skip
"""What these tools call our fields."""
PARTS = {
    "train": "train", "training": "train", "dev": "validation", "devel": "validation",
    "validation": "validation", "valid": "validation", "val": "validation", "test": "test", "eval": "test",
}  # fmt: skip
MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}
"""How a recording inside a table begins."""


class _Exchange(Table):
    """A table whose rows stand in a folder's files."""

    aliases = NAMES
    holds = ""

    def _check(self, root: Path) -> None:
        if not root.exists():
            raise CorpusError(f"{root}: no such folder; {self.name} is read from one that holds {self.holds}")

    def _nothing(self) -> CorpusError:
        return CorpusError(f"{self.path}: holds no {self.holds}")


class AudioFolder(_Exchange):
    """Recordings with a ``metadata`` file a folder, or else in a folder a label."""

    name = "audiofolder"
    holds = "metadata.csv, .jsonl or .parquet beside recordings, or recordings in a folder a label"

    def _rows(self) -> Iterator[tuple[str, Row]]:
        root = self.path if self.path.is_dir() else self.path.parent
        tables = [p for p in visible(root.rglob("metadata.*")) if p.suffix.lower() in READERS]
        for table in tables:
            beside = table.parent.relative_to(root)
            for place, row in READERS[table.suffix.lower()](table):
                name = row.pop("file_name", None)
                if not name:
                    raise CorpusError(f"{table}, {place}: no file_name")
                yield f"{table.name}, {place}", {"audio": (beside / name).as_posix(), **row, **_part(beside)}
        if not tables:
            yield from self._by_folder(root)

    def _by_folder(self, root: Path) -> Iterator[tuple[str, Row]]:
        recordings = [p for p in visible(root.rglob("*")) if p.suffix.lower() in SOUND]
        if not recordings:
            raise self._nothing()
        for path in recordings:
            place = path.relative_to(root)
            label = {"label": path.parent.name} if path.parent != root else {}
            yield place.as_posix(), {"audio": place.as_posix(), **label, **_part(place.parent)}


class HuggingFace(_Exchange):
    """Parquet shards of ``datasets``: an audio column holds the recording's bytes, a class is a number.

    ``media``: the folder that recordings inside the shards are written to.
    """

    name = "huggingface"
    holds = "*.parquet"

    def __init__(
        self,
        root: Path,
        columns: Mapping[str, str] | None = None,
        label_map: Mapping[str, str | None] | None = None,
        audio_root: str | None = None,
        media: str | None = None,
    ) -> None:
        super().__init__(root, columns, label_map, audio_root)
        self.media = Path(media).absolute() if media else None

    def _rows(self) -> Iterator[tuple[str, Row]]:
        shards = visible(self.path.rglob("*.parquet")) if self.path.is_dir() else [self.path]
        if not shards:
            raise self._nothing()
        for shard in shards:
            classes = _classes(shard)
            for number, (place, row) in enumerate(READERS[".parquet"](shard)):
                for column, value in row.items():
                    if column in classes and isinstance(value, int):
                        row[column] = classes[column][value] if value >= 0 else None
                    elif isinstance(value, dict) and value.keys() == {"bytes", "path"}:
                        row[column] = self._recording(value, f"{shard.stem}-{number:06}", shard)
                yield f"{shard.name}, {place}", {**row, **_part(Path(shard.name))}

    def _recording(self, value: Mapping[str, Any], name: str, shard: Path) -> str:
        held = value["bytes"]
        if held is None:
            return str(value["path"])
        if self.media is None:
            raise CorpusError(
                f"{shard}: its recordings are inside: --set media=DIR names the folder to write them to"
            )
        known = next((end for start, end in MAGIC.items() if held.startswith(start)), ".wav")
        path = self.media / f"{name}{Path(value['path'] or '').suffix or known}"
        if not path.is_file() or path.stat().st_size != len(held):
            write_whole(path, held)
        return str(path)


def _classes(shard: Path) -> dict[str, list[str]]:
    """The names of each column's classes, as ``datasets`` keeps them in a Parquet file's schema."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("a Parquet table", "parquet") from None
    kept = (pq.read_schema(shard).metadata or {}).get(b"huggingface")
    features = json.loads(kept)["info"]["features"] if kept else {}
    return {c: f["names"] for c, f in features.items() if isinstance(f, dict) and f.get("names")}


class Audformat(_Exchange):
    """A database of audEERING's audformat: ``db.yaml`` and its tables, kept as csv or Parquet.

    ``table``: the tables that are read, with commas; default: all. The first column of raters' labels is the
    label; columns of further human raters under the same scheme are votes.
    """

    name = "audformat"
    holds = "db.yaml"

    def __init__(
        self,
        root: Path,
        columns: Mapping[str, str] | None = None,
        label_map: Mapping[str, str | None] | None = None,
        audio_root: str | None = None,
        table: str | None = None,
    ) -> None:
        super().__init__(root, columns, label_map, audio_root)
        self.chosen = table.split(",") if table else None

    def _rows(self) -> Iterator[tuple[str, Row]]:
        import yaml

        root = self.path if self.path.is_dir() else self.path.parent
        header = root / "db.yaml"
        if not header.is_file():
            raise self._nothing()
        try:
            values = yaml.safe_load(read_text(header))
            tables: dict[str, Any] = values.get("tables") or {}
        except (yaml.YAMLError, AttributeError) as error:
            raise CorpusError(f"{header}: not the header of a database ({error})") from None
        for name in self.chosen or ():
            if name not in tables:
                raise CorpusError(f"{header}: {no_such('table', name, tables)}")
        merged: dict[tuple[str, float | None, float | None], Row] = defaultdict(dict)
        for name in self.chosen or tables:
            for key, row in self._table(root, name, tables[name], values):
                merged[key].update({k: v for k, v in row.items() if v is not None})
        for (file, start, end), row in merged.items():
            times = {"start": start, "end": end} if start is not None else {}
            named = {} if start is None else {"id": f"{Path(file).with_suffix('')}-{start:.3f}"}
            yield f"{file}, {start}", {**named, "audio": file, **row, **times}

    def _table(
        self, root: Path, name: str, about: Mapping[str, Any], header: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[str, float | None, float | None], Row]]:
        path = next((p for end in (".csv", ".parquet") if (p := root / f"db.{name}{end}").is_file()), None)
        if path is None:
            raise CorpusError(f"{root}: no db.{name}.csv or .parquet (a pickled table is not opened)")
        columns: dict[str, Any] = about.get("columns") or {}
        raters, schemes = header.get("raters") or {}, header.get("schemes") or {}
        split = (header.get("splits") or {}).get(about.get("split_id"), {}).get("type", "")
        part = {"split": PARTS.get(split, split)} if split else {}
        humans: dict[str, list[str]] = defaultdict(list)
        for column, its in columns.items():
            if (raters.get((its or {}).get("rater_id")) or {}).get("type") == "human":
                humans[its.get("scheme_id")].append(column)
        votes = [c for own in humans.values() if len(own) > 1 for c in own]
        for _, row in READERS[path.suffix](path):
            file, start, end = (row.pop(key, None) for key in ("file", "start", "end"))
            kept = {
                k: _named(v, schemes.get((columns.get(k) or {}).get("scheme_id"))) for k, v in row.items()
            }
            counted: dict[str, float] = defaultdict(float)
            for column in votes:
                if kept.get(column):
                    counted[str(kept.pop(column))] += 1.0
            given = {"votes": json.dumps(counted)} if counted else {}
            yield (str(file), _seconds(start), _seconds(end)), {**kept, **given, **part}


def _named(value: Any, scheme: Mapping[str, Any] | None) -> Any:
    """A value by the name that its scheme has for it."""
    labels = (scheme or {}).get("labels")
    if isinstance(labels, dict) and value in labels:
        about = labels[value]
        return about if isinstance(about, str) else value
    return value or None


def _seconds(value: Any) -> float | None:
    """Seconds of an audformat time: ``0 days 00:00:01.25``, nanoseconds, or empty for the whole file.

    >>> _seconds("0 days 00:01:01.25")
    61.25
    """
    if value is None or value == "" or str(value) == "NaT":
        return None
    if hasattr(value, "total_seconds"):
        return float(value.total_seconds())
    if isinstance(value, int):
        return value / 1e9
    parts = re.fullmatch(r"(?:(\d+) days? )?(?:(\d+):(\d+):)?(\d+(?:\.\d+)?)", str(value).strip())
    if parts is None:
        raise ValueError(f"'{value}' is no time")
    days, hours, minutes, seconds = (float(p or 0) for p in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class Lhotse(_Exchange):
    """Manifests of lhotse: recordings and supervisions; alignments of words and phones stay."""

    name = "lhotse"
    holds = "*recordings*.jsonl(.gz) and *supervisions*.jsonl(.gz)"

    def _rows(self) -> Iterator[tuple[str, Row]]:
        recordings: dict[str, str] = {}
        for path in self._files("recordings"):
            for row in _json_lines(path):
                sources = row.get("sources") or [{}]
                if sources[0].get("type") != "file":
                    raise CorpusError(f"{path}: recording '{row.get('id')}' is no file")
                recordings[row["id"]] = sources[0]["source"]
        for path in self._files("supervisions"):
            for row in _json_lines(path):
                if row["recording_id"] not in recordings:
                    raise CorpusError(f"{path}: '{row['id']}' is of no known recording")
                start = float(row["start"])
                values = {
                    **(row.get("custom") or {}),
                    **{k: row.get(k) for k in ("id", "text", "speaker", "language", "gender", "alignment")},
                    "audio": recordings[row["recording_id"]],
                    "start": start,
                    "end": start + float(row["duration"]),
                }
                yield f"{path.name}, {row['id']}", {k: v for k, v in values.items() if v is not None}

    def _files(self, kind: str) -> list[Path]:
        paths = (
            [p for p in visible(self.path.glob("*.jsonl*")) if kind in p.name] if self.path.is_dir() else []
        )
        if not paths:
            raise self._nothing()
        return paths

    def _built(self, values: Row, extra: Row) -> Utterance:
        tiers = extra.pop("alignment", None) or {}
        made = super()._built(values, extra)
        shift = made.start or 0.0
        kept = {
            tier: tuple(
                Segment(str(one[0]), float(one[1]) - shift, float(one[1]) + float(one[2]) - shift)
                for one in tiers[tier]
            )
            for tier in ("word", "phone")
            if tiers.get(tier)
        }
        return replace(made, alignment=Alignment(**kept)) if kept else made


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as f
        ):
            for line in f:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from None


class SpeechBrain(_Exchange):
    """SpeechBrain's json: an object of utterances; ``{data_root}`` stands for ``audio_root``."""

    name = "speechbrain"
    holds = "a .json file of utterances"

    def _rows(self) -> Iterator[tuple[str, Row]]:
        files = visible(self.path.glob("*.json")) if self.path.is_dir() else [self.path]
        if not files:
            raise self._nothing()
        for path in files:
            try:
                rows = json.loads(read_text(path))
                pairs = [(str(name), dict(values)) for name, values in rows.items()]
            except (AttributeError, TypeError, ValueError) as error:
                raise CorpusError(f"{path}: not an object of utterances ({error})") from None
            for name, values in pairs:
                wav = values.pop("wav", None)
                if isinstance(wav, dict):  # a stretch of a recording, in samples
                    raise CorpusError(
                        f"{path}, '{name}': stretches of a recording are not read; cut them first"
                    )
                values |= {} if wav is None else {"audio": re.sub(r"^\{data_root\}/?", "", str(wav))}
                values.pop("length", None)
                yield f"{path.name}, '{name}'", {"id": name, **values, **_part(Path(path.stem))}


class Kaldi(_Exchange):
    """A Kaldi folder: ``wav.scp``, and ``segments``, ``text``, ``utt2spk``, ``utt2emo`` where they are."""

    name = "kaldi"
    holds = "wav.scp"

    def _rows(self) -> Iterator[tuple[str, Row]]:
        if not (self.path / "wav.scp").is_file():
            raise self._nothing()
        recordings = self._column("wav.scp")
        for name, place in recordings.items():
            if place.rstrip().endswith("|"):
                raise CorpusError(f"{self.path / 'wav.scp'}: '{name}' is a command; commands are not run")
        beside = {
            field: self._column(file)
            for field, file in (
                ("text", "text"),
                ("speaker", "utt2spk"),
                ("label", "utt2emo"),
                ("gender", "spk2gender"),
            )
        }
        segments = self._column("segments")
        for name in segments or recordings:
            recording, start, end = name, None, None
            if segments:
                recording, first, last = segments[name].split()
                start, end = float(first), float(last)
            if recording not in recordings:
                raise CorpusError(f"{self.path / 'segments'}: '{name}' is of no recording of wav.scp")
            speaker = beside["speaker"].get(name)
            values = {
                "id": name, "audio": recordings[recording], "start": start, "end": end, "speaker": speaker,
                "text": beside["text"].get(name), "label": beside["label"].get(name),
                "gender": beside["gender"].get(speaker or name),
            }  # fmt: skip
            yield name, {k: v for k, v in values.items() if v is not None}

    def _column(self, name: str) -> dict[str, str]:
        path = self.path / name
        lines: Iterable[str] = read_lines(path) if path.is_file() else ()
        return {key: rest.strip() for key, _, rest in (line.partition(" ") for line in lines) if key}


def _part(place: Path) -> Row:
    """``split``, where a folder's or file's name begins with that of a part."""
    words = re.split(r"[^a-z]+", place.as_posix().lower())
    known = [PARTS[word] for word in words if word in PARTS]
    return {"split": known[0]} if known else {}
