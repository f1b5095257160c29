"""Further targets of an utterance: its characters, its speaker, and their gender where it is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted import corpus, planned, recipe

from undertone.experiment.examples import fold_data, targets_of
from undertone.experiment.material import open_material
from undertone.models.characters import spelled
from undertone.types import Utterance


def _utterance(**more: object) -> Utterance:
    return Utterance("a", "a.wav", text="So it is", **more)  # type: ignore[arg-type]


def test_targets_are_those_that_are_known() -> None:
    names = ("characters", "gender", "speaker")
    known = targets_of(_utterance(speaker="Ses01F"), names)
    assert known["characters"].tolist() == spelled("so it is").tolist()
    assert known.keys() == set(names)
    assert targets_of(_utterance(), names).keys() == {"characters"}
    assert targets_of(_utterance(speaker="03"), names).keys() == {"characters", "speaker"}
    assert targets_of(_utterance(speaker="Ses01F"), ()) == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1F", "Ses05_F", True), ("1F", "1M", False)],
)
def test_gender_is_the_last_letter_of_the_speaker(one: str, other: str, same: bool) -> None:
    first, second = (targets_of(_utterance(speaker=s), ("gender",))["gender"] for s in (one, other))
    assert (first == second).all() == same


def test_a_stated_gender_counts_before_the_speakers_name() -> None:
    stated = targets_of(_utterance(speaker="1F", extra={"gender": "male"}), ("gender",))
    assert (stated["gender"] == targets_of(_utterance(speaker="1M"), ("gender",))["gender"]).all()


def test_a_system_gets_the_targets_that_its_settings_want(tmp_path: Path) -> None:
    made = recipe(corpus(tmp_path), "mmer")
    for settings, names in (([], {"characters"}), (["model.ctc=0"], set())):
        chosen = made.but(settings)
        folder = planned(tmp_path, chosen).folder
        material = open_material(folder, chosen.manifest, everything=False)
        train = fold_data(material, chosen, material.split.folds[0].name).train
        assert all(e.targets.keys() == names for e in train.examples)
        assert set(train.batch(np.array([0, 1])).targets) == names
