"""IEMOCAP's layout with all its oddities."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trees import iemocap
from undertone.corpora.iemocap import CATEGORIES, SESSIONS, Iemocap
from undertone.errors import CorpusError
from undertone.types import Utterance


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iemocap.write(tmp_path_factory.mktemp("Sprache in Gefühl") / "IEMOCAP_full_release")


@pytest.fixture(scope="module")
def read(tree: Path) -> tuple[Iemocap, list[Utterance]]:
    corpus = Iemocap(tree)
    return corpus, list(corpus.read())


def test_every_turn_is_read_and_nothing_else(read: tuple[Iemocap, list[Utterance]]) -> None:
    _, turns = read
    assert len(turns) == len({u.id for u in turns}) == sum(sum(c.values()) for c in iemocap.SMALL.values())
    assert all(Path(u.audio).is_file() and Path(u.audio).is_absolute() for u in turns)
    assert not [u for u in turns if "XX" in u.id or "._" in u.audio]


def test_the_speaker_is_who_speaks_not_who_wears_the_markers(read: tuple[Iemocap, list[Utterance]]) -> None:
    _, turns = read
    known = {u.id: u.speaker for u in turns}
    assert known["Ses01F_impro01_M000"] == "Ses01_M"
    assert known["Ses01M_impro01_M000"] == "Ses01_M"
    assert known["Ses01M_impro01_F000"] == "Ses01_F"
    assert len(set(known.values())) == 10


def test_a_dialogue_is_in_the_order_of_time(read: tuple[Iemocap, list[Utterance]]) -> None:
    _, turns = read
    for dialogue in {u.dialogue for u in turns}:
        own = [u for u in turns if u.dialogue == dialogue]
        assert [u.turn for u in own] == list(range(len(own)))
        starts = [u.extra["dialogue_start"] for u in own]
        assert starts == sorted(starts)


def test_scripted_and_improvised_are_told_apart(tmp_path: Path) -> None:
    whole = iemocap.write(tmp_path, {s: {"neu": 300} for s in iemocap.FULL}, alignments=False)
    scripted = {u.dialogue: u.extra["scripted"] for u in Iemocap(whole).read()}
    assert scripted["Ses01F_impro01"] is False
    assert scripted["Ses03M_script01_1"] is True


def test_the_raters_votes_are_counted_and_the_actors_own_are_not(
    read: tuple[Iemocap, list[Utterance]],
) -> None:
    _, turns = read
    angry = next(u for u in turns if u.label == "ang")
    assert angry.extra["raters"] == {"valence": [3, 2], "activation": [3, 3], "dominance": [3, 2]}
    assert angry.votes == {"ang": 2.5, "neu": 0.5}  # one rater named two emotions
    assert (angry.extra["valence"], angry.extra["dominance"]) == (2.5, 2.6667)


def test_the_words_are_read_with_their_old_quotes(read: tuple[Iemocap, list[Utterance]]) -> None:
    _, turns = read
    assert all(u.text and u.text_source == "gold" and u.text.endswith(".") for u in turns)


def test_boundary_files_are_where_the_corpus_says(read: tuple[Iemocap, list[Utterance]]) -> None:
    corpus, turns = read
    unaligned = [u.id for u in turns if not all(p.is_file() for p in corpus.boundaries(u))]
    assert set(unaligned) <= {iemocap.UNALIGNED}
    words, syllables, phones = corpus.boundaries(turns[0])
    assert (words.suffix, syllables.suffix, phones.suffix) == (".wdseg", ".syseg", ".phseg")


def test_a_copy_that_differs_says_how(read: tuple[Iemocap, list[Utterance]]) -> None:
    corpus, _ = read
    assert (
        "Session2: 12 turns, 10 of the usual four classes; a complete copy has 1811 and 1023" in corpus.notes
    )
    assert "10 transcription lines without an utterance" in corpus.notes
    assert "10 transcribed turns that nobody rated" in corpus.notes


def test_the_counts_of_a_complete_copy_add_up() -> None:
    assert sum(turns for turns, _ in SESSIONS.values()) == 10039
    assert sum(four for _, four in SESSIONS.values()) == 5531
    assert [sum(c.values()) for c in iemocap.FULL.values()] == [turns for turns, _ in SESSIONS.values()]


def test_the_folder_above_the_release_will_do(tree: Path) -> None:
    assert Iemocap(tree.parent).root == tree


def test_a_missing_session_is_named_and_a_partial_copy_asked_for(tmp_path: Path) -> None:
    root = iemocap.write(tmp_path, {s: c for s, c in iemocap.SMALL.items() if s != 4})
    with pytest.raises(CorpusError, match=r"Session4 missing; --set partial=true prepares what there is"):
        list(Iemocap(root).read())
    corpus = Iemocap(root, partial=True)
    assert {u.session for u in corpus.read()} == {"Ses01", "Ses02", "Ses03", "Ses05"}
    assert "Session4 is missing" in corpus.notes


def test_a_folder_that_is_no_iemocap_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is read from the folder that holds Session1"):
        Iemocap(tmp_path / "missing")
    with pytest.raises(CorpusError, match="is this IEMOCAP's release"):
        list(Iemocap(tmp_path).read())


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "copy"))


def test_a_broken_rating_is_named_by_file_and_line(copy: Path) -> None:
    file = copy / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    file.write_text(file.read_text("latin-1").replace("[2.5000, 3.0000, 2.6667]", "[2.5, 3]", 1), "latin-1")
    with pytest.raises(
        CorpusError, match=r"Ses02F_impro01\.txt, line 3: not '\[start - end\] utterance label"
    ):
        list(Iemocap(copy).read())


def test_a_session_without_ratings_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "Session2" / "dialog" / "EmoEvaluation")
    with pytest.raises(CorpusError, match=r"EmoEvaluation: no evaluation files"):
        list(Iemocap(copy).read())


def test_a_dialogue_without_transcription_keeps_its_turns_and_says_so(copy: Path) -> None:
    (copy / "Session5" / "dialog" / "transcriptions" / "Ses05F_impro01.txt").unlink()
    corpus = Iemocap(copy)
    silent = [u for u in corpus.read() if u.text is None]
    assert {u.dialogue for u in silent} == {"Ses05F_impro01"}
    assert silent[0].text_source is None
    assert "1 dialogues without transcription" in corpus.notes
    assert f"{len(silent)} turns without transcript" in corpus.notes


def test_a_lossless_copy_of_the_sound_will_do(copy: Path) -> None:
    wav = next((copy / "Session1" / "sentences" / "wav").rglob("Ses*.wav"))
    wav.rename(wav.with_suffix(".flac"))
    assert str(wav.with_suffix(".flac")) in {u.audio for u in Iemocap(copy).read()}


def test_every_category_of_the_raters_is_a_label() -> None:
    assert set(CATEGORIES.values()) == set("ang hap sad neu exc fru fea sur dis oth".split())
