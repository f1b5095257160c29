"""GoEmotions in four classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from studies.starter.sentences import MAPPING, Sentence, counts, four, plain, read
from studies.starter.text import evenly
from trees.starter import write_data
from undertone.errors import CorpusError


def test_a_sentence_has_a_class_where_all_its_emotions_are_of_one(tmp_path: Path) -> None:
    found = read(write_data(tmp_path), "train")
    assert counts(found) == {"angry": 20, "happy": 20, "sad": 20, "neutral": 20, "dropped": 2}
    assert {s.label for s in four(found)} == set(MAPPING)
    assert all(s.label != "happy" or "happy" in s.text for s in four(found))


def test_plain_is_what_a_recogniser_gives() -> None:
    assert plain("WHY [NAME]?! It’s 5 o'clock 😂") == "why name it's 5 o'clock"
    assert plain(plain("Ünïcode, too...")) == plain("Ünïcode, too...")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    root = write_data(tmp_path)
    with (root / "goemotions" / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write("no tabs here\n")
    with pytest.raises(CorpusError, match=r"dev\.tsv:35: text, labels and id"):
        read(root, "dev")
    with pytest.raises(CorpusError, match="no such file"):
        read(tmp_path / "elsewhere", "dev")


def test_the_real_sentences_are_as_many_as_published(real_data: Path) -> None:
    assert len(read(real_data, "train")) == 43_410
    assert counts(read(real_data, "dev")) == {
        "angry": 319, "happy": 575, "sad": 242, "neutral": 1592, "dropped": 2698,
    }  # fmt: skip


def test_turns_are_drawn_evenly_and_all_of_a_rare_class_before_any_twice() -> None:
    rows = [Sentence(str(n), "", (), "sad" if n < 3 else "happy") for n in range(20)]
    drawn = evenly(rows, 7, seed=0)
    assert Counter(row.label for row in drawn) == {"happy": 7, "sad": 7}
    assert sorted(Counter(row.id for row in drawn if row.label == "sad").values()) == [2, 2, 3]
    assert len({row.id for row in drawn if row.label == "happy"}) == 7
    assert drawn == evenly(rows, 7, seed=0) != evenly(rows, 7, seed=1)
