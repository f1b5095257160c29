"""Every recipe, and every variant that a folder's README tables, resolves and builds its system."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertone.experiment.recipe import load_recipe
from undertone.experiment.single import sizes
from undertone.models.table import SYSTEMS

ROOT = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(path for path in ROOT.glob("*/*.toml") if path.parent.name != "starter")
"""All but the starter's, which is trained on several corpora at once and has a recipe of its own kind."""
ROW = re.compile(r"^\| [^|]+ \| `(?P<who>[^:`]+): (?P<options>[^`]+)` \|$", re.M)


def variants() -> Iterator[tuple[Path, tuple[str, ...]]]:
    for readme in sorted(ROOT.glob("*/README.md")):
        here = {path.stem: path for path in readme.parent.glob("*.toml")}
        for row in ROW.finditer(readme.read_text(encoding="utf-8")):
            options = tuple(shlex.split(row["options"].replace('"', '\\"')))
            for name in chosen(row["who"].split(), here):
                yield here[name], options


def chosen(words: list[str], here: dict[str, Path]) -> list[str]:
    """``all`` | ``all but a b`` | ``a b``; a name that is no recipe is a mistake in the table."""
    named = words[2:] if words[:2] == ["all", "but"] else [] if words == ["all"] else words
    assert set(named) <= set(here), f"no such recipe: {set(named) - set(here)}"
    return [name for name in here if (name in named) != (words[0] == "all")]


PUBLISHED = (
    "multilevel",
    "perspective",
    "mgcma",
    "mmer",
    "pooled",
    "bayesian",
    "timnet",
    "clap",
    "paired",
    "deepser",
)
VARIANTS = list(variants())


def test_recipes_and_variants_were_found() -> None:
    assert len(RECIPES) >= 40 and len(VARIANTS) >= 100
    assert {path.parent.name for path in RECIPES} == {
        "iemocap",
        "meld",
        "ravdess",
        "emodb",
        "demo",
        "transfer",
        "msppodcast",
    }
    for folder in {path.parent for path in RECIPES if path.parent.name != "msppodcast"}:
        assert set(SYSTEMS) - {"compact"} <= {path.stem for path in folder.glob("*.toml")}, folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recipe_is_short_says_its_command_and_builds(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0].startswith(f"# undertone crossval recipes/{path.parent.name}/{path.stem}.toml")
    assert any("time:" in line for line in head) and any("score:" in line for line in head)
    recipe = load_recipe(path)
    assert sizes(recipe).parameters > 100
    for key, value in recipe.differences().items():
        assert key in text, f"{key} = {value} is not said by the file"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recipe_holds_only_differences(path: Path) -> None:
    """Leaving out what equals a default changes nothing, so nothing of that kind may stand there."""
    from undertone.config import load_toml

    def leaves(values: dict[str, object], before: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in values.items():
            found |= leaves(value, f"{before}{key}.") if isinstance(value, dict) else {before + key}
        return found

    assert leaves(load_toml(path)) == leaves(load_recipe(path).differences())


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recipe_states_what_differs_from_its_publication(path: Path) -> None:
    """With the corpus of the publications every recipe does, with others those of published systems."""
    recipe = load_recipe(path)
    if path.parent.name == "iemocap" or recipe.system in PUBLISHED:
        assert recipe.notes and all(len(note) > 10 for note in recipe.notes)


@pytest.mark.parametrize(
    ("path", "options"), VARIANTS, ids=[f"{p.parent.name}/{p.stem} {' '.join(o)}" for p, o in VARIANTS]
)
def test_a_tabled_variant_resolves_and_builds(path: Path, options: tuple[str, ...]) -> None:
    recipe = load_recipe(path, options)
    assert recipe != load_recipe(path), "the variant changes nothing"
    assert sizes(recipe).terms


def test_the_docs_name_of_a_recipe_is_known_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = load_recipe(Path("recipes/transfer/speech.toml"))
    assert there == load_recipe(Path("transfer/speech"))
    own = tmp_path / "recipes" / "transfer" / "speech.toml"
    own.parent.mkdir(parents=True)
    own.write_text('system = "text"\nmanifest = "mine.jsonl"\n')
    assert load_recipe(Path("recipes/transfer/speech.toml")).system == "text", "one's own file goes before"
