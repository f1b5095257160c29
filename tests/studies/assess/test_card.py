"""What people read agrees with what was measured: the card, the results page, and what is shipped."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from studies.starter.assess.card import card
from studies.starter.assess.pages import CARD, METRICS, RESULTS, results, write_pages
from studies.starter.assess.words import bar_rows, spread

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
BOX = ROOT / "packages" / "undertone-starter"
MODEL = BOX / "src" / "undertone_starter" / "model"


@pytest.fixture
def committed() -> dict[str, Any]:
    """The figures of the model that is shipped."""
    if not (DOCS / METRICS).is_file():
        pytest.skip(f"{METRICS} is not there: `python -m studies.starter evaluate --pages docs` writes it")
    figures: dict[str, Any] = json.loads((DOCS / METRICS).read_text(encoding="utf-8"))
    return figures


def test_the_card_says_what_the_figures_say(assessed: tuple[dict[str, Any], Path]) -> None:
    figures, _ = assessed
    text = card(figures)
    assert spread(figures["speech"]["emodb"]["noise"]) in text
    assert f"**Licence of the weights: {'CC-BY-NC-SA-4.0'}**" in text
    for heading in ("Intended use", "What it was trained on", "Where it fails", "What it was built to reach"):
        assert f"## {heading}" in text
    assert text.count("\n## ") == 4


def test_every_figure_moves_the_card(assessed: tuple[dict[str, Any], Path]) -> None:
    """Change any score anywhere in the figures, and the page changes with it."""
    figures, _ = assessed
    before = card(figures)
    for path in (
        ("speech", "ravdess", "gain"),
        ("speech", "emodb", "second"),
        ("speech", "ravdess8"),
        ("breakdown", "sex", "f"),
        ("breakdown", "language", "German"),
        ("text", "plain", "macro_f1"),
        ("pairs", "product"),
        ("pairs", "by_corpus", "emodb", "fused"),
        ("abstention", "abstained", "music"),
        ("abstention", "timit", "neutral_or_abstained"),
    ):
        changed = json.loads(json.dumps(figures))
        inner = changed
        for name in path:
            inner = inner[name]
        inner["low"] = 0.01234
        assert card(changed) != before, path


def test_the_card_says_where_training_departed_from_its_command(committed: dict[str, Any]) -> None:
    training = committed["model"]["training"]
    note = training.get("note", "")
    assert note in card(committed)
    departed = {"command": "python -m studies.starter train", "note": "One part is of another day."}
    told = card(committed | {"model": committed["model"] | {"training": departed}})
    assert "One part is of another day." in told and (not note or note not in told)


def test_what_is_not_reached_is_said(assessed: tuple[dict[str, Any], Path]) -> None:
    figures, _ = assessed
    missed = [row[0] for row in bar_rows(figures["bars"]) if row[3] == "no"]
    assert missed
    for page in (card(figures), results(figures)):
        assert page.count("**no**") == len(missed)
    assert f"{len(figures['bars']) - len(missed)} of {len(figures['bars'])} figures" in results(figures)


def test_all_pages_are_written_at_once(assessed: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    figures, _ = assessed
    write_pages(figures, tmp_path)
    assert (tmp_path / CARD).read_text(encoding="utf-8") == card(figures)
    assert json.loads((tmp_path / METRICS).read_text(encoding="utf-8"))["bars"] == figures["bars"]


def test_no_line_of_prose_is_too_wide(assessed: tuple[dict[str, Any], Path]) -> None:
    figures, _ = assessed
    for page in (card(figures), results(figures)):
        prose = [line for line in page.splitlines() if not line.startswith(("|", "Machine"))]
        assert max(map(len, prose)) <= 112


def test_the_committed_pages_are_those_of_the_committed_figures(committed: dict[str, Any]) -> None:
    assert (DOCS / CARD).read_text(encoding="utf-8") == card(committed)
    assert (DOCS / RESULTS).read_text(encoding="utf-8") == results(committed)


def test_what_is_shipped_is_what_was_measured(committed: dict[str, Any]) -> None:
    if not (MODEL / "card.json").is_file():
        pytest.skip("no model is packed yet")
    about = json.loads((MODEL / "card.json").read_text(encoding="utf-8"))
    project = tomllib.loads((BOX / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert about["version"] == project["version"]
    assert about["licence"] == project["license"] == "CC-BY-NC-SA-4.0"
    assert about["figures"] == {bar["what"]: round(bar["value"], 4) for bar in committed["bars"]}
    assert "starter train recipes/starter/starter.toml" in about["training"]["command"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", mark) for mark in hashes(about["training"]["data"]))
    assert (MODEL / "README.md").read_text(encoding="utf-8") == card(committed)
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 12_000_000


def hashes(values: Any) -> list[str]:
    return [
        mark for value in values.values() for mark in (hashes(value) if isinstance(value, dict) else [value])
    ]
