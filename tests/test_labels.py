"""Label sets: complete, in one order, and deaf to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertone.errors import LabelError
from undertone.labels import CLASSES, LABEL_SETS, LabelSet, in_order, label_set

TOTALS = {
    "iemocap4": 5531,
    "iemocap4-unmerged": 4490,
    "iemocap5": 7380,
    "iemocap6": 7380,
    "meld7": 13708,
    "ravdess8": 1440,
    "emodb7": 535,
    "cremad6": 7442,
}


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_set_is_in_the_canonical_order_and_maps_onto_its_classes(name: str) -> None:
    chosen = LABEL_SETS[name]
    assert chosen.classes == in_order(chosen.classes)
    assert set(chosen.classes) <= set(CLASSES)
    assert {c for c in chosen.mapping.values() if c is not None} == set(chosen.classes)
    assert chosen.expected is None or tuple(chosen.expected) == chosen.classes


@pytest.mark.parametrize("name", TOTALS)
def test_a_complete_copy_holds_as_many_as_published(name: str) -> None:
    expected = LABEL_SETS[name].expected
    assert expected is not None
    assert sum(expected.values()) == TOTALS[name]


def test_all_sets_of_four_list_them_the_same() -> None:
    four = {s.classes for n, s in LABEL_SETS.items() if "4" in n}
    assert four == {("angry", "happy", "sad", "neutral")}


def test_iemocap_merges_excited_into_happy_only_where_it_says_so() -> None:
    becomes = {n: LABEL_SETS[n].map("exc", "u") for n in LABEL_SETS if n.startswith("iemocap")}
    assert becomes == {
        "iemocap4": "happy", "iemocap4-unmerged": None, "iemocap5": "happy", "iemocap6": "excited",
    }  # fmt: skip
    assert {LABEL_SETS[n].map("xxx", "u") for n in becomes} == {None}


def test_every_iemocap_set_knows_every_iemocap_label() -> None:
    known = {frozenset(s.mapping) for n, s in LABEL_SETS.items() if n.startswith("iemocap")}
    assert known == {frozenset("ang hap sad neu fru exc fea sur dis oth xxx".split())}


def test_a_label_nobody_mapped_is_an_error_that_names_the_utterance() -> None:
    with pytest.raises(LabelError, match=r"clip7: label 'joyful' is not mapped by label set 'meld7'"):
        label_set("meld7").map("joyful", "clip7")


def test_a_class_is_its_own_and_nothing_is_nothing() -> None:
    assert label_set("emodb4").map("angry", "u") == "angry"
    assert label_set("emodb4").map(None, "u") is None


def test_an_unknown_set_says_which_there_are() -> None:
    with pytest.raises(LabelError, match="no label set 'iemocap7': did you mean 'iemocap"):
        label_set("iemocap7")


def test_classes_of_ones_own_follow_by_name() -> None:
    assert in_order(["zest", "neutral", "angry", "awe", "angry"]) == ("angry", "neutral", "awe", "zest")


def test_a_set_of_ones_own_needs_only_a_name_and_a_map() -> None:
    mine = LabelSet("mine", ("yes", "no"), {"y": "yes", "n": "no", "?": None})
    assert [mine.map(label, "u") for label in ("y", "n", "?")] == ["yes", "no", None]


@pytest.mark.parametrize("name", LABEL_SETS)
def test_the_guide_tells_every_set_and_its_size(name: str) -> None:
    guide = Path(__file__).parents[1] / "docs" / "guides" / "corpora.md"
    rows = [line.split("|") for line in guide.read_text("utf-8").splitlines() if line.startswith("| `")]
    (size,) = [cells[3] for cells in rows if len(cells) == 5 and f"`{name}`" in cells[1]]
    expected = LABEL_SETS[name].expected
    assert expected is None or f"{sum(expected.values()):,}" in size
