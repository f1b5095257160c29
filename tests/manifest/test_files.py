"""Manifests: what is written is what is read, whatever the format, the schema or the accident."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undertone import manifest
from undertone.errors import ManifestError, MissingExtra
from undertone.manifest import Meta
from undertone.types import Alignment, Segment, Utterance

GOLDEN = Path(__file__).parents[1] / "golden" / "manifests"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
seconds = st.floats(0, 1e5, allow_nan=False)
optional = st.none() | text
segment = st.builds(
    Segment,
    text=text,
    start=seconds,
    end=seconds,
    score=st.none() | st.floats(0, 1),
    chars=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
tier = st.lists(segment, max_size=3).map(tuple)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
utterance = st.builds(
    Utterance,
    id=name,
    audio=name.map(lambda s: "clips/" + s),
    start=st.none() | seconds,
    end=st.none() | seconds,
    speaker=optional,
    session=optional,
    dialogue=optional,
    turn=st.none() | st.integers(0, 2**31),
    text=optional,
    text_source=optional,
    label=optional,
    votes=st.dictionaries(name, st.floats(0, 99), max_size=3),
    language=optional,
    alignment=st.none() | st.builds(Alignment, word=tier, syllable=tier, phone=tier),
    extra=st.dictionaries(text, plain, max_size=3),
)
meta = st.builds(
    Meta,
    corpus=optional,
    label_set=optional,
    classes=st.lists(name, max_size=3).map(tuple),
    provenance=st.lists(st.dictionaries(name, plain, max_size=2), max_size=2).map(tuple),
    notes=st.lists(text, max_size=2).map(tuple),
)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(utterances=st.lists(utterance, max_size=4), about=meta)
def test_what_is_written_is_what_is_read(
    tmp_path: Path, suffix: str, utterances: list[Utterance], about: Meta
) -> None:
    path = tmp_path / f"m{suffix}"
    manifest.write(path, utterances, about)
    again = manifest.read(path)
    assert list(again.utterances) == utterances
    assert again.meta == about


def test_a_line_has_the_keys_others_read_and_only_those_that_say_something(tmp_path: Path) -> None:
    word = Segment("Hé", 0.1, 0.2, 0.5, (0, 2))
    whole = Utterance(
        id="a", audio="a.wav", start=0.0, end=1.0, speaker="s", session="1", dialogue="d", turn=0, text="Hé",
        text_source="gold", label="sad", votes={"sad": 2}, language="fr", alignment=Alignment(word=(word,)),
        extra={"k": [1]},
    )  # fmt: skip
    manifest.write(tmp_path / "m.jsonl", [whole, Utterance("b", "b.wav")], Meta())
    first, second = (tmp_path / "m.jsonl").read_text("utf-8").splitlines()
    assert (
        list(json.loads(first))
        == (
            "id audio start end speaker session dialogue turn "
            "text text_source label votes language alignment extra"
        ).split()
    )
    assert json.loads(first)["alignment"] == {
        "word": [{"text": "Hé", "start": 0.1, "end": 0.2, "score": 0.5, "chars": [0, 2]}]
    }
    assert "Hé" in first, "text is readable as it stands"
    assert second == '{"id": "b", "audio": "b.wav"}'


@pytest.mark.parametrize(
    "path", sorted(p for p in GOLDEN.iterdir() if p.suffix != ".json"), ids=lambda p: p.name
)
def test_every_old_version_stays_readable(path: Path) -> None:
    read = manifest.read(path)
    newest = manifest.read(GOLDEN / "v1.0.jsonl")
    assert read.utterances == newest.utterances
    assert (read.meta.corpus, read.meta.classes) == ("iemocap", ("angry", "happy", "sad", "neutral"))
    first, second = read.utterances
    assert first.text == "Excuse me." and first.votes == {"neutral": 2.5, "angry": 0.5}
    assert first.alignment is not None and first.alignment.tiers == ("word", "phone")
    assert first.alignment.word[1] == Segment("ME", 0.61, 0.93, 0.75, (7, 9))
    assert (second.start, second.end, second.text) == (1.25, 2.5, None)


def test_an_upgraded_manifest_is_written_in_the_present_schema(tmp_path: Path) -> None:
    old = manifest.read(GOLDEN / "v0.1.jsonl")
    manifest.write(tmp_path / "m.jsonl", old.utterances, old.meta)
    assert (tmp_path / "m.jsonl").read_bytes() == (GOLDEN / "v1.0.jsonl").read_bytes()
    assert json.loads((tmp_path / "m.meta.json").read_text("utf-8"))["schema"] == "1.0"


def _with_schema(folder: Path, schema: str, line: dict[str, Any]) -> Path:
    path = folder / "m.jsonl"
    path.write_text(json.dumps(line) + "\n")
    (folder / "m.meta.json").write_text(json.dumps({"schema": schema}))
    return path


def test_a_newer_major_schema_is_refused_with_the_version_needed(tmp_path: Path) -> None:
    path = _with_schema(tmp_path, "2.0", {"id": "a", "audio": "a.wav"})
    with pytest.raises(
        ManifestError, match=r"m\.meta\.json: written in manifest schema 2\.0; .* reads up to 1\.x"
    ):
        manifest.read(path)


def test_a_newer_minor_schema_is_read_without_what_it_added(tmp_path: Path) -> None:
    line = {"id": "a", "audio": "a.wav", "mood": "new"}
    assert manifest.read(_with_schema(tmp_path, "1.7", line)).utterances == (Utterance("a", "a.wav"),)
    with pytest.raises(ManifestError, match=r"line 1: unknown key \"mood\""):
        manifest.read(_with_schema(tmp_path, "1.0", line))


BROKEN_LINES = {
    '{"id": "b", "audio": ': "not valid JSON",
    "[1, 2]": "should be a JSON object",
    '{"id": "b"}': '"audio" is required',
    '{"id": "", "audio": "a.wav"}': '"id" is required',
    '{"id": 7, "audio": "a.wav"}': '"id" is required and should be text',
}
WITH = {
    '"lable": "sad"': 'unknown key "lable": did you mean "label"',
    '"start": "1"': '"start" should be a number',
    '"start": NaN': '"start" should be a number',
    '"turn": 1.5': '"turn" should be a whole number',
    '"label": ["sad"]': '"label" should be text',
    '"votes": {"sad": "two"}': r'votes\["sad"\] should be a number',
    '"extra": 3': '"extra" should be an object',
    '"alignment": {"words": []}': 'has no tier "words"; tiers are word, syllable',
    '"alignment": {"word": [{"text": "a"}]}': "word 0 should be an object with",
    '"alignment": {"word": 3}': '"word" should be a list',
    '"alignment": {"word": [{"text": "a", "start": 0, "end": "x"}]}': 'word 0: "end"',
    '"alignment": {"word": [{"text": "a", "start": 0, "end": 1, "chars": [1]}]}': 'word 0: "chars" should be',
}
BROKEN_LINES |= {'{"id": "b", "audio": "a.wav", ' + key + "}": what for key, what in WITH.items()}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_one_broken_line_is_one_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"id": "a", "audio": "a.wav"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"m\.jsonl, line 3: .*{BROKEN_LINES[line]}") as caught:
        manifest.read(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"id": "a", "audio": "a.wav"}\n{"id": "\xff", "audio": "a.wav"}\n')
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 2: not valid JSON"):
        manifest.read(tmp_path / "m.jsonl")


def test_a_mark_that_windows_puts_first_is_no_part_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav"}\r\n', encoding="utf-8-sig")
    assert manifest.read(tmp_path / "m.jsonl").utterances == (Utterance("a", "a.wav"),)


@pytest.mark.parametrize("sidecar", ["{", "[]", "{}", '{"schema": "new"}', '{"schema": 1}'])
def test_a_broken_sidecar_is_named(tmp_path: Path, sidecar: str) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav"}\n')
    (tmp_path / "m.meta.json").write_text(sidecar)
    with pytest.raises(ManifestError, match=r"m\.meta\.json"):
        manifest.read(tmp_path / "m.jsonl")


def test_a_parquet_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("words")
    with pytest.raises(ManifestError, match=r"m\.parquet"):
        manifest.read(tmp_path / "m.parquet")


def test_a_missing_manifest_and_an_odd_name_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such manifest; `undertone prepare` makes one"):
        manifest.read(tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match=r"ends in \.jsonl or \.parquet"):
        manifest.write(tmp_path / "m.csv", [], Meta())


# --- paths -------------------------------------------------------------------------------------


def test_audio_beneath_the_manifest_moves_with_it(tmp_path: Path) -> None:
    home, away = tmp_path / "ä b", tmp_path / "elsewhere"
    inside, outside = home / "wav" / "ü 1.wav", tmp_path / "other" / "2.wav"
    manifest.write(home / "m.jsonl", [Utterance("in", str(inside)), Utterance("out", str(outside))], Meta())
    held = manifest.read(home / "m.jsonl")
    assert [u.audio for u in held.utterances] == ["wav/ü 1.wav", str(outside)]
    assert [u.audio for u in held.resolved()] == [str(inside), str(outside)]
    home.rename(away)
    assert manifest.read(away / "m.jsonl").resolved()[0].audio == str(away / "wav" / "ü 1.wav")


def test_a_manifest_written_elsewhere_from_resolved_audio_finds_it(tmp_path: Path) -> None:
    manifest.write(tmp_path / "a" / "m.jsonl", [Utterance("x", "1.wav")], Meta())
    held = manifest.read(tmp_path / "a" / "m.jsonl")
    manifest.write(tmp_path / "b" / "m.parquet", held.resolved(), held.meta)
    assert manifest.read(tmp_path / "b" / "m.parquet").resolved() == held.resolved()


def test_a_members_path_is_resolved_as_its_archives(tmp_path: Path) -> None:
    manifest.write(tmp_path / "m.jsonl", [Utterance("x", str(tmp_path / "s" / "1.tar") + "#a/b.wav")], Meta())
    held = manifest.read(tmp_path / "m.jsonl")
    assert held.utterances[0].audio == "s/1.tar#a/b.wav"
    assert held.resolved()[0].audio == str(tmp_path / "s" / "1.tar#a" / "b.wav")


# --- nothing half-written ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"], ids=["nan", "object", "surrogate"])
def test_what_cannot_be_written_leaves_the_old_file_whole(tmp_path: Path, suffix: str, value: object) -> None:
    path = tmp_path / f"m{suffix}"
    manifest.write(path, [Utterance("a", "a.wav")], Meta(corpus="old"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    bad = [Utterance("a", "a.wav"), Utterance("b", "b.wav", extra={"k": value})]
    with pytest.raises(ManifestError, match="'b': cannot be written"):
        manifest.write(path, bad, Meta(corpus="new"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_parquet_without_its_extra_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pyarrow"):
        manifest.write(tmp_path / "m.parquet", [], Meta())
    assert list(tmp_path.iterdir()) == []


def test_stages_add_up_in_the_sidecar(tmp_path: Path) -> None:
    about = Meta(corpus="demo").after("prepare", seed=1).after("align", aligner="sphinx")
    manifest.write(tmp_path / "m.jsonl", [], about)
    stages = manifest.read(tmp_path / "m.jsonl").meta.provenance
    assert [s["stage"] for s in stages] == ["prepare", "align"]
    assert stages[1]["aligner"] == "sphinx" and "undertone" in stages[0]
