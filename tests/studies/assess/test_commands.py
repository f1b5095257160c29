"""``python -m studies.starter evaluate`` and ``pack`` as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from studies.starter.__main__ import app
from studies.starter.assess.pages import CARD, METRICS, RESULTS
from studies.starter.assess.run import assess
from studies.starter.build import card, save, system
from studies.starter.recipe import StarterRecipe
from trees.oracle import Oracle
from undertone.errors import ConfigError
from undertone.features.subword import Subword


@pytest.fixture(scope="module")
def starter() -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(app, [*map(str, words)])


def test_without_the_recordings_the_message_says_how_to_name_them(
    starter: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERTONE_DATA", raising=False)
    done = starter("evaluate", run)
    assert isinstance(done.exception, ConfigError)
    assert "UNDERTONE_DATA" in str(done.exception)


def test_an_unknown_condition_is_refused_with_those_there_are(starter: Any, run: Path, data: Path) -> None:
    done = starter("evaluate", run, "--data", data, "--only", "underwater")
    assert isinstance(done.exception, ConfigError)
    assert "telephone" in str(done.exception)


def test_evaluating_writes_figures_card_and_page(
    starter: Any, run: Path, data: Path, tmp_path: Path, oracle: Oracle
) -> None:
    docs, out = tmp_path / "docs", tmp_path / "out"
    done = starter("evaluate", run, "--data", data, "-o", out, "--pages", docs)
    assert done.exit_code == 0, done.output
    assert "RAVDESS, 4 classes, UA" in done.stdout
    for page in (CARD, METRICS, RESULTS):
        assert (docs / page).read_bytes() == (out / page).read_bytes()


def test_several_processes_predict_the_same(run: Path, data: Path, tmp_path: Path) -> None:
    own = Path(copytree(run, tmp_path / "run"))
    recipe = StarterRecipe.parse({"acoustic": {"stack": 2, "mels": 16}, "judges": {"hidden": 8, "axes": 3}})
    pieces = Subword.fit(["what a wonderful happy day", "the meeting starts at nine"], 60)
    for fold in ("fold-0", "fold-1"):
        save(own / fold / "model", system(recipe, pieces.size).eval(), pieces, card(recipe, {}))
    for jobs in (1, 2):
        assess(own, data, tmp_path / str(jobs), conditions=["clean", "raw"], jobs=jobs)
    for name in ("fold-0/raw", "fold-1/clean"):
        alone, beside = (tmp_path / jobs / "scores" / f"{name}.jsonl" for jobs in ("1", "2"))
        assert alone.read_text(encoding="utf-8") == beside.read_text(encoding="utf-8")


def test_a_real_model_is_asked_through_its_public_face(
    starter: Any, data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command hands to a model is the sound and the words, nothing that gives the answer away."""
    from undertone.judging.fakes import FakeModel

    heard: list[Any] = []

    class Listening(FakeModel):
        def predict(self, clips: Any, explain: bool = False) -> Any:
            heard.extend(clips)
            return super().predict(clips, explain)

    monkeypatch.setattr("studies.starter.assess.scores.load_model", lambda path: Listening())
    done = starter("evaluate", run, "--data", data, "-o", tmp_path, "--only", "pairs")
    assert done.exit_code == 0, done.output
    assert len(heard) == 360
    assert all(clip.wave is not None and clip.text for clip in heard)
    assert {field for clip in heard for field in vars(clip)} == {"id", "wave", "words"}


def test_packing_needs_a_final_model(starter: Any, run: Path) -> None:
    done = starter("pack", run)
    assert done.exit_code == 1
    assert "final" in str(done.exception)


def test_packing_says_version_and_size(
    starter: Any, assessed: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    model = tmp_path / "run" / "final" / "model"
    model.mkdir(parents=True)
    (model / "card.json").write_text('{"labels": ["sad"]}')
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\nlicense = "CC-BY-NC-SA-4.0"\n')
    done = starter("pack", tmp_path / "run", "--package", tmp_path, "--assessment", assessed[1])
    assert "version 1.2.3" in done.stdout
    packed = tmp_path / "src" / "undertone_starter" / "model" / "card.json"
    assert json.loads(packed.read_text(encoding="utf-8"))["version"] == "1.2.3"
