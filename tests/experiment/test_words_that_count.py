"""On the demo corpus, is the word that an explanation names the one that the decision hangs on?"""

from pathlib import Path

import numpy as np
import pytest

from undertone import manifest as manifests
from undertone.experiment.demo import demo_recipes
from undertone.experiment.examples import examples
from undertone.experiment.material import open_material
from undertone.experiment.prepare import prepare
from undertone.experiment.single import train_one
from undertone.features.subword import Subword
from undertone.models import folder as models
from undertone.models.batch import collate
from undertone.models.explain import explain
from undertone.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a corpus is spoken, two systems are trained


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    prepare("demo", folder / "audio", folder / "corpus.jsonl", options={"size": 500})
    return folder


@pytest.mark.parametrize("name", ["concat", "unison"])
def test_deleting_the_top_word_lowers_the_label_more_than_deleting_another(place: Path, name: str) -> None:
    recipe = next(r for r in demo_recipes(place) if r.system == name)
    folder, _ = train_one(recipe, place / "runs", Store(place / "store"))
    loaded = models.load(folder)
    material = open_material(folder.parents[1], recipe.manifest, everything=False)
    tested = next(f for f in material.split.folds if f.name == folder.parent.name).test
    # what carries the emotion is a word: in the others no word should count
    told = [u for u in manifests.read(recipe.manifest).resolved() if u.id in tested]
    told = [u for u in told if u.extra["kind"] in ("words", "both", "stress")]
    assert loaded.tokenizer is not None
    made = examples(material, recipe, told, Subword.load(loaded.tokenizer))
    batch = collate(made, loaded.dimensions)
    named = explain(loaded.system, batch, batch.labels, "gradient").word.numpy()
    lost = explain(loaded.system, batch, batch.labels, "deletion").word.numpy()
    counts = batch.segments["word"].lengths.numpy()
    top, others = [], []
    for row, count in enumerate(counts):
        best = int(named[row, :count].argmax())
        top.append(lost[row, best])
        others.append(np.delete(lost[row, :count], best).mean())
    gained = np.array(top) - np.array(others)
    error = gained.std() / np.sqrt(len(gained))
    assert gained.mean() > 4 * error, f"{gained.mean():.3f} ± {error:.3f} nats over {len(gained)} utterances"
    assert np.mean(gained > 0) > 0.7
