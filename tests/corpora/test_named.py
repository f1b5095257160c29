"""Corpora whose labels are in the names of files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from trees import named
from trees.sound import noise
from undertone.corpora.cremad import Cremad
from undertone.corpora.emodb import Emodb
from undertone.corpora.ravdess import Ravdess
from undertone.errors import ConfigError, CorpusError


def test_ravdess_reads_speech_and_counts_what_it_leaves(tmp_path: Path) -> None:
    corpus = Ravdess(named.write_ravdess(tmp_path))
    clips = list(corpus.read())
    assert [(u.id, u.label, u.speaker, u.extra["sex"]) for u in clips] == [
        ("03-01-01-01-01-01-01", "neutral", "01", "m"),
        ("03-01-05-02-02-01-01", "angry", "01", "m"),
        ("03-01-02-01-01-02-02", "calm", "02", "f"),
        ("03-01-08-01-02-02-02", "surprised", "02", "f"),
    ]
    assert [u.text for u in clips[:2]] == ["Kids are talking by the door", "Dogs are sitting by the door"]
    assert clips[1].extra["intensity"] == "strong"
    assert corpus.notes == ["2 songs or sound tracks of videos left out"]


def test_emodb_reads_names_with_and_without_a_version(tmp_path: Path) -> None:
    clips = list(Emodb(named.write_emodb(tmp_path)).read())
    assert [(u.id, u.label, u.speaker) for u in clips] == [
        ("03a01Fa", "happiness", "03"),
        ("03a02Wb", "anger", "03"),
        ("08a07N", "neutral", "08"),
        ("16b01Ta", "sadness", "16"),
        ("16b10Lb", "boredom", "16"),
    ]
    assert clips[4].text == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."
    assert (clips[0].language, clips[0].extra["sex"], clips[0].extra["age"]) == ("de", "m", 31)


def test_cremad_reads_one_clip_a_name_and_who_speaks(tmp_path: Path) -> None:
    corpus = Cremad(named.write_cremad(tmp_path))
    clips = {u.id: u for u in corpus.read()}
    assert sorted(clips) == sorted(set(named.CREMAD) - {"1076_MTI_SAD_XX"})
    assert {Path(u.audio).suffix for u in clips.values()} == {".wav"}
    first = clips["1001_IEO_HAP_LO"]
    assert (first.label, first.text, first.speaker) == ("HAP", "It's eleven o'clock.", "1001")
    assert (first.extra["sex"], first.extra["age"], first.extra["level"]) == ("Male", 51, "low")
    notes = "\n".join(corpus.notes)
    assert "labels are those intended" in notes
    assert "6 further copies of clips left out" in notes, "the mp3 of each wav"
    assert "without sound in the release: 1076_MTI_SAD_XX" in notes
    assert "1 clips of SentenceFilenames.csv missing, the first: 1091_ITH_FEA_HI" in notes
    assert "1 actors without demographics, the first: 1091" in notes


def test_cremad_takes_what_listeners_voted_where_they_agreed(tmp_path: Path) -> None:
    corpus = Cremad(named.write_cremad(tmp_path), source="voted")
    labels = {u.id: (u.label, u.extra["intended"]) for u in corpus.read()}
    assert labels["1001_DFA_ANG_XX"] == ("ANG", "ANG")
    assert labels["1001_IEO_HAP_LO"] == ("NEU", "HAP")
    assert labels["1002_WSI_SAD_HI"] == (None, "SAD"), "a tie is no label"
    assert "labels are those voted" in corpus.notes


def test_cremad_has_the_votes_of_those_who_did_not_see_the_face(tmp_path: Path) -> None:
    root = named.write_cremad(tmp_path)
    table = root / "processedResults" / "tabulatedVotes.csv"
    table.write_text(table.read_text().replace('"200001",1', '"200001",9'))  # who saw the face
    read = {u.id: dict(u.votes) for u in Cremad(root).read()}
    assert read["1001_DFA_ANG_XX"] == {"ANG": 1.0, "HAP": 1.0, "SAD": 2.0}
    assert read["1002_TIE_NEU_XX"] == {"ANG": 3.0, "HAP": 1.0, "SAD": 2.0}


def test_cremad_without_votes_or_with_another_source_says_what_it_needs(tmp_path: Path) -> None:
    root = named.write_cremad(tmp_path, votes=False)
    with pytest.raises(CorpusError, match=r"need processedResults/summaryTable\.csv"):
        list(Cremad(root, source="voted").read())
    with pytest.raises(ConfigError, match="source is 'intended' or 'voted', not 'guessed'"):
        Cremad(root, source="guessed")  # type: ignore[arg-type]


def test_a_mirror_that_holds_everything_twice_is_read_once(tmp_path: Path) -> None:
    for folder in ("", "audio_speech_actors_01-24"):
        named.write_ravdess(tmp_path / folder)
    corpus = Ravdess(tmp_path)
    assert len(list(corpus.read())) == 4
    assert corpus.notes[0] == "6 further copies of clips left out"


@pytest.mark.parametrize("corpus", [Ravdess, Emodb, Cremad])
def test_a_folder_of_something_else_is_named(
    tmp_path: Path, corpus: type[Ravdess] | type[Emodb] | type[Cremad]
) -> None:
    noise(tmp_path / "holiday.wav")
    with pytest.raises(CorpusError, match="names as"):
        list(corpus(tmp_path).read())
    with pytest.raises(CorpusError, match=r"missing: no such folder"):
        corpus(tmp_path / "missing")


@pytest.mark.parametrize(
    ("corpus", "name"),
    [(Ravdess, "03-01-09-01-01-01-01"), (Emodb, "03a01Xa"), (Emodb, "99a01Fa"), (Cremad, "1001_QQQ_ANG_XX")],
)
def test_a_code_that_nobody_defined_is_named(
    tmp_path: Path, corpus: type[Ravdess] | type[Emodb] | type[Cremad], name: str
) -> None:
    noise(tmp_path / f"{name}.wav")
    with pytest.raises(CorpusError, match=rf"{name}\.wav: '\w+' is no code of"):
        list(corpus(tmp_path).read())


def test_the_real_ravdess_is_read_as_its_own_table_says(real_data: Path) -> None:
    with (real_data / "ravdess" / "manifest.csv").open(encoding="utf-8") as file:
        rows = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    clips = {u.id: u for u in Ravdess(real_data / "ravdess").read()}
    assert clips.keys() == rows.keys()
    for name, row in rows.items():
        clip = clips[name]
        assert (clip.speaker, clip.extra["sex"], clip.text) == (row["speaker"], row["sex"], row["transcript"])
        assert (clip.extra["intensity"], clip.extra["statement"]) == (row["intensity"], int(row["statement"]))
        assert (clip.label or "")[:4] == row["label"][:4]  # disgust, disgusted


def test_the_real_emodb_is_read_as_its_own_table_says(real_data: Path) -> None:
    with (real_data / "emodb" / "manifest.csv").open(encoding="utf-8") as file:
        rows = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    clips = {u.id: u for u in Emodb(real_data / "emodb").read()}
    assert clips.keys() == rows.keys()
    for name, row in rows.items():
        clip = clips[name]
        assert (clip.label, clip.speaker, clip.text) == (row["label"], row["speaker"], row["transcript"])
        assert clip.extra["sex"] == row["sex"]
    assert Counter(u.label for u in clips.values())["anger"] == 100
