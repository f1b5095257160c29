"""No speaker in two parts, ever, unless the split says so in so many words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone import splits
from undertone.errors import ProtocolError, UsageError
from undertone.splits import PARTS, Split
from undertone.types import Utterance


def dyads(
    sessions: int = 5, turns: int = 12, labels: Sequence[str] = ("angry", "happy", "sad")
) -> list[Utterance]:
    """Sessions of two speakers in two dialogues each, as IEMOCAP has them."""
    return [
        Utterance(
            f"Ses{s:02}_{d}_{'FM'[t % 2]}{t:03}",
            f"Ses{s:02}_{d}_{t}.wav",
            speaker=f"Ses{s:02}{'FM'[t % 2]}",
            session=str(s),
            dialogue=f"Ses{s:02}_{d}",
            label=labels[t % len(labels)],
        )
        for s in range(1, sessions + 1)
        for d in ("impro", "script")
        for t in range(turns)
    ]


def alone(speakers: int = 18, clips: int = 6) -> list[Utterance]:
    """Speakers who never meet, as RAVDESS has them."""
    return [
        Utterance(f"{s:02}-{c}", f"{s:02}-{c}.wav", speaker=f"{s:02}", label=("calm", "angry")[c % 2])
        for s in range(speakers)
        for c in range(clips)
    ]


def shared(utterances: Sequence[Utterance], split: Split, what: str) -> set[tuple[str, str, str]]:
    """(fold, side, side) pairs that share a speaker, dialogue …: the slow, obvious check."""
    name = {u.id: getattr(u, what) for u in utterances}
    return {
        (fold.name, one, two)
        for fold in split.folds
        for one in PARTS
        for two in PARTS
        if one < two
        for i in fold.part(one)
        for j in fold.part(two)
        if name[i] is not None and name[i] == name[j]
    }


def test_loso_tests_each_session_once_and_validates_on_another() -> None:
    people = dyads()
    split = splits.make(people, "loso")
    assert [fold.name for fold in split.folds] == [f"session-{s}" for s in range(1, 6)]
    assert split.stamps == ()
    assert sorted(i for fold in split.folds for i in fold.test) == sorted(u.id for u in people)
    for fold in split.folds:
        assert len(fold.train) == 72
        assert len(fold.validation) == len(fold.test) == 24


def test_selection_on_test_trains_on_all_other_sessions_and_validates_on_the_test_session() -> None:
    people = dyads()
    plain, peeking = splits.make(people, "loso"), splits.make(people, "loso", selection="test")
    assert peeking.hash != plain.hash
    for one, two in zip(plain.folds, peeking.folds, strict=True):
        assert two.train == tuple(sorted(one.train + one.validation)) and len(two.train) == 96
        assert two.validation == two.test == one.test


@pytest.mark.parametrize(("strict", "stamps"), [(False, {splits.DIALOGUES}), (True, set())])
def test_under_selection_on_test_the_partner_trains_stamped_unless_strict(
    strict: bool, stamps: set[str]
) -> None:
    split = splits.make(dyads(), "lospo", strict=strict, selection="test")
    assert set(split.stamps) == stamps
    for fold in split.folds:
        assert not set(fold.train) & set(fold.test) and len(fold.train) == (96 if strict else 108)


def test_the_seed_of_loso_moves_the_validation_session() -> None:
    one, two = (splits.make(dyads(), "loso", seed=seed).folds[0] for seed in (0, 1))
    assert one.test == two.test
    assert set(one.validation).isdisjoint(two.validation)


def test_emo_superbs_folds_test_and_validate_on_the_published_sessions() -> None:
    split = splits.make(dyads(), "emosuperb", seed=3)
    sessions = {u.id: u.session for u in dyads()}
    parts = [{p: {sessions[i] for i in fold.part(p)} for p in PARTS} for fold in split.folds]
    assert [p["test"] for p in parts] == [{"4"}, {"3"}, {"2"}, {"1"}, {"5"}]
    assert [p["validation"] for p in parts] == [{"5"}, {"4"}, {"3"}, {"2"}, {"1"}]
    assert all(len(p["train"]) == 3 for p in parts)
    assert not shared(dyads(), split, "speaker")
    with pytest.raises(ProtocolError, match="sessions 1 to 5, here are 1, 2, 3, 4"):
        splits.make(dyads(4), "emosuperb")


def test_the_partner_of_the_test_speaker_validates_and_that_is_stamped() -> None:
    people = dyads()
    split = splits.make(people, "lospo")
    assert len(split.folds) == 10
    assert split.stamps == (splits.PARTNER,)
    speaker = {u.id: u.speaker for u in people}
    first = split.folds[0]
    assert first.name == "speaker-Ses01F"
    assert {speaker[i] for i in first.validation} == {"Ses01M"}
    assert not {"Ses01F", "Ses01M"} & {speaker[i] for i in first.train}
    assert shared(people, split, "speaker") == set()


def test_strict_leaves_the_partner_out_altogether() -> None:
    people = dyads()
    split = splits.make(people, "lospo", strict=True)
    assert split.stamps == ()
    for what in ("speaker", "dialogue", "session"):
        assert shared(people, split, what) == set()
    for fold in split.folds:
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(people) - 12


def test_speakers_who_never_meet_need_no_partner_rule() -> None:
    people = alone()
    split = splits.make(people, "lospo")
    assert len(split.folds) == 18
    assert split.stamps == ()
    assert shared(people, split, "speaker") == set()


def test_speaker_folds_are_even_and_hold_every_class_in_validation() -> None:
    people = alone()
    label = {u.id: u.label for u in people}
    split = splits.make(people, "kfold-speaker", folds=5)
    assert {len(fold.test) for fold in split.folds} == {18, 24}
    assert sorted(i for fold in split.folds for i in fold.test) == sorted(u.id for u in people)
    for fold in split.folds:
        assert {label[i] for i in fold.validation} == {"calm", "angry"}
        assert len({i[:2] for i in fold.validation}) == 2


def test_speakers_who_talk_with_each_other_stay_in_one_fold() -> None:
    people = dyads()
    split = splits.make(people, "kfold-speaker", folds=5)
    for what in ("speaker", "dialogue", "session"):
        assert shared(people, split, what) == set()


def test_parts_of_one_recording_stay_in_one_fold() -> None:
    people = [replace(u, audio=f"{int(u.speaker or 0) // 2}.wav") for u in alone(12)]
    split = splits.make(people, "kfold-speaker", folds=3)
    assert shared(people, split, "audio") == set()


def test_a_corpus_own_split_is_taken_as_it_is_and_stamped_where_speakers_overlap() -> None:
    parts = {0: "train", 1: "dev", 2: "test"}
    people = [replace(u, extra={"split": parts[int(u.id[-1]) % 3]}) for u in alone()]
    split = splits.make(people, "fixed")
    assert split.stamps == (splits.SPEAKERS,)
    assert len(split.folds) == 1
    clean = [replace(u, extra={"split": parts[int(u.speaker or 0) % 3]}) for u in alone()]
    assert splits.make(clean, "fixed").stamps == ()


def test_a_fixed_split_without_validation_takes_it_from_training_speakers() -> None:
    people = [replace(u, extra={"split": "test" if u.speaker == "00" else "train"}) for u in alone()]
    split = splits.make(people, "fixed")
    assert split.stamps == ()
    assert shared(people, split, "speaker") == set()


def test_a_random_split_must_be_asked_for_by_name_and_is_stamped() -> None:
    split = splits.make(alone(), "leaky-random-utterance")
    assert set(split.stamps) == {splits.LEAKING, splits.SPEAKERS}
    assert sorted(i for fold in split.folds for i in fold.test) == sorted(u.id for u in alone())
    with pytest.raises(UsageError, match="there are: loso, emosuperb, lospo"):
        splits.make(alone(), "random")


def test_the_dialogue_level_allows_only_whole_conversations() -> None:
    assert splits.make(dyads(), "loso", level="dialogue").stamps == ()
    for protocol in ("lospo", "kfold-speaker", "leaky-random-utterance"):
        with pytest.raises(ProtocolError, match="loso"):
            splits.make(dyads(), protocol, level="dialogue")
    cut = [replace(u, extra={"split": PARTS[i % 3]}) for i, u in enumerate(dyads())]
    with pytest.raises(ProtocolError, match="cuts conversations"):
        splits.make(cut, "fixed", level="dialogue")


@pytest.mark.parametrize(
    ("utterances", "protocol", "says"),
    [
        (dyads(2), "loso", "3 sessions"),
        (alone(), "loso", "needs the session of every utterance; 108 have none, first '00-0'"),
        (alone(2), "kfold-speaker", "at least 5 groups"),
        (alone(1), "lospo", "too few speakers"),
        (alone(), "fixed", "00-0: extra.split is ''"),
        ([*alone(), *alone(1)], "lospo", "'00-0' stands twice"),
        ([replace(u, speaker="everyone") for u in dyads()], "loso", "'everyone' would be in two parts"),
        ([replace(u, dialogue="all") for u in dyads()], "lospo", "the train part of fold '.*' is empty"),
        ([Utterance("a", "a.wav")], "leaky-random-utterance", "too few for 5 random folds"),
    ],
)
def test_a_split_that_cannot_be_honest_is_refused(
    utterances: list[Utterance], protocol: str, says: str
) -> None:
    with pytest.raises(ProtocolError, match=says):
        splits.make(utterances, protocol)


def test_the_order_of_a_manifest_changes_nothing() -> None:
    for protocol in ("loso", "lospo", "kfold-speaker", "leaky-random-utterance"):
        assert splits.make(dyads(), protocol).hash == splits.make(dyads()[::-1], protocol).hash


def test_a_split_survives_its_file(tmp_path: Path) -> None:
    split = splits.make(dyads(), "lospo", seed=3)
    path = tmp_path / "räume" / "split.json"
    splits.write(path, split)
    assert splits.read(path) == split
    assert [p.name for p in path.parent.iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["folds"][0]["train"].append(v["folds"][0]["test"][0]), "changed after they were hashed"),
        (lambda v: v.update(schema=99), "schema 99 is newer"),
        (lambda v: v.pop("folds"), "not a split file"),
    ],
)
def test_a_split_file_that_was_changed_is_refused(tmp_path: Path, change: object, says: str) -> None:
    path = tmp_path / "split.json"
    splits.write(path, splits.make(dyads(), "loso"))
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)  # type: ignore[operator]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ProtocolError, match=says):
        splits.read(path)


def test_a_split_refuses_a_manifest_of_other_utterances() -> None:
    split = splits.make(dyads(), "loso")
    split.check(u.id for u in dyads())
    with pytest.raises(ProtocolError, match="24 utterances that the manifest lacks"):
        split.check(u.id for u in dyads(4))


@st.composite
def corpora(draw: st.DrawFn) -> list[Utterance]:
    """Any tangle of speakers, dialogues, sessions and shared recordings."""
    size = draw(st.integers(4, 40))
    name = st.integers(0, draw(st.integers(2, 12)))
    dialogue = st.one_of(st.none(), st.integers(0, draw(st.integers(1, 20))))
    return [
        Utterance(
            f"u{i}",
            f"{draw(st.sampled_from([i, i, 900 + i // 3]))}.wav",
            speaker=f"s{draw(name)}",
            session=f"x{draw(st.integers(0, 5))}",
            dialogue=None if (d := draw(dialogue)) is None else f"d{d}",
            label=draw(st.sampled_from("abc")),
        )
        for i in range(size)
    ]


@settings(deadline=None, max_examples=150)
@given(
    utterances=st.one_of(corpora(), st.just(dyads(4, 4)), st.integers(3, 9).map(alone)),
    protocol=st.sampled_from(["loso", "lospo", "kfold-speaker"]),
    strict=st.booleans(),
    seed=st.integers(0, 5),
    folds=st.integers(2, 6),
)
def test_no_speaker_is_ever_in_two_parts(
    utterances: list[Utterance], protocol: str, strict: bool, seed: int, folds: int
) -> None:
    try:
        split = splits.make(utterances, protocol, strict=strict, seed=seed, folds=folds)
    except ProtocolError:
        return  # refused is honest too
    assert shared(utterances, split, "speaker") == set()
    for what in ("dialogue", "audio"):
        crossing = {(one, two) for _, one, two in shared(utterances, split, what)}
        assert crossing <= ({("test", "validation")} if splits.PARTNER in split.stamps else set())
    tested = [i for fold in split.folds for i in fold.test]
    assert sorted(tested) == sorted(u.id for u in utterances)
    for fold in split.folds:
        parts = [set(fold.part(part)) for part in PARTS]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))
