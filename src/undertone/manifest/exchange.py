"""A manifest as other tools keep their data: what ``corpora.exchange`` reads, written.

AudioFolder and Parquet hold the recordings themselves, a clip an utterance; the others point at them. None of
the tools is needed. Votes and what stands in ``extra`` come along where the format has a place for them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from undertone import audio
from undertone.errors import ConfigError, no_such
from undertone.files import refuse_place, whole, write_json, write_whole
from undertone.manifest.files import Manifest
from undertone.types import Utterance

__all__ = ["FORMATS", "export"]

FIELDS = ("id", "label", "speaker", "session", "dialogue", "text", "language")
"""What every row has of an utterance, where it is known."""
PIECE = 256
"""Rows of a Parquet file that are in memory at a time."""


def export(manifest: Manifest, form: str, out: Path) -> Path:
    """Write the manifest in one of ``FORMATS``; the folder or file that was written."""
    if form not in FORMATS:
        raise ConfigError(no_such("format", form, FORMATS))
    utterances = manifest.resolved()
    names = [_file_name(u) for u in utterances]
    if len(set(names)) < len(names):
        raise ConfigError(f"{manifest.path}: two utterances would have the same file name")
    folder = form not in ("huggingface", "speechbrain")
    refuse_place(out, folder=folder)
    if folder and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: holds something already; name a new folder")
    FORMATS[form](utterances, out)
    return out


def _file_name(utterance: Utterance) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in utterance.id)


def _row(utterance: Utterance) -> dict[str, Any]:
    plain = {k: v for k, v in utterance.extra.items() if isinstance(v, str | int | float | bool)}
    own = {name: getattr(utterance, name) for name in FIELDS}
    return {**plain, **{name: value for name, value in own.items() if value is not None}}


def _clip(utterance: Utterance) -> tuple[bytes, str]:
    """The recording of one utterance as a file's bytes, and their suffix: as it is, or cut out of its
    recording (16 kHz, mono, FLAC)."""
    path = Path(utterance.audio)
    if utterance.start is None and utterance.end is None and path.is_file():
        return path.read_bytes(), path.suffix
    import soundfile

    cut = io.BytesIO()
    wave = audio.load(utterance.audio, start=utterance.start, end=utterance.end)
    soundfile.write(cut, wave, audio.RATE, format="FLAC", subtype="PCM_16")
    return cut.getvalue(), ".flac"


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def _audiofolder(utterances: Sequence[Utterance], out: Path) -> None:
    rows = []
    for u in utterances:
        held, suffix = _clip(u)
        name = f"{_file_name(u)}{suffix}"
        write_whole(out / name, held)
        rows.append({"file_name": name, **_row(u)})
    _csv(out / "metadata.csv", rows)


def _huggingface(utterances: Sequence[Utterance], out: Path) -> None:
    from undertone.manifest.parquet import pyarrow

    pa = pyarrow()
    import pyarrow.parquet as pq

    columns = _columns([_row(u) for u in utterances])
    values = {name: [v for u in utterances if (v := _row(u).get(name)) is not None] for name in columns}
    kinds = {name: _kind(kept) for name, kept in values.items()}
    features = {"audio": {"_type": "Audio"}}
    features |= {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
    sound = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema(
        [("audio", sound), *((name, types[kind]) for name, kind in kinds.items())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with whole(out) as part, pq.ParquetWriter(part, schema) as file:
        for first in range(0, len(utterances), PIECE):
            rows = []
            for u in utterances[first : first + PIECE]:
                held, suffix = _clip(u)
                own = _row(u)
                texts = {k: str(own[k]) if kinds[k] == "string" and k in own else own.get(k) for k in columns}
                rows.append({"audio": {"bytes": held, "path": f"{_file_name(u)}{suffix}"}, **texts})
            file.write_table(pa.Table.from_pylist(rows, schema=schema))


def _kind(values: Sequence[Any]) -> str:
    """The narrowest type that holds all of a column's values."""
    for kind, types in (("bool", bool), ("int64", int), ("float64", int | float)):
        if values and all(
            isinstance(v, types) and (kind == "bool" or not isinstance(v, bool)) for v in values
        ):
            return kind
    return "string"


