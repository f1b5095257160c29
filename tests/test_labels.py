"""Label sets: complete, in one order, and deaf to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertone.errors import LabelError
from undertone.labels import CLASSES, LABEL_SETS, LabelSet, in_order, label_set
from undertone.labels.published import PUBLISHED, corpus_name, recalled, trained_on
from undertone.labels.synonyms import SYNONYMS, meaning

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


# ---- other people's classes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("ang", "angry"),
        ("ANGER", "angry"),
        ("Wut", "angry"),
        ("wütend", "angry"),
        ("WUETEND", "angry"),
        ("злость", "angry"),
        ("愤怒", "angry"),
        ("joy", "happy"),
        ("Radość", "happy"),
        ("alegría", "happy"),
        ("alegria", "happy"),
        ("tristesse", "sad"),
        ("neutrality", "neutral"),
        ("06_fearful", "fearful"),
        ("female_disgust", "disgusted"),
        ("pleasant_surprise", "surprised"),
        ("Langeweile", "bored"),
        ("others", "other"),
        ("LABEL_2", None),
        ("annoyance", None),
        ("happy_sad", None),
    ],
)
def test_a_class_is_known_in_many_spellings(name: str, ours: str | None) -> None:
    assert meaning(name) == ours


def test_the_table_gives_no_word_two_meanings() -> None:
    from undertone.labels.synonyms import _plain

    words: dict[str, str] = {}
    for ours, names in SYNONYMS.items():
        assert ours in (*CLASSES, "other")
        for name in names.split():
            assert words.setdefault(_plain(name), ours) == ours, name
    assert len(words) > 300


def test_every_public_model_states_its_side_licence_classes_and_corpora() -> None:
    assert len(PUBLISHED) > 15
    for name, one in PUBLISHED.items():
        assert name.count("/") == 1
        assert one.licence
        assert one.classes
        assert one.trained == tuple(corpus_name(corpus) for corpus in one.trained)
        assert one.usable or one.note, f"{name}: why it cannot be used is stated"


def test_a_corpus_is_known_however_it_is_spelled() -> None:
    assert recalled({"x": ("goemotions",)}, "go_emotions") == [
        "x was trained on goemotions, so its scores on go_emotions show recall, not recognition"
    ]
    assert recalled({"x": ("meld",)}, "EmoryNLP")
    assert recalled({"x": ("ravdess",)}, "emodb") == []
    assert trained_on("superb/hubert-base-superb-er", ["narad/ravdess"]) == ("iemocap", "ravdess")
