"""Plant every kind of fault, find every one, with its id; and find none where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trees.sound import silence
from undertone import manifest
from undertone.manifest import Manifest, Meta, Problem, statistics, validate
from undertone.types import Alignment, Segment, Tier, Utterance

WORDS = (Segment("oh", 0.1, 0.3, chars=(0, 2)), Segment("never", 0.3, 0.8, chars=(3, 8)))
SYLLABLES = (Segment("oh", 0.1, 0.3), Segment("ne", 0.3, 0.5), Segment("ver", 0.5, 0.8))
PHONES = (Segment("OW", 0.1, 0.3), Segment("N", 0.3, 0.4), Segment("EH", 0.4, 0.5), Segment("V", 0.5, 0.8))
SOUND = Alignment(WORDS, SYLLABLES, PHONES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    silence(tmp_path / "a.wav", 1.0)
    return tmp_path


def good(**changes: object) -> Utterance:
    return replace(Utterance("u", "a.wav", text="oh never", label="sad", alignment=SOUND), **changes)  # type: ignore[arg-type]


def problems(folder: Path, *utterances: Utterance) -> list[Problem]:
    return validate(Manifest(folder / "m.jsonl", utterances, Meta(classes=("sad", "happy"))))


def test_a_sound_manifest_has_no_problem(folder: Path) -> None:
    assert problems(folder, good(), good(id="v", start=0.0, end=1.0), Utterance("w", "a.wav")) == []


def tiers(**changed: tuple[Segment, ...]) -> Alignment:
    return replace(SOUND, **changed)


FAULTS = {
    "missing audio": ({"audio": "gone.wav"}, "audio", "gone.wav: no such file"),
    "before the recording": ({"start": -0.5}, "time", "starts before its recording"),
    "backwards": (
        {"start": 0.5, "end": 0.2, "alignment": None},
        "time",
        "ends at 0.2 s, not after its start",
    ),
    "behind the recording": (
        {"start": 1.5, "alignment": None},
        "time",
        "starts at 1.5 s, after the end of the rec",
    ),
    "too long": ({"end": 1.2}, "time", "ends at 1.2 s, after the end of the recording at 1.000 s"),
    "unknown label": (
        {"label": "sadd"},
        "label",
        "unknown label 'sadd': did you mean 'sad'?",
    ),
    "unknown vote": ({"votes": {"joy": 1.0}}, "label", "unknown label 'joy'"),
    "overlap": (
        {"alignment": Alignment(word=(WORDS[0], Segment("never", 0.2, 0.8)))},
        "alignment",
        "word 1 'never' overlaps the word before it, 'oh'",
    ),
    "out of order": (
        {"alignment": Alignment(word=(WORDS[1], WORDS[0]))},
        "alignment",
        "word 1 'oh' overlaps the word before it",
    ),
    "empty segment": (
        {"alignment": Alignment(phone=(Segment("T", 0.2, 0.2),))},
        "alignment",
        "phone 0 'T' ends at 0.2 s, not after its start",
    ),
    "segment before": (
        {"alignment": Alignment(word=(Segment("oh", -0.1, 0.2),))},
        "alignment",
        "word 0 'oh' starts before the utterance",
    ),
    "segment behind": (
        {"alignment": Alignment(word=(Segment("oh", 0.9, 1.2),))},
        "alignment",
        "word 0 'oh' ends at 1.2 s, after the utterance's end at 1.000 s",
    ),
    "segment behind the turn": (
        {"end": 0.5, "alignment": Alignment(word=(Segment("oh", 0.1, 0.7),))},
        "alignment",
        "after the utterance's end at 0.500 s",
    ),
    "syllable across words": (
        {"alignment": tiers(syllable=(Segment("oh-ne", 0.1, 0.5), SYLLABLES[2]), phone=())},
        "alignment",
        "syllable 0 'oh-ne' lies in no word",
    ),
    "phone between words": (
        {"alignment": tiers(syllable=(), phone=(Segment("HH", 0.0, 0.1), *PHONES))},
        "alignment",
        "phone 0 'HH' lies in no word",
    ),
    "characters beyond the text": (
        {"alignment": Alignment(word=(Segment("oh", 0.1, 0.3, chars=(0, 9)),))},
        "alignment",
        "points at characters 0 to 9 of a text of 8",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_with_its_id(folder: Path, fault: str) -> None:
    changes, kind, what = FAULTS[fault]
    found = problems(folder, good(id="before"), good(**changes), good(id="after"))
    assert [(p.id, p.kind) for p in found] == [("u", kind)], [str(p) for p in found]
    assert what in found[0].what


def test_one_mistyped_label_among_labels_of_ones_own_is_found_with_the_nearest(folder: Path) -> None:
    """As `prepare table` leaves it: the classes were taken from the labels, the wrong one among them."""
    labels = ["happy"] * 6 + ["sad"] * 6 + ["hapy"]
    utterances = tuple(good(id=f"u{i}", label=label) for i, label in enumerate(labels))
    for meta in (Meta(classes=("happy", "sad", "hapy")), Meta()):
        (problem,) = validate(Manifest(folder / "m.jsonl", utterances, meta))
        assert (problem.id, problem.kind) == ("u12", "label")
        assert "label 'hapy' (1): did you mean 'happy' (6)?" in problem.what
    named = Meta(label_set="mine", classes=("happy", "sad", "hapy"))
    assert validate(Manifest(folder / "m.jsonl", utterances, named)) == []


def test_labels_that_differ_or_are_both_frequent_are_no_typing_errors(folder: Path) -> None:
    labels = ["angry", "happy", "sad"] * 4 + ["calm", "unhappy"] + ["annoyed", "annoyd"] * 4
    utterances = tuple(good(id=f"u{i}", label=label) for i, label in enumerate(labels))
    assert validate(Manifest(folder / "m.jsonl", utterances, Meta())) == []


def test_a_shipped_label_set_is_known_without_classes_in_the_sidecar(folder: Path) -> None:
    held = Manifest(folder / "m.jsonl", (good(label="hapy"),), Meta(label_set="iemocap4"))
    assert [p.what for p in validate(held)] == ["unknown label 'hapy': did you mean 'happy'?"]


def test_all_faults_are_reported_together(folder: Path) -> None:
    utterances = [good(id=fault, **changes) for fault, (changes, _, _) in FAULTS.items()]
    found = problems(folder, *utterances, good(), good(), good())
    assert {p.id for p in found} == {*FAULTS, "u"}
    assert [p.what for p in found if p.id == "u"] == ["the id stands 3 times"]


def test_recordings_can_be_left_closed(folder: Path) -> None:
    held = Manifest(folder / "m.jsonl", (good(audio="gone.wav"),), Meta())
    assert validate(held, recordings=False) == []


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6),
)
def test_nesting_is_what_a_slow_reading_of_it_says(
    outer: list[tuple[int, int]], inner: list[tuple[int, int]]
) -> None:
    def tier(spans: list[tuple[int, int]]) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        for start, length in sorted(spans):
            begin = max(start / 10, segments[-1].end if segments else 0.0)
            segments.append(Segment("x", begin, begin + length / 10))
        return tuple(segments)

    words, phones = tier(outer), tier(inner)
    held = Manifest(
        Path("m.jsonl"), (Utterance("u", "a.wav", alignment=Alignment(words, (), phones)),), Meta()
    )
    found = {p.what for p in validate(held, recordings=False)}
    slack = 0.001
    out = [
        i
        for i, p in enumerate(phones)
        if words and not any(w.start - slack <= p.start and p.end <= w.end + slack for w in words)
    ]
    assert found == {f"phone {i} 'x' lies in no word" for i in out}


TIER: tuple[Tier, ...] = ("word", "syllable", "phone")


def test_statistics_count_what_is_there(folder: Path) -> None:
    utterances = (
        good(speaker="A", session="1", dialogue="d", text_source="gold", language="en"),
        good(id="v", speaker="B", session="1", dialogue="d", label="happy", start=0.25, alignment=None),
        Utterance("w", "gone.wav", speaker="B", start=1.0, end=3.5),
        Utterance("x", "gone.wav", label="odd"),
    )
    counted = statistics(Manifest(folder / "m.jsonl", utterances, Meta(classes=("sad", "happy", "angry"))))
    assert (counted.utterances, counted.recordings, counted.dialogues) == (4, 2, 1)
    assert (counted.seconds, counted.timed) == (1.0 + 0.75 + 2.5, 3)
    assert counted.speakers == {"A": 1, "B": 2}
    assert counted.sessions == {"1": 2}
    assert list(counted.labels.items()) == [("sad", 1), ("happy", 1), ("angry", 0), ("odd", 1)]
    assert counted.unlabelled == 1
    assert counted.text_sources == {"gold": 1, "unknown": 1}
    assert [counted.tiers[t] for t in TIER] == [1, 1, 1]
    assert [counted.segments[t] for t in TIER] == [2, 3, 4]


def test_validate_and_the_rest_are_where_others_call_them() -> None:
    assert manifest.validate is validate


def test_labels_that_differ_in_capitals_alone_are_a_problem_however_frequent(folder: Path) -> None:
    labels = ["Sad"] * 3 + ["sad"] * 4
    held = Manifest(
        folder / "m.jsonl", tuple(good(id=str(n), label=label) for n, label in enumerate(labels)), Meta()
    )
    (what,) = {p.what for p in validate(held)}
    assert what == "label 'Sad' (3) and 'sad' (4) differ in capitals alone"
