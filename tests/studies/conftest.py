"""One starter of tiny settings over a tiny copy of the data, trained in all its parts."""

from __future__ import annotations

import pytest

from studies.starter.recipe import StarterRecipe
from studies.starter.train import Place, train
from trees.starter import write_data

TINY = {
    "hearing": {"encoder": {"name": "acoustic"}, "variants": 1, "sounds": 6},
    "judges": {"networks": 1, "hidden": 8, "axes": 3, "steps": 4, "batch": 8},
    "text": {"width": 8, "top": 1, "epochs": 1, "batch": 16, "validation": 16, "turns": 12},
}
"""Acoustic frames in place of Whisper's: they need no network."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    base = tmp_path_factory.mktemp("starter")
    made = Place(base / "run", write_data(base / "data"), StarterRecipe.parse(TINY))
    train(made)
    return made
