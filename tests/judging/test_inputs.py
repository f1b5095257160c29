"""Where recordings and their words come from, and how answers are written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from undertone.alignment.textgrid import read_textgrid, write_textgrid
from undertone.errors import ConfigError, DataError, UndertoneError
from undertone.judging import inputs, outputs
from undertone.judging.clip import Recording, Transcript, joined
from undertone.judging.fakes import FakeModel
from undertone.judging.inputs import beside
from undertone.judging.predictor import Predictor
from undertone.judging.windows import Everything
from undertone.types import DOUBT, Alignment, Prediction, Segment, TimelineSegment, WordScore

CELLS = tuple(
    TimelineSegment(float(at), at + 2.0, label, share, {label: share, "x": 1 - share})
    for at, label, share in ((0, "sad", 0.6), (2, "sad", 0.8), (6, "happy", 0.7))
)
LONG = Prediction(
    "talk.wav", "sad", 0.6, {"sad": 0.6, "x": 0.4}, {"fused": {"sad": 0.6, "x": 0.4}}, CELLS, model="m"
)
SHORT = Prediction(
    "clip.wav",
    None,
    0.5,
    {"sad": 0.5, "happy": 0.5},
    {
        "fused": {"sad": 0.5, "happy": 0.5},
        "speech": {"sad": 0.9, "happy": 0.1},
        "text": {"sad": 0.1, "happy": 0.9},
    },
    words=(WordScore('say "hi"', 0.2, 0.1, 0.5, (0, 8)), WordScore("you", -0.1, 0.6, 0.9, (9, 12))),
    modalities=("speech", "text"),
)


def written(predictions: list[Prediction], form: str) -> str:
    return "".join(outputs.write(predictions, form))


def test_jsonl_holds_one_prediction_a_line_as_the_server_gives_it() -> None:
    lines = written([LONG, SHORT], "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [LONG.plain(), SHORT.plain()]
    assert json.loads(written([SHORT], "json")) == SHORT.plain()
    assert json.loads(written([LONG, SHORT], "json")) == [LONG.plain(), SHORT.plain()]


def test_a_tables_columns_are_known_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("File,mood,note\na.wav,sad,x\nb.wav,glad,y\n", encoding="utf-8")
    places = [str(tmp_path / "mine.csv")]
    found = inputs.find(places)
    assert [(r.id, r.label) for r in found] == [("a", "sad"), ("b", "glad")]
    assert [r.label for r in inputs.find(places, columns={"note": "label"})] == ["x", "y"]
    arrow = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"wav": ["a.wav"], "emotion": ["sad"]}), tmp_path / "mine.parquet")
    assert [(r.id, r.label) for r in inputs.find([str(tmp_path / "mine.parquet")])] == [("a", "sad")]


def test_csv_has_a_column_for_each_class_and_no_formulas() -> None:
    tricky = Prediction("=cmd()", "sad", 0.5, {"sad": 0.5, "happy": 0.5}, {}, modalities=("speech",))
    rows = list(csv.DictReader(io.StringIO(written([SHORT, tricky], "csv"))))
    assert rows[0] == {
        "id": "clip.wav", "label": "", "confidence": "0.5", "agree": "false", "modalities": "speech+text",
        "sad": "0.5", "happy": "0.5", "withheld": "near tie",
    }  # fmt: skip
    assert rows[1]["id"] == "'=cmd()"


def test_srt_merges_neighbours_and_counts_milliseconds() -> None:
    assert written([LONG], "srt") == (
        "1\n00:00:00,000 --> 00:00:04,000\nsad (70%)\n\n2\n00:00:06,000 --> 00:00:08,000\nhappy (70%)\n\n"
    )


def test_a_textgrid_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(written([SHORT], "textgrid"), encoding="utf-8")
    words = read_textgrid(path).word
    assert [(w.text, w.start, w.end) for w in words] == [('say "hi"', 0.1, 0.5), ("you", 0.6, 0.9)]
    assert 'name = "emotion"' in path.read_text()


def test_formats_of_one_timeline_refuse_several_recordings() -> None:
    with pytest.raises(ConfigError, match="2"):
        written([LONG, SHORT], "srt")
    with pytest.raises(ConfigError, match="yaml"):
        written([LONG], "yaml")


@pytest.fixture
def tree(tmp_path: Path, clip: bytes) -> Path:
    for name in ("a.wav", "sub/b.WAV", "sub/deep/c.flac", "sub/._a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(clip)
    (tmp_path / "a.txt").write_text("what  a\nday", encoding="utf-8")
    (tmp_path / "sub/b.lab").write_text("hello", encoding="utf-8-sig")
    return tmp_path


def names(found: list[Recording]) -> list[str]:
    return [pending.id for pending in found]


def test_files_folders_and_globs_are_found_once_and_in_order(tree: Path) -> None:
    assert names(inputs.find([str(tree)])) == ["a.wav", "sub/b.WAV", "sub/deep/c.flac"]
    assert names(inputs.find([str(tree / "a.wav"), str(tree / "*.wav")])) == [
        "a.wav",
        (tree / "a.wav").as_posix(),
    ]
    assert len(inputs.find([str(tree / "**" / "*")])) == 3
    assert len(inputs.find([str(tree / "a.wav"), str(tree / "a.wav")])) == 1


def test_words_lie_beside_the_recording(tree: Path) -> None:
    first, second, third = inputs.find([str(tree)])
    assert first.transcript() == Transcript("what a day", "a.txt")
    assert second.transcript() == Transcript("hello", "b.lab")
    assert third.transcript() is None


def test_a_textgrid_beside_the_recording_brings_word_times(tree: Path) -> None:
    words = (Segment("what", 0.1, 0.4), Segment("a", 0.4, 0.5), Segment("day", 0.5, 0.9))
    write_textgrid(tree / "a.TextGrid", Alignment(word=words), 1.0)
    found = beside(tree / "a.wav")
    assert found is not None and found.alignment is not None
    assert found.text == "what a day"
    assert [(w.text, w.start, w.chars) for w in found.alignment.word] == [
        ("what", 0.1, (0, 4)), ("a", 0.4, (5, 6)), ("day", 0.5, (7, 10)),
    ]  # fmt: skip


def test_a_given_text_goes_before_one_beside_and_that_before_recognition(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (given,) = inputs.find([str(tree / "a.wav")], "given words")
    assert given.transcript() == Transcript("given words", "given")
    recognised = 0

    def listen(waves: Sequence[object]) -> list[Transcript]:
        nonlocal recognised
        recognised += len(waves)
        return [Transcript("some words", "recogniser")] * len(waves)

    monkeypatch.setattr("undertone.judging.windows.detector", Everything)
    judge = Predictor(FakeModel(), recognise=listen)
    answers = [judge.judge(recording) for recording in inputs.find([str(tree)])]
    assert [answer.text_source for answer in answers] == ["a.txt", "b.lab", "recogniser"]
    assert recognised == 1


def test_a_bad_transcript_fails_when_its_turn_comes(tree: Path) -> None:
    (tree / "a.txt").write_bytes("für".encode("utf-16"))
    found = inputs.find([str(tree)])
    assert len(found) == 3
    with pytest.raises(UndertoneError, match=r"a\.txt"):
        found[0].transcript()
    assert found[1].transcript() is not None


def test_a_place_without_recordings_is_an_error(tree: Path) -> None:
    with pytest.raises(DataError, match="no recordings"):
        inputs.find([str(tree / "*.ogg")])


def test_a_manifest_brings_ids_spans_words_and_boundaries(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(clip)
    spans = [{"text": "hello", "start": 0.1, "end": 0.5}, {"text": "there", "start": 0.5, "end": 0.9}]
    line = {
        "id": "u1", "audio": "a.wav", "start": 0.5, "end": 2.0, "text": "Hello there",
        "alignment": {"word": spans},
    }  # fmt: skip
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n")
    (recording,) = inputs.find([str(tmp_path / "m.jsonl")])
    words = recording.transcript()
    assert (recording.id, recording.start, recording.end) == ("u1", 0.5, 2.0)
    assert words is not None and words.alignment is not None
    assert [w.chars for w in words.alignment.word] == [(0, 5), (6, 11)]


def test_a_manifests_doubtful_times_are_used_only_on_request(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(clip)
    spans = [{"text": "hello", "start": 0.1, "end": 0.5}]
    line = {
        "id": "u1",
        "audio": "a.wav",
        "text": "Hello",
        "alignment": {"word": spans},
        "extra": {DOUBT: 0.2},
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n")
    for doubtful in (False, True):
        (recording,) = inputs.find([str(tmp_path / "m.jsonl")], doubtful=doubtful)
        words = recording.transcript()
        assert words is not None and words.text == "Hello" and (words.alignment is not None) == doubtful


def test_timed_words_are_joined_with_their_places() -> None:
    text, words = joined([Segment("a", 0, 1), Segment("bc", 1, 2)])
    assert text == "a bc"
    assert [text[slice(*w.chars)] for w in words if w.chars] == ["a", "bc"]
