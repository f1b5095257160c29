"""On the demo corpus, is the word that an explanation names the one that the decision hangs on?"""

from pathlib import Path

import numpy as np
import pytest

from undertone import manifest as manifests
from undertone.experiment.demo import demo_recipes
from undertone.experiment.material import open_material
from undertone.experiment.prepare import prepare
from undertone.experiment.single import train_one
from undertone.judging.inputs import recording_of
from undertone.judging.networks import load_torch
from undertone.judging.predictor import Predictor
from undertone.store import Store
from undertone.types import Utterance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a corpus is spoken, two systems are trained


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    prepare("demo", folder / "audio", folder / "corpus.jsonl", options={"size": 500})
    return folder


@pytest.mark.parametrize("name", ["concat", "unison"])
def test_the_word_that_is_named_is_the_one_that_was_planted(place: Path, name: str) -> None:
    recipe = next(r for r in demo_recipes(place) if r.system == name)
    folder, _ = train_one(recipe, place / "runs", Store(place / "store"))
    material = open_material(folder.parents[1], recipe.manifest, everything=False)
    tested = next(f for f in material.split.folds if f.name == folder.parent.name).test
    utterances = [u for u in manifests.read(recipe.manifest).resolved() if u.id in tested]
    # one emotion word among blanks: in the other kinds several words count, or none
    utterances = [u for u in utterances if u.extra["kind"] in ("words", "both")]
    predictor = Predictor(load_torch(folder))
    words = [[w.contribution for w in predictor.judge(recording_of(u)).words] for u in utterances]
    named = [int(np.argmax(contributions)) for contributions in words]
    counts = [len(contributions) for contributions in words]
    planted = [_planted(u) for u in utterances]
    share = np.mean(np.array(named) == planted)
    assert share > 0.6, f"{share:.2f} of {len(named)} utterances, at some {np.mean(counts):.0f} words each"


def _planted(utterance: Utterance) -> int:
    """The index of the word that carries emotion."""
    where = zip(utterance.extra["places"], utterance.extra["meanings"], strict=True)
    (place,) = (index for index, meaning in where if meaning != "blank")
    return int(place)
