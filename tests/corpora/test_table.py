"""Tables of one's own: every format, every name of a column, every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undertone.corpora.table import Table
from undertone.errors import ConfigError, CorpusError, LabelError
from undertone.types import Utterance

ROWS: list[dict[str, Any]] = [
    {
        "path": "a b/1.wav",
        "transcript": "Ça, alors!",
        "speaker": "07",
        "label": "joy",
        "turn": 3,
        "start": 0.5,
    },
    {"path": "2.wav", "transcript": None, "speaker": "8", "label": None, "turn": None, "start": None},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format of the suffix; csv has its cells between semicolons."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        mark = "\t" if path.suffix == ".tsv" else ";"
        cells = [list(rows[0]), *([("" if v is None else str(v)) for v in row.values()] for row in rows)]
        path.write_text("".join(mark.join(line) + "\r\n" for line in cells), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    table = Table(write(tmp_path / f"meine Clips{suffix}", ROWS))
    assert list(table.read()) == [
        Utterance(
            id="a b/1", audio=str(tmp_path / "a b" / "1.wav"), start=0.5, speaker="07", turn=3,
            text="Ça, alors!", text_source="gold", label="joy",
        ),
        Utterance(id="2", audio=str(tmp_path / "2.wav"), speaker="8"),
    ]  # fmt: skip


def test_columns_of_other_names_are_mapped_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", [{"datei": "1.wav", "wer": "Ute", "gefühl": "froh", "raum": "12"}])
    maps = {"datei": "audio", "wer": "speaker", "gefühl": "label"}
    (clip,) = Table(path, columns=maps, label_map={"froh": "happy"}).read()
    assert (clip.id, clip.speaker, clip.label, clip.extra) == ("1", "Ute", "happy", {"raum": "12"})


def test_a_label_can_be_mapped_to_none(tmp_path: Path) -> None:
    rows = [
        {"audio": "1.wav", "label": "hap"},
        {"audio": "2.wav", "label": "?"},
        {"audio": "3.wav", "label": ""},
    ]
    table = Table(write(tmp_path / "c.csv", rows), label_map={"hap": "happy", "?": None})
    assert [u.label for u in table.read()] == ["happy", None, None]


def test_audio_may_start_elsewhere_and_absolute_audio_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", [{"id": "x", "audio": "1.wav"}, {"id": "y", "audio": "/data/2.wav"}])
    clips = list(Table(path, audio_root=str(tmp_path / "sound")).read())
    assert [u.audio for u in clips] == [str(tmp_path / "sound" / "1.wav"), "/data/2.wav"]


def test_votes_and_extra_come_as_objects_or_as_json_text(tmp_path: Path) -> None:
    row = {"audio": "1.wav", "votes": {"sad": 2}, "extra": {"mic": 1}}
    (clip,) = Table(write(tmp_path / "c.jsonl", [row])).read()
    assert (clip.votes, clip.extra) == ({"sad": 2.0}, {"mic": 1})
    (tmp_path / "c.tsv").write_text('audio\tvotes\n1.wav\t"{""sad"": 2}"\n')
    (clip,) = Table(tmp_path / "c.tsv").read()
    assert clip.votes == {"sad": 2.0}


def test_a_cell_may_hold_line_breaks_and_commas(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text('audio,text\n1.wav,"one,\ntwo\u0085three"\n', encoding="utf-8")
    (clip,) = Table(tmp_path / "c.csv").read()
    assert clip.text == "one,\ntwo\u0085three"


CLIP = {"audio": "1.wav"}
MISTAKES = {
    "audio is no file's name": ([{"audio": "."}], {}, CorpusError, r"c\.jsonl, line 1: .* has an empty name"),
    "no audio": (
        [{"file": "1"}],
        {},
        CorpusError,
        r"c\.jsonl, line 1: no audio: --map COLUMN=audio",
    ),
    "no such column": (
        [CLIP],
        {"columns": {"wer": "speaker"}},
        CorpusError,
        "no column 'wer'; there are: audio",
    ),
    "no such field": ([CLIP], {"columns": {"audio": "audoi"}}, ConfigError, "'audoi'; did you mean 'audio'"),
    "two columns": ([CLIP | {"path": "2"}], {}, CorpusError, "two columns for 'audio', one of them 'path'"),
    "start is a word": ([CLIP | {"start": "soon"}], {}, CorpusError, "start should be seconds, not 'soon'"),
    "turn is a word": ([CLIP | {"turn": "x"}], {}, CorpusError, "turn should be a whole number, not 'x'"),
    "votes are a list": ([CLIP | {"votes": "[1]"}], {}, CorpusError, "should be an object"),
    "nobody mapped it": (
        [CLIP | {"label": "hap"}, {"audio": "2.wav", "label": "hmm"}],
        {"label_map": {"hap": "happy"}},
        LabelError,
        r"2: nobody mapped the label 'hmm' \(--label-map knows: hap\)",
    ),
    "a manifest already": ([CLIP | {"alignment": {}}], {}, CorpusError, "this is a manifest already"),
    "no object": ([[1]], {}, CorpusError, "line 1: should be a JSON object"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, mistake: str) -> None:
    rows, options, error, what = MISTAKES[mistake]
    path = write(tmp_path / "c.jsonl", rows)  # type: ignore[arg-type]
    with pytest.raises(error, match=what) as caught:
        list(Table(path, **options).read())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("c.csv", b"audio,label\n1.wav\n", r"c\.csv, line 2: not as many cells"),
        ("c.csv", b"audio,label\n1.wav,sad,more\n", r"c\.csv, line 2: not as many cells"),
        ("c.jsonl", b'{"audio": \n', r"c\.jsonl, line 1: not valid JSON"),
        ("c.parquet", b"words", r"c\.parquet: not a Parquet file"),
        ("c.xlsx", b"", "a table is a file of .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=what):
        list(Table(tmp_path / name).read())


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"missing\.csv: no such table"):
        Table(tmp_path / "missing.csv")


cell = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)
    .map(str.strip)
    .filter(bool)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"id": cell, "audio": cell, "text": cell, "label": cell}),
        min_size=1,
        max_size=4,
    )
)
def test_csv_written_by_python_is_read_back(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    import csv

    with (tmp_path / "c.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "audio", "text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    clips = list(Table(tmp_path / "c.csv").read())
    assert [{"id": u.id, "text": u.text, "label": u.label} for u in clips] == [
        {k: r[k] for k in ("id", "text", "label")} for r in rows
    ]
