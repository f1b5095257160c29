"""MELD's layout with all its oddities."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trees import meld
from undertone import audio
from undertone.corpora.meld import Meld
from undertone.errors import CorpusError


def test_utterances_come_with_split_dialogue_turn_and_mended_text(tmp_path: Path) -> None:
    corpus = Meld(meld.write(tmp_path / "MELD.Raw"))
    utterances = {u.id: u for u in corpus.read()}
    assert list(utterances) == [
        "train_dia0_utt0", "train_dia0_utt1", "train_dia309_utt0", "dev_dia0_utt0",
        "test_dia38_utt4", "test_dia220_utt0", "test_dia220_utt1", "test_dia220_utt2",
    ]  # fmt: skip
    first, second = utterances["train_dia0_utt0"], utterances["train_dia0_utt1"]
    assert second.text == "You’re kidding… right?"
    assert first.text == "also I was the point person,\non my company"
    assert utterances["dev_dia0_utt0"].text == 'I said "no", twice.'
    assert (second.speaker, second.label, second.dialogue, second.turn) == (
        "Joey",
        "surprise",
        "train_dia0",
        1,
    )
    assert second.session == "s08e21"
    assert second.extra["split"] == "train" and utterances["test_dia38_utt4"].extra["split"] == "test"
    assert all(audio.info(u.audio).frames == 6400 for u in utterances.values())


def test_the_clips_that_are_known_to_be_odd_are_said(tmp_path: Path) -> None:
    corpus = Meld(meld.write(tmp_path))
    list(corpus.read())
    notes = "\n".join(corpus.notes)
    assert "train_dia125_utt3 left out, known to be damaged" in notes
    assert "dev: 1 utterances without a clip left out: dia110_utt7" in notes
    for name in ("train_dia309_utt0", "test_dia38_utt4", "test_dia220_utt0"):
        assert f"{name} is known to be cut wrongly" in notes
    assert len(corpus.notes) == 5


def test_a_replaced_clip_is_taken(tmp_path: Path) -> None:
    corpus = Meld(meld.write(tmp_path, damaged=False))
    assert "train_dia125_utt3" in {u.id for u in corpus.read()}


def test_a_converted_clip_goes_before_its_video(tmp_path: Path) -> None:
    root = meld.write(tmp_path)
    for clip in list(root.rglob("dia*.wav")):
        clip.with_suffix(".mp4").write_bytes(b"video")
    assert {Path(u.audio).suffix for u in Meld(root).read()} == {".wav"}


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_sound_of_videos_is_read(tmp_path: Path) -> None:
    clips = list(Meld(meld.write(tmp_path, suffix=".mp4")).read())
    assert {Path(u.audio).suffix for u in clips} == {".mp4"}
    assert len(clips) == 8
    assert len(audio.load(clips[0].audio)) == pytest.approx(6400, abs=1500)


def test_a_missing_split_is_named_and_a_partial_copy_asked_for(tmp_path: Path) -> None:
    root = meld.write(tmp_path)
    (root / "dev_sent_emo.csv").unlink()
    with pytest.raises(CorpusError, match=r"dev_sent_emo\.csv missing; --set partial=true"):
        list(Meld(root).read())
    corpus = Meld(root, partial=True)
    assert {u.extra["split"] for u in corpus.read()} == {"train", "test"}
    assert corpus.notes[0] == "dev_sent_emo.csv is missing"


def test_tables_without_clips_and_clips_without_tables_are_named(tmp_path: Path) -> None:
    root = meld.write(tmp_path)
    shutil.rmtree(root / "test")
    with pytest.raises(CorpusError, match=r"no clips .* in a folder of the split 'test'"):
        list(Meld(root).read())
    with pytest.raises(
        CorpusError, match=r"train_sent_emo\.csv, dev_sent_emo\.csv, test_sent_emo\.csv missing$"
    ):
        list(Meld(tmp_path / "train" / "train_splits").read())


def test_a_table_of_other_columns_is_named(tmp_path: Path) -> None:
    root = meld.write(tmp_path)
    table = root / "train" / "train_sent_emo.csv"
    table.write_text(table.read_text("utf-8").replace("Emotion", "Feeling"), "utf-8")
    with pytest.raises(CorpusError, match=r"train_sent_emo\.csv: no column Emotion"):
        list(Meld(root).read())
    table.write_text(
        table.read_text("utf-8").replace("Feeling", "Emotion").replace(",125,", ",many,"), "utf-8"
    )
    with pytest.raises(CorpusError, match="Dialogue_ID should be a number, not 'many'"):
        list(Meld(root).read())
