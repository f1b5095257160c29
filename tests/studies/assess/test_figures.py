"""What is measured of a starter, and the pages of it: by models whose answers are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from studies.starter import clips as recordings
from studies.starter.__main__ import app
from studies.starter.assess import judged, rivals
from studies.starter.assess.figures import figures
from studies.starter.assess.pages import card, results, write_pages
from studies.starter.targets import class_of
from studies.starter.train import Place
from undertone import audio
from undertone.errors import ConfigError
from undertone.judging.predictor import load


@pytest.fixture(scope="module")
def values(place: Place) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judged, "SOUNDS", 2)
        patch.setattr("studies.starter.assess.figures.PAIRINGS", 2)
        patch.setattr("studies.starter.assess.figures._recognised", list)
        return figures(place, lambda _: None)


def test_every_bar_has_its_line(values: dict[str, Any]) -> None:
    by_name = {figure["what"]: figure for figure in values["figures"]}
    for corpus in ("RAVDESS-4", "EmoDB-4", "nEMO-4"):
        within = by_name[f"{corpus}, unseen speakers, UA"]
        assert {"probe", "svm", "recalls"} <= within["more"].keys()
        left = by_name[f"{corpus}, corpus left out, UA"]
        gap = by_name[f"{corpus}, left out, over the probe"]
        assert gap["value"] == pytest.approx(left["value"] - left["more"]["probe"], abs=1e-6)
    for figure in values["figures"]:
        if figure["bar"] is not None:
            over = figure["value"] >= figure["bar"]
            assert figure["met"] == (over if figure["at_least"] else figure["value"] <= figure["bar"])


def test_an_answer_from_pooled_regions_is_the_predictors(place: Place) -> None:
    known = recordings.read(place.data)
    chosen = [0, 40, 50]
    model = load(place.part("final") / "model")
    for answer, index in zip(judged.of_clips(place, "final", known, chosen), chosen, strict=True):
        found = model.predict(audio.load(known[index].path), explain=False)
        assert answer.posterior == pytest.approx([*found.probabilities.values()], abs=2e-3)
        assert answer.distance == pytest.approx(found.extra["distance"]["speech"], rel=2e-2)


def test_answers_are_asked_for_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    known = recordings.read(place.data)
    first = judged.of_worse(place, "final", "noise", known, [0, 1])
    monkeypatch.setattr("studies.starter.assess.judged._opened", lambda _: pytest.fail("asked again"))
    assert judged.of_worse(place, "final", "noise", known, [0, 1]) == first


@pytest.mark.parametrize("kind", ["probe", "svm"])
def test_a_rival_learns_what_is_planted_and_only_from_its_part(
    place: Place, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = recordings.read(place.data)
    labels = np.array([max(0, class_of(clip)) for clip in known])
    rows = np.eye(4, dtype=np.float32)[labels] + 0.01 * np.random.default_rng(0).normal(size=(len(known), 4))
    learned = [i for i, clip in enumerate(known) if clip.corpus == "ravdess"]
    tested = [i for i, clip in enumerate(known) if clip.corpus == "emodb"]
    asked = (place, kind, rows.astype(np.float32), known, learned, tested)
    assert (rivals.predicted(*asked) == labels[tested]).all()
    monkeypatch.delattr(rivals, "_predicted")  # the second time it is read from the run
    assert (rivals.predicted(*asked) == labels[tested]).all()
    with pytest.raises(NameError):  # other clips are another question
        rivals.predicted(*asked[:-1], tested[1:])


def test_pages_show_figures_bars_and_rivals(values: dict[str, Any], tmp_path: Path) -> None:
    write_pages(values, tmp_path)
    assert json.loads((tmp_path / "results" / "starter.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(values)
    )
    for page in (card(values), results(values)):
        assert "EmoDB-4, corpus left out, UA" in page and "eGeMAPS + SVM" in page
    assert "starter-open" in card(values, "starter-open").splitlines()[0]


def test_the_pages_on_disk_are_written_from_their_figures(request: pytest.FixtureRequest) -> None:
    docs = request.config.rootpath / "docs"
    shown = json.loads((docs / "results" / "starter.json").read_text(encoding="utf-8"))
    assert (docs / "model-card.md").read_text(encoding="utf-8") == card(shown)
    assert (docs / "results" / "starter.md").read_text(encoding="utf-8") == results(shown)


def test_the_commands_need_the_recordings_and_say_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERTONE_DATA", raising=False)
    done = _run("evaluate", str(place.run))
    assert isinstance(done.exception, ConfigError) and "UNDERTONE_DATA" in str(done.exception)


def _run(*words: str) -> Any:
    return CliRunner().invoke(app, words)
