"""The demo's recipes, and (slow) the demo itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from undertone.errors import UsageError
from undertone.experiment.crossval import Crossval
from undertone.experiment.demo import _sources, demo_recipes
from undertone.models.table import SYSTEMS
from undertone.training.jobs import Failure, Job


def test_the_demo_covers_every_system_in_small_sizes() -> None:
    recipes = demo_recipes(Path("runs/demo"))
    names = [recipe.system for recipe in recipes]
    assert names == "probe speech text score concat multilevel perspective mgcma unison".split()
    quick = [recipe.system for recipe in demo_recipes(Path("runs/demo-quick"), quick=True)]
    assert quick == "probe speech text score concat unison".split()
    every = demo_recipes(Path("runs/demo"), systems=["all"])
    assert {recipe.system for recipe in every} == set(SYSTEMS) - {"compact"}  # the starter's
    for recipe in every:
        training = recipe.training
        assert training.epochs / training.batch <= 15 / 8, "no more steps than 15 epochs of batches of 8"
        assert training.patience < training.epochs
        assert getattr(recipe.model, "width", 0) <= 64
        assert recipe.speech.acoustic.hop * recipe.speech.acoustic.stack >= 1 / 50
        assert recipe.notes or recipe.system in ("probe", "speech", "text", "concat", "score")


def test_some_systems_are_named_and_a_wrong_name_is_refused() -> None:
    chosen = demo_recipes(Path("runs/demo"), systems=["unison", "pooled"])
    assert [recipe.system for recipe in chosen] == ["pooled", "unison"]
    with pytest.raises(UsageError, match="no system 'poled': did you mean 'pooled'"):
        demo_recipes(Path("runs/demo"), systems=["poled"])


def test_a_run_without_its_final_model_still_has_its_figures() -> None:
    def failure(run: str, fold: str) -> Failure:
        return Failure(Job(run, fold, 0, Path(), ""), "why")

    done = Crossval((Path("a"), Path("b"), Path("c")), (failure("a", "final"), failure("b", "session-1")))
    assert done.whole == (Path("a"), Path("c"))


@pytest.mark.slow  # two minutes of two cores: the whole story, as users run it
@pytest.mark.timeout(1800)
def test_the_quick_demo_tells_the_whole_story_and_again_from_the_cache(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "undertone", "demo", "--quick"],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "runs/demo-quick/summary.json").read_text())
    assert {"wa", "ua", "ua_interval", "seconds"} <= set(summary["systems"]["unison"])
    assert (tmp_path / "runs/demo-quick/report.html").stat().st_size > 10_000
    assert "unison on" in done.stdout and "report:" in done.stdout
    assert "make the demo corpus" not in done.stderr, "the second time everything is there"


def test_the_files_that_make_the_corpus_decide_whether_it_is_made_again() -> None:
    names = {path.parent.name + "/" + path.name for path in _sources()}
    assert {"demo/corpus.py", "demo/voice.py", "espeak/synthesis.py"} <= names
