import sys
from pathlib import Path

import pytest

from undertone.errors import ConfigError, MissingExtra
from undertone.training.search import Range, parse_range, search


@pytest.mark.parametrize("text", ["rate", "rate=", "rate=3..1", "rate=a..b", "=1..2"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="neither"):
        parse_range(text)


def test_whole_ends_make_a_whole_range() -> None:
    assert parse_range("model.width=8..64") == Range("model.width", low=8, high=64, whole=True)


def test_the_planted_best_is_found_and_a_second_search_goes_on(tmp_path: Path) -> None:
    tried: list[float] = []

    def attempt(values, report):  # type: ignore[no-untyped-def]
        tried.append(values["x"])
        return -abs(values["x"] - 3.0) - (0.0 if values["kind"] == "b" else 1.0)

    ranges = [parse_range("x=0.0..4.0"), parse_range("kind=a,b")]
    found = search(ranges, attempt, trials=25, study=tmp_path / "s.journal")
    assert found.values["kind"] == "b" and abs(found.values["x"] - 3.0) < 0.6 and found.trials == 25
    again = search(ranges, attempt, trials=26, study=tmp_path / "s.journal")
    assert len(tried) == 26 and again.score >= found.score


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"the extra .search.: pip install"):
        search([], lambda v, r: 0.0, trials=1, study=tmp_path / "s")
