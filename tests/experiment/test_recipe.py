from pathlib import Path

import pytest

from undertone.config import dump_toml
from undertone.errors import ConfigError
from undertone.experiment.recipe import load_recipe, parse_recipe
from undertone.models.mgcma import MgcmaConfig

BARE = {"system": "mgcma", "manifest": "m.jsonl"}


def test_the_model_table_is_of_the_systems_own_class() -> None:
    recipe = parse_recipe(BARE | {"model": {"width": 32}})
    assert isinstance(recipe.model, MgcmaConfig) and recipe.model.width == 32
    assert recipe.plain()["model"]["distribution"] == MgcmaConfig().distribution


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": {"widht": 3}}, r"\[model\]: unknown key 'widht': did you mean 'width'"),
        ({"trainig": {}}, "unknown key 'trainig': did you mean 'training'"),
        (
            {"speech": {"acoustic": {"hopp": 1}}},
            "hopp': did you mean 'speech.acoustic.hop'",
        ),
        ({"system": "mgcm"}, "no system 'mgcm': did you mean 'mgcma'"),
        ({"protocol": {"refit": True, "selection": "test"}}, "exclude each other"),
        (
            {"speech": {"name": "whisper-base", "layer": "2-3", "tune": "top-k"}},
            "to tune, 'weighted', 'last' or",
        ),
        ({"protocol": {"context_turns": "all"}}, "needs protocol.level = .dialogue."),
    ],
)
def test_what_is_unknown_or_contradictory_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe({**BARE, **values}, "r.toml")


def test_a_dialogue_recipe_needs_vectors_and_a_system_that_knows_dialogues() -> None:
    dialogue = {"protocol": {"level": "dialogue"}}
    with pytest.raises(ConfigError, match="vectors"):
        parse_recipe({"system": "perspective", "manifest": "m", "model": {"level": "dialogue"}, **dialogue})
    with pytest.raises(ConfigError, match="differ"):
        parse_recipe({**BARE, **dialogue, "text": {"name": "bert"}})


def test_differences_say_the_whole_recipe(tmp_path: Path) -> None:
    recipe = parse_recipe(BARE | {"model": {"width": 32}, "training": {"rate": 0.5}, "notes": ["small"]})
    said = recipe.differences()
    assert said["model"] == {"width": 32} and said["training"] == {"rate": 0.5}
    path = tmp_path / "again.toml"
    path.write_text(dump_toml(said))
    assert load_recipe(path) == recipe


def test_overrides_are_laid_over_and_the_mark_follows() -> None:
    recipe = parse_recipe(BARE)
    wider = recipe.but(["model.width=64"])
    assert wider.model.width == 64  # type: ignore[attr-defined]
    assert recipe.mark() != wider.mark()
    assert recipe.mark() == recipe.but(["protocol.seeds=5", "name=other", "manifest=elsewhere.jsonl"]).mark()
