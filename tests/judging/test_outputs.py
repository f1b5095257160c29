"""Answers with times, read back by what others use: praatio, webvtt-py, the csv of a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import webvtt
from praatio import textgrid as praat

from undertone.errors import ConfigError
from undertone.judging import outputs
from undertone.types import Evidence, Prediction, TimelineSegment, Turn, WordScore

SHARES = {"sad": 0.6, "happy": 0.4}


def cell(start: float, end: float, label: str | None, speaker: str | None) -> TimelineSegment:
    shares = {"sad": 0.4, "happy": 0.6} if label == "happy" else SHARES
    return TimelineSegment(start, end, label, 0.6, shares, speaker)


TALK = Prediction(
    "calls/talk.wav",
    "sad",
    0.6,
    SHARES,
    {"fused": SHARES},
    segments=(
        cell(1.0, 3.0, "sad", "Ann"),
        cell(2.5, 4.5, "happy", "Ben & Co"),
        cell(3.0, 5.0, "sad", "Ann"),
        cell(9.0, 11.0, None, "Ann"),
    ),
    words=(
        WordScore("oh", 0.1, 1.1, 1.4, (0, 2), "Ann"),
        WordScore("yes", 0.1, 2.8, 3.1, (3, 6), "Ben & Co"),
        WordScore("<no>", 0.1, 7.0, 7.4, (7, 11), "Ann"),
    ),
    modalities=("speech", "text"),
    evidence=Evidence(seconds=12.0),
)


def written(form: str, *predictions: Prediction) -> str:
    return "".join(outputs.write(predictions or (TALK,), form))


def test_captions_name_speaker_label_and_words() -> None:
    assert written("srt").split("\n\n")[:3] == [
        "1\n00:00:01,000 --> 00:00:05,000\nAnn: sad (60%)\noh",
        "2\n00:00:02,500 --> 00:00:04,500\nBen & Co: happy (60%)\nyes",
        "3\n00:00:09,000 --> 00:00:11,000\nAnn: unsure (60%)\n<no>",
    ]


def test_webvtt_is_read_by_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "talk.vtt"
    path.write_text(written("vtt"), encoding="utf-8")
    cues = list(webvtt.read(str(path)))
    assert [(cue.start, cue.end) for cue in cues][:2] == [
        ("00:00:01.000", "00:00:05.000"), ("00:00:02.500", "00:00:04.500"),
    ]  # fmt: skip
    assert "<v.happy Ben &amp; Co>happy (60%)\nyes" in path.read_text(encoding="utf-8")
    assert "&lt;no&gt;" in path.read_text(encoding="utf-8")


def test_a_textgrid_is_read_by_praatio_with_the_recordings_own_times(tmp_path: Path) -> None:
    path = tmp_path / "talk.TextGrid"
    path.write_text(written("textgrid"), encoding="utf-8")
    grid = praat.openTextgrid(str(path), includeEmptyIntervals=False)
    assert set(grid.tierNames) == {"Ann - emotion", "Ben & Co - emotion", "Ann - word", "Ben & Co - word"}
    assert grid.maxTimestamp == 12.0
    emotions = [(e.start, e.end, e.label) for e in grid.getTier("Ann - emotion").entries]
    assert emotions == [(1.0, 5.0, "sad"), (9.0, 11.0, "unsure")]
    assert [w.label for w in grid.getTier("Ann - word").entries] == ["oh", "<no>"]


def test_a_timeline_has_a_line_for_each_stretch() -> None:
    rows = list(csv.DictReader(io.StringIO(written("timeline", TALK, replace(TALK, id="=b.wav")))))
    assert len(rows) == 8 and rows[4]["file"] == "'=b.wav"
    assert rows[0] == {
        "file": "calls/talk.wav", "speaker": "Ann", "start": "1.000", "end": "3.000", "label": "sad",
        "confidence": "0.600000", "sad": "0.600000", "happy": "0.400000", "words": "oh",
    }  # fmt: skip
    assert rows[3]["label"] == ""


def test_lines_like_rttm() -> None:
    lines = written("rttm").splitlines()
    assert lines[1] == "EMOTION calls/talk.wav 1 2.500 2.000 happy <NA> Ben_&_Co 0.6000 <NA>"


def test_a_short_recording_has_its_own_times() -> None:
    turns = (Turn(0.4, 2.1, None, "sad", 0.6, SHARES, "oh no", 1.7),)
    short = replace(TALK, segments=(), words=(), turns=turns, evidence=Evidence(3.0, 1.7))
    assert written("srt", short) == "1\n00:00:00,400 --> 00:00:02,100\nsad (60%)\noh no\n\n"
    assert "xmax = 3.000000" in written("textgrid", short)
    nothing = replace(short, turns=(), label=None, modalities=())
    assert written("srt", nothing) == "" and written("vtt", nothing) == "WEBVTT\n\n"
    with pytest.raises(ConfigError, match="has no sound"):
        written("srt", replace(short, modalities=("text",)))


def test_no_two_inputs_write_one_file_and_none_goes_astray() -> None:
    ids = ["p/a.wav", "q/a.wav", "b.wav", "b.flac", "B.mp3", "../../etc/x.wav", "/abs/y.wav", "c", "c"]
    places = [path.as_posix() for path in outputs.places(ids, Path("out"), "srt")]
    assert places == [
        "out/p/a.srt", "out/q/a.srt", "out/b.wav.srt", "out/b.flac.srt", "out/B.mp3.srt", "out/etc/x.srt",
        "out/abs/y.srt", "out/c.srt", "out/c-2.srt",
    ]  # fmt: skip
