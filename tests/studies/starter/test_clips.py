"""Who is kept aside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from studies.starter.clips import background, digest, folds, read
from studies.starter.targets import CLASSES, KINDS, MEANS, class_of, kind_of
from trees.starter import write_data


def test_every_speaker_is_kept_aside_once(tmp_path: Path) -> None:
    clips = read(write_data(tmp_path))
    aside = [speaker for fold in folds(clips) for speaker in fold]
    assert sorted(aside) == sorted({clip.speaker for clip in clips})


def test_kinds_and_classes_of_the_corpora(tmp_path: Path) -> None:
    clips = read(write_data(tmp_path))
    assert Counter(clip.corpus for clip in clips) == {"ravdess": 32, "emodb": 16, "nemo": 12, "timit": 2}
    for clip in clips:
        assert KINDS[kind_of(clip)] == clip.label
        if clip.label in CLASSES:
            assert CLASSES[class_of(clip)] == clip.label
        elif clip.label == "calm":
            assert CLASSES[class_of(clip)] == "neutral"
        else:
            assert class_of(clip) == -1
    assert len(KINDS) == len(MEANS)


def test_voices_behind_the_tests_are_of_speakers_of_their_own(
    tmp_path: Path,
) -> None:
    clips = read(write_data(tmp_path))
    learned, tested = background(clips), background(clips, tests=True)
    assert learned and tested and {clip.corpus for clip in learned + tested} == {"timit"}
    assert not {clip.speaker for clip in learned} & {clip.speaker for clip in tested}


def test_one_changed_byte_changes_that_corpus_hash(tmp_path: Path) -> None:
    clips = read(write_data(tmp_path))
    before = digest(clips)
    with clips[0].path.open("ab") as file:
        file.write(b"x")
    after = digest(clips)
    assert [corpus for corpus in before if before[corpus] != after[corpus]] == ["ravdess"]


def test_the_real_folds_hold_both_sexes_and_all_speakers(real_data: Path) -> None:
    clips = read(real_data)
    assert Counter(clip.corpus for clip in clips) == {
        "ravdess": 1080, "emodb": 266, "nemo": 2865, "timit": 80,
    }  # fmt: skip
    for fold in folds(clips):
        sexes = {clip.sex for clip in clips if clip.speaker in fold and clip.corpus == "ravdess"}
        assert sexes == {"m", "f"}
