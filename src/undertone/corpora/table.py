"""A table of the user's own clips: csv, tsv, jsonl or parquet, one row an utterance.

Columns named like an utterance's fields are those fields (``path`` is ``audio``, ``transcript`` is
``text``), ``columns`` maps others to fields, and the rest goes into ``extra``. Relative audio starts
at the table's folder, or at ``audio_root``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from undertone.corpora.files import delimiter_of, read_csv, read_lines
from undertone.errors import ConfigError, CorpusError, LabelError, MissingExtra, no_such
from undertone.types import Utterance

__all__ = ["ALIASES", "READERS", "Row", "Table", "by_name"]

ALIASES = {"path": "audio", "transcript": "text"}
COLUMNS = {
    "audio": (
        "file filename file_name filepath file_path wav wav_path clip recording audio_path audio_file "
        "datei dateiname pfad aufnahme fichier archivo"
    ),
    "label": "emotion emo class category emotion_label target gefühl gefuehl stimmung mood affect emoción",
    "speaker": (
        "speaker_id spk spk_id actor actor_id subject subject_id participant talker client_id "
        "sprecher sprecherin person locuteur hablante"
    ),
    "text": "transcription sentence utterance words sentence_text satz wortlaut transkript phrase texto",
    "session": "session_id",
    "dialogue": "dialogue_id dialog dialog_id conversation conversation_id",
    "language": "lang locale sprache langue",
}
"""Names of columns, each field's likeliest first; a field's own name and an alias of it go before."""
TEXTS = ("id", "audio", "speaker", "session", "dialogue", "text", "text_source", "label", "language")
FIELDS = (*TEXTS, "start", "end", "turn", "votes")
PIECE = 256
"""Rows of a Parquet table that are in memory at a time."""

Row = dict[str, Any]


def by_name(header: Sequence[str], given: Mapping[str, str], skip: Collection[str] = ()) -> dict[str, str]:
    """Column → field: those given, and of each other field the likeliest column; none of ``skip``.

    >>> by_name(["File", "Mood", "text"], {})
    {'File': 'audio', 'Mood': 'label'}
    """
    columns = dict(given)
    lowered = {name.casefold(): name for name in header}
    for kind, names in COLUMNS.items():
        own = [name for name in header if ALIASES.get(name, name) == kind]
        if kind in columns.values() or own or kind in skip:
            continue
        known = [lowered[name] for name in (kind, *names.split()) if name in lowered]
        if free := [name for name in known if name not in columns]:
            columns[free[0]] = kind
    return columns


class Table:
    """One file; ``columns``: its column → a field, ``label_map``: its label → a class (None: no class)."""

    name = "table"
    labels: str | None = None
    aliases: Mapping[str, str] = ALIASES
    """Columns that are taken for a field by their name."""

    def __init__(
        self,
        root: Path,
        columns: Mapping[str, str] | None = None,
        label_map: Mapping[str, str | None] | None = None,
        audio_root: str | None = None,
    ) -> None:
        self._check(root)
        self.path = root.absolute()
        self.columns = _checked(columns or {})
        self.label_map = label_map
        beside = self.path if self.path.is_dir() else self.path.parent
        self.folder = Path(audio_root).absolute() if audio_root else beside
        self.notes: list[str] = []
        self._free: list[str] = []
        """The columns of the last row that are no field."""

    def _check(self, root: Path) -> None:
        """Refuse what is no such table."""
        if root.is_dir():
            raise CorpusError(
                f"{root}: a folder, and a table is a csv, tsv, jsonl or parquet file; "
                "`undertone study` takes folders of clips"
            )
        if not root.is_file():
            raise CorpusError(f"{root}: no such table (a csv, tsv, jsonl or parquet file)")
        if root.suffix.lower() not in READERS:
            raise CorpusError(f"{root}: a table is a file of {', '.join(READERS)}")

    def _rows(self) -> Iterator[tuple[str, Row]]:
        """Each row and where it stands."""
        return READERS[self.path.suffix.lower()](self.path)

    def read(self) -> Iterator[Utterance]:
        """Every row, in the order of the file."""
        self.notes, labelled = [], False
        for place, row in self._rows():
            try:
                utterance = self._utterance(row)
            except ValueError as error:
                raise CorpusError(f"{self.path}, {place}: {error}") from None
            labelled = labelled or utterance.label is not None
            yield utterance
        if not labelled:
            columns = ", ".join(self._free)
            self.notes.append(
                f"no labels: --map COLUMN=label names their column ({columns or 'none is left'})"
            )

    def _utterance(self, row: Row) -> Utterance:
        for column in self.columns:
            if column not in row:
                raise ValueError(no_such("column", column, row))
        values: Row = {}
        extra: Row = {}
        self._free = [c for c in row if c not in self.columns and self.aliases.get(c, c) not in FIELDS]
        mapped = set(self.columns.values())
        for column, value in row.items():
            field = self.columns.get(column, self.aliases.get(column, column))
            if field in mapped and column not in self.columns:
                field = column if column != field else f"other_{column}"  # what is mapped goes before a name
            if value is None or value == "":
                continue
            if field in values:
                raise ValueError(f"two columns for '{field}', one of them '{column}'")
            (values if field in FIELDS else extra)[field] = value
        return self._built(values, extra)

    def _built(self, values: Row, extra: Row) -> Utterance:
        if "audio" not in values:
            columns = ", ".join(column for column in self._free if column)
            raise ValueError(f"no audio: --map COLUMN=audio names its column ({columns or 'none is left'})")
        texts = {name: str(values[name]) for name in TEXTS if name in values}
        texts = {name: text if name == "audio" else text.strip() for name, text in texts.items()}
        texts = {name: text for name, text in texts.items() if text}
        if "id" not in texts:
            texts["id"] = Path(texts["audio"]).with_suffix("").as_posix()
        texts["audio"] = str(self.folder / texts["audio"])
        if "text" in texts:
            texts.setdefault("text_source", "gold")
        label = self._label(texts.pop("label", None), texts["id"])
        return Utterance(
            **texts,  # type: ignore[arg-type]
            label=label,
            start=_float(values, "start"),
            end=_float(values, "end"),
            turn=_int(values, "turn"),
            votes=_votes(values.get("votes")),
            extra=extra | _object(extra.pop("extra", None)),
        )

    def _label(self, label: str | None, utterance: str) -> str | None:
        if self.label_map is None or label is None:
            return label
        if label not in self.label_map:
            known = ", ".join(self.label_map)
            raise LabelError(f"{utterance}: nobody mapped the label '{label}' (--label-map knows: {known})")
        return self.label_map[label]


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    for column, field in columns.items():
        if field not in FIELDS:
            near = get_close_matches(field, FIELDS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"fields are {', '.join(FIELDS)}"
            raise ConfigError(f"--map {column}={field}: no field '{field}'; {hint}")
    return dict(columns)


def _float(values: Row, name: str) -> float | None:
    try:
        return float(values[name]) if name in values else None
    except (TypeError, ValueError):
        raise ValueError(f"{name} should be seconds, not {values[name]!r}") from None


def _int(values: Row, name: str) -> int | None:
    try:
        return int(values[name]) if name in values else None
    except (TypeError, ValueError):
        raise ValueError(f"{name} should be a whole number, not {values[name]!r}") from None


def _object(value: object) -> Row:
    """The object of a jsonl row, or of JSON text in a cell."""
    if value is None:
        return {}
    values = json.loads(value) if isinstance(value, str) else value
    if not isinstance(values, dict):
        raise ValueError(f"should be an object, not {value!r}")
    return values


def _votes(value: object) -> dict[str, float]:
    return {str(label): float(count) for label, count in _object(value).items()}


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    reader = read_csv(path, delimiter=delimiter_of(path))
    for row in reader:
        if None in row or None in row.values():
            raise CorpusError(f"{path}, line {reader.line_num}: not as many cells as the header has names")
        yield f"line {reader.line_num}", dict(row)


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}, line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise CorpusError(f"{path}, line {number}: should be a JSON object")
        if "alignment" in row:
            raise CorpusError(f"{path}, line {number}: has an alignment: this is a manifest already")
        yield f"line {number}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("a Parquet table", "parquet") from None
    try:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=PIECE)  # rows may hold whole recordings
            rows: Iterable[Row] = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield f"row {number}", row
    except pyarrow.ArrowInvalid as error:
        raise CorpusError(f"{path}: not a Parquet file: {error}") from None


READERS = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
