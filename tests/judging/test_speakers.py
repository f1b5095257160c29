"""Who speaks when, read from what others write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from undertone.alignment.textgrid import textgrid
from undertone.errors import DataError, ModelError
from undertone.judging.conversation import GivenTurn, Voice
from undertone.judging.speakers import speakers_of, voices_in

RTTM = """SPEAKER call 1 0.50 2.00 <NA> <NA> ann <NA> <NA>
SPEAKER call 1 3.00 1.00 <NA> <NA> ben <NA> <NA>
SPEAKER call 1 2.50 0.40 <NA> <NA> ann <NA> <NA>
SPEAKER other 1 0.00 9.00 <NA> <NA> eve <NA> <NA>
"""
TURNS = [Voice("ann", turns=(GivenTurn(0.5, 2.9),)), Voice("ben", turns=(GivenTurn(3.0, 4.0),))]


def plain(voices: list[Voice]) -> list[tuple[str, list[tuple[float, float, str | None]]]]:
    return [
        (v.speaker, [(round(t.start, 3), round(t.end, 3), t.text) for t in v.turns or ()]) for v in voices
    ]


def test_rttm_of_several_recordings(tmp_path: Path) -> None:
    path = tmp_path / "all.rttm"
    path.write_text(RTTM, encoding="utf-8")
    assert plain(voices_in(path, recording="call")) == plain(TURNS)
    assert plain(list(speakers_of(str(path))("/x/other.wav"))) == [("eve", [(0.0, 9.0, None)])]
    with pytest.raises(DataError, match="holds no turns of nobody"):
        voices_in(path, recording="nobody")
    path.write_text("who,start,end\nann,0,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="is no RTTM"):
        voices_in(path, recording="call")


def test_a_transcript_with_speakers_in_json(tmp_path: Path) -> None:
    path = tmp_path / "call.json"
    rows = [
        {"start": 0.5, "end": 2.0, "speaker": "ann", "text": " Hello \n there "},
        {"start": 3, "end": 4, "speaker": "ben", "text": ""},
    ]
    for values in ({"segments": rows}, rows):
        path.write_text(json.dumps(values), encoding="utf-8")
        assert plain(voices_in(path)) == [("ann", [(0.5, 2.0, "Hello there")]), ("ben", [(3.0, 4.0, None)])]
    path.write_text(json.dumps([{"start": 1, "end": 2}]), encoding="utf-8")
    with pytest.raises(DataError, match="1 of 1 segments name no 'speaker'"):
        voices_in(path)
    path.write_text("[[1, 2]]", encoding="utf-8")
    with pytest.raises(DataError, match=r"call\.json"):
        voices_in(path)


def test_webvtt_with_voices(tmp_path: Path) -> None:
    path = tmp_path / "call.vtt"
    path.write_text(
        "WEBVTT\n\nNOTE a comment\n\n1\n00:00.500 --> 00:02.000 align:start\n<v Ann Lee>Oh <i>no</i>\n\n"
        "01:00:03.000 --> 01:00:04.000\n<v.loud Ben>Yes</v>\n<v Ann Lee>Why?\n",
        encoding="utf-8",
    )
    assert plain(voices_in(path)) == [
        ("Ann Lee", [(0.5, 2.0, "Oh no"), (3603.0, 3604.0, "Why?")]),
        ("Ben", [(3603.0, 3604.0, "Yes")]),
    ]


def test_ctm_channels_are_speakers(tmp_path: Path) -> None:
    path = tmp_path / "call.ctm"
    path.write_text(";; c\ncall A 0.5 0.3 oh\ncall A 0.9 0.3 no\ncall B 1.5 0.2 what\ncall A 4.0 0.5 yes\n")
    assert plain(voices_in(path)) == [
        ("channel A", [(0.5, 1.2, "oh no"), (4.0, 4.5, "yes")]),
        ("channel B", [(1.5, 1.7, "what")]),
    ]


def test_a_textgrid_has_a_tier_a_speaker_or_one_of_names(tmp_path: Path) -> None:
    path = tmp_path / "call.TextGrid"
    path.write_text(textgrid({"ann": [(0.5, 2.0, "oh no")], "ben": [(3.0, 4.0, "why")]}, 5.0))
    assert plain(voices_in(path)) == [("ann", [(0.5, 2.0, "oh no")]), ("ben", [(3.0, 4.0, "why")])]
    path.write_text(
        textgrid({"who": [(0.5, 2.9, "ann"), (3.0, 4.0, "ben")], "notes": [(0.0, 1.0, "x")]}, 5.0)
    )
    assert plain(list(speakers_of(f"{path}#who")("call.wav"))) == plain(TURNS)
    with pytest.raises(DataError, match="no tier 'whom', but who, notes"):
        speakers_of(f"{path}#whom")("call.wav")


def test_a_folder_holds_a_file_for_each_recording(tmp_path: Path) -> None:
    (tmp_path / "call.rttm").write_text(RTTM, encoding="utf-8")
    assert plain(list(speakers_of(str(tmp_path))("x/call.mp3"))) == plain(TURNS)
    with pytest.raises(DataError, match=r"no file on who speaks in b\.wav"):
        speakers_of(str(tmp_path))("b.wav")
    with pytest.raises(DataError, match="no such file or folder"):
        speakers_of(str(tmp_path / "none.rttm"))
    (tmp_path / "b.docx").touch()
    with pytest.raises(DataError, match=r"\.rttm, \.textgrid"):
        voices_in(tmp_path / "b.docx")


def test_pyannote_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyannote.audio", None)
    with pytest.raises(ModelError, match=r"pip install pyannote\.audio"):
        speakers_of("pyannote:some/model")

    class Annotation:
        def itertracks(self, yield_label: bool) -> list[tuple[SimpleNamespace, str, str]]:
            assert yield_label
            spans = [(3.0, 4.0, "B"), (0.5, 2.0, "A"), (0.1, 0.2, "B")]
            return [(SimpleNamespace(start=a, end=b), "_", name) for a, b, name in spans]

    class Pipeline:
        @classmethod
        def from_pretrained(cls, name: str) -> object:
            return (
                None if name == "gated" else lambda given: SimpleNamespace(speaker_diarization=Annotation())
            )

    module = ModuleType("pyannote.audio")
    module.Pipeline = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyannote", ModuleType("pyannote"))
    monkeypatch.setitem(sys.modules, "pyannote.audio", module)
    monkeypatch.setattr("undertone.audio.load", lambda path: __import__("numpy").zeros(16_000, "float32"))
    assert plain(list(speakers_of("pyannote:some/model")("a.wav"))) == [
        ("B", [(0.1, 0.2, None), (3.0, 4.0, None)]), ("A", [(0.5, 2.0, None)]),
    ]  # fmt: skip
    with pytest.raises(ModelError, match="terms must be accepted"):
        speakers_of("pyannote:gated")