def _audformat(utterances: Sequence[Utterance], out: Path) -> None:
    """One segmented table: the label, the speaker, the words; votes as columns of raters are not kept."""
    import yaml

    kinds = {"emotion": "label", "speaker": "speaker", "transcription": "text"}
    there = {c: f for c, f in kinds.items() if any(getattr(u, f) is not None for u in utterances)}
    labels = sorted({u.label for u in utterances if u.label is not None})
    schemes: dict[str, Any] = {column: {"dtype": "str"} for column in there}
    if labels:
        schemes["emotion"]["labels"] = labels
    columns: dict[str, Any] = {column: {"scheme_id": column} for column in there}
    if labels:
        columns["emotion"]["rater_id"] = "gold"
    header = {
        "name": out.name,
        "source": "undertone",
        "usage": "unrestricted",
        "languages": [],
        "schemes": schemes,
        "raters": {"gold": {"type": "other"}},
        "tables": {"utterances": {"type": "segmented", "columns": columns}},
    }
    rows = []
    for u in utterances:
        info = audio.info(u.audio)
        end = info.duration if u.end is None else u.end
        times = {"file": u.audio, "start": _timedelta(u.start or 0.0), "end": _timedelta(end)}
        rows.append({**times, **{column: getattr(u, field) or "" for column, field in there.items()}})
    _csv(out / "db.utterances.csv", rows)
    write_whole(out / "db.yaml", yaml.safe_dump(header, sort_keys=False, allow_unicode=True))


def _timedelta(seconds: float) -> str:
    whole_seconds, rest = divmod(round(seconds * 1e9), 10**9)
    minutes, second = divmod(whole_seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} days {hour:02}:{minute:02}:{second:02}.{rest:09}"


def _lhotse(utterances: Sequence[Utterance], out: Path) -> None:
    recordings: dict[str, dict[str, Any]] = {}
    names = {path: f"rec-{n:06}" for n, path in enumerate(dict.fromkeys(u.audio for u in utterances))}
    supervisions = []
    for u in utterances:
        name = names[u.audio]
        if name not in recordings:
            info = audio.info(u.audio)
            recordings[name] = {
                "id": name,
                "sources": [{"type": "file", "channels": list(range(info.channels)), "source": u.audio}],
                "sampling_rate": info.rate,
                "num_samples": info.frames,
                "duration": info.duration,
                "channel_ids": list(range(info.channels)),
            }
        start = u.start or 0.0
        end = recordings[name]["duration"] if u.end is None else u.end
        custom = {k: v for k, v in _row(u).items() if k not in ("id", "text", "speaker", "language")}
        row = {"id": u.id, "recording_id": name, "start": start, "duration": end - start, "channel": 0}
        row |= {k: v for k in ("text", "language", "speaker") if (v := getattr(u, k)) is not None}
        custom = {("emotion" if k == "label" else k): v for k, v in custom.items()}
        row |= {"custom": custom} if custom else {}
        if u.alignment is not None:
            row["alignment"] = {
                tier: [[s.text, start + s.start, s.duration, s.score] for s in u.alignment.tier(tier)]
                for tier in u.alignment.tiers
            }
        supervisions.append(row)
    _gzipped(out / "recordings.jsonl.gz", iter(recordings.values()))
    _gzipped(out / "supervisions.jsonl.gz", iter(supervisions))


def _gzipped(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with whole(path) as part, gzip.open(part, "wt", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _speechbrain(utterances: Sequence[Utterance], out: Path) -> None:
    rows = {}
    for u in utterances:
        if u.start is not None or u.end is not None:
            raise ConfigError(f"{u.id}: is a stretch of a recording; --to audiofolder cuts such clips first")
        own = {key: value for key, value in _row(u).items() if key not in ("id", "label")}
        rows[u.id] = {"wav": u.audio, "length": audio.info(u.audio).duration, "emo": u.label, **own}
    write_json(out, rows, indent=1)


def _kaldi(utterances: Sequence[Utterance], out: Path) -> None:
    rows = sorted(utterances, key=lambda u: u.id)
    if bad := next((u.id for u in rows if not u.id or set(u.id) & set(" \t")), None):
        raise ConfigError(f"'{bad}': an id of a Kaldi folder has no blanks")
    names = {path: f"rec-{n:06}" for n, path in enumerate(dict.fromkeys(u.audio for u in rows))}
    ends = {u.id: audio.info(u.audio).duration if u.end is None else u.end for u in rows}
    files = {
        "wav.scp": sorted(f"{name} {path}" for path, name in names.items()),
        "segments": [f"{u.id} {names[u.audio]} {u.start or 0.0:.3f} {ends[u.id]:.3f}" for u in rows],
        "utt2spk": [f"{u.id} {u.speaker or u.id}" for u in rows],
        "text": [f"{u.id} {' '.join(u.text.split())}" for u in rows if u.text],
        "utt2emo": [f"{u.id} {u.label}" for u in rows if u.label],
    }
    for name, lines in files.items():
        if lines:
            write_whole(out / name, "\n".join(lines) + "\n")


FORMATS: dict[str, Callable[[Sequence[Utterance], Path], None]] = {
    "audiofolder": _audiofolder,
    "huggingface": _huggingface,
    "audformat": _audformat,
    "lhotse": _lhotse,
    "speechbrain": _speechbrain,
    "kaldi": _kaldi,
}
"""By the name that ``prepare`` reads them by."""
