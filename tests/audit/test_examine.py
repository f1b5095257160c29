"""What is planted is found, with its share; what is clean is left in peace."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from undertone import splits
from undertone.auditing import examine, same_words
from undertone.auditing.examine import Audit, Finding
from undertone.splits import Fold, Split
from undertone.types import Utterance

DATA = os.environ.get("UNDERTONE_DATA")
real = pytest.mark.skipif(not DATA, reason="UNDERTONE_DATA is not set: no real recordings here")


def people(sessions: int = 4, turns: int = 10) -> list[Utterance]:
    """Dyads; every scripted line stands in all sessions, every improvised one in one only."""
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return [
        Utterance(
            f"{s}-{kind}-{t}",
            "",
            speaker=f"{s}{'FM'[t % 2]}",
            session=str(s),
            dialogue=f"{s}-{kind}",
            text=(
                f"Please give me {numbers[t]} of those, dear."
                if kind == "script"
                else f"I {chr(97 + s) * 5} {chr(107 + t) * 6} {chr(97 + s + t) * 7} {chr(110 + s) * 5}"
            ),
            label=("angry", "sad")[(t + (s == 0)) % 2],
            extra={"scripted": kind == "script"},
        )
        for s in range(sessions)
        for kind in ("script", "impro")
        for t in range(turns)
    ]


def of(found: Audit, kind: str) -> list[Finding]:
    return [f for f in found.findings if f.kind == kind]


def test_an_honest_split_shows_no_leak() -> None:
    spoken = people()
    found = examine(spoken, splits.make(spoken, "loso"))
    assert found.leaks == ()
    assert {f.kind for f in found.findings} == {"text"}
    assert found.balance["session-0"]["test"] == {"angry": 10, "sad": 10}


def test_scripted_text_is_counted_apart_from_improvised() -> None:
    spoken = people()
    improvised, scripted = of(examine(spoken, splits.make(spoken, "loso")), "text")[::-1]
    if improvised.numbers["kind"].startswith("scripted"):
        improvised, scripted = scripted, improvised
    assert scripted.numbers["exact_share"] == 1.0
    assert scripted.numbers["verbatim"] == scripted.numbers["total"] == 40
    assert scripted.numbers["copied"] == 30  # session 0 has the labels the other way round
    assert scripted.level == "warning"
    assert improvised.numbers["near"] == 0
    assert improvised.level == "note"


def test_without_a_split_texts_are_compared_between_sessions() -> None:
    found = examine(people())
    assert found.protocol is None
    assert {f.numbers["where"] for f in of(found, "text")} == {"in another session"}
    alone = [replace(u, session=None) for u in people()]
    assert {f.numbers["where"] for f in of(examine(alone), "text")} == {"elsewhere in the manifest"}


def test_what_has_no_label_says_nothing_of_copying_labels() -> None:
    spoken = [replace(u, label=None) for u in people()]
    found = of(examine(spoken, splits.make(spoken, "loso")), "text")
    assert [f.numbers["labelled"] for f in found] == [0, 0]
    assert not any("copying" in f.says for f in found)


def test_a_text_is_not_its_own_twin() -> None:
    one = [Utterance("a", "", text="nobody else says such a thing")]
    assert of(examine(one), "text")[0].numbers["exact"] == 0


def test_a_random_split_leaks_speakers_and_dialogues() -> None:
    spoken = people()
    found = examine(spoken, splits.make(spoken, "leaky-random-utterance", folds=4))
    assert {f.kind for f in found.leaks} == {"speaker", "dialogue"}
    assert found.stamps


def test_a_speaker_planted_in_two_sessions_is_found() -> None:
    spoken = [replace(u, speaker="1F") if u.id == "3-impro-4" else u for u in people()]
    found = examine(spoken, splits.make(spoken, "loso", refuse=False))
    assert {(f.kind, f.examples) for f in found.leaks} == {("speaker", ("1F",))}


def test_what_a_corpus_prescribes_is_a_warning() -> None:
    sides = ["train", "train", "dev", "test"]
    spoken = [
        replace(u, extra={"split": sides[int(u.session or 0)]}, speaker=u.speaker and u.speaker[-1])
        for u in people()
    ]
    found = examine(spoken, splits.make(spoken, "fixed"))
    assert found.leaks == ()
    assert [f.level for f in of(found, "speaker")] == ["warning"] * 3


def test_a_class_that_a_side_lacks_is_named() -> None:
    spoken = [replace(u, label="sad" if u.session == "2" else u.label) for u in people()]
    found = examine(spoken, splits.make(spoken, "loso"))
    (gap,) = of(found, "label")
    assert "angry is missing from the test part of session-2" in gap.examples


def test_a_recording_on_both_sides_leaks_and_quarrelling_labels_are_counted(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000)
    for name, sound in (("a", wave), ("b", wave), ("c", wave[::-1])):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16000)
    spoken = [
        Utterance(n, str(tmp_path / f"{n}.wav"), speaker=n, label=label)
        for n, label in (("a", "sad"), ("b", "angry"), ("c", "sad"))
    ]
    split = Split("kfold-speaker", (Fold("f", ("a",), ("c",), ("b",)),))
    (leak,) = examine(spoken, split).leaks
    assert leak.says == "1 group of identical audio, 1 in two parts of a fold, 1 with different labels"
    assert leak.examples == ("a = b",)


@pytest.mark.parametrize(("seconds", "warned"), [(0.2, False), (0.7, True)])
def test_silence_around_the_sound_of_most_recordings_is_named(
    tmp_path: Path, seconds: float, warned: bool
) -> None:
    still = np.zeros(int(16000 * seconds))
    for seed in range(3):
        wave = np.random.default_rng(seed).normal(0, 0.1, 16000)
        soundfile.write(tmp_path / f"{seed}.wav", np.concatenate([still, wave, still]), 16000)
    spoken = [Utterance(p.stem, str(p), speaker=p.stem, label="sad") for p in sorted(tmp_path.iterdir())]
    found = [f.says[:33] for f in of(examine(spoken), "silence")]
    assert found == ["half of the recordings hold 1.4 s"] * warned


def test_findings_are_plain_json_and_one_line_each() -> None:
    found = examine(people(), splits.make(people(), "loso"))
    assert found.plain()["findings"][0]["kind"] == "text"
    assert all("\n" not in line for line in found.lines)


@real
def test_ravdess_holds_one_identical_pair_and_no_other() -> None:
    folder = Path(DATA or "") / "ravdess"
    spoken = [
        Utterance(p.stem, str(p), speaker=p.parent.name) for p in sorted(folder.glob("Actor_0[1-7]/*.flac"))
    ]
    assert spoken
    (found,) = of(examine(spoken, splits.make(spoken, "lospo"), jobs=2), "audio")
    assert found.examples == ("03-01-03-01-02-01-07 = 03-01-03-01-02-02-07",)
    assert found.numbers == {"groups": 1, "crossing": 0, "different_labels": 0}


@real
def test_goemotions_repeats_sentences_of_its_training_part() -> None:
    dev, train = (_sentences(Path(DATA or "") / "goemotions" / f"{side}.tsv") for side in ("dev", "train"))
    repeated = set(dev) & set(train)
    assert len(repeated) > 40
    spoken = [
        Utterance(f"{side}{i}", "", text=text, speaker=f"{side}{i % 2}", extra={"split": side})
        for side, texts in (("train", [*repeated, *train[:3000]]), ("test", dev))
        for i, text in enumerate(texts)
    ]
    (found,) = of(examine(spoken, splits.make(spoken, "fixed"), recordings=False), "text")
    long = [text for text in dev if text in repeated and len(same_words(text).split()) >= 4]
    assert found.numbers["verbatim"] >= len(long) > 5
    assert found.numbers["near"] > found.numbers["exact"] >= found.numbers["verbatim"]


def _sentences(path: Path) -> list[str]:
    return [line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()]
