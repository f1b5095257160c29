"""From a run into the distribution: complete, small enough, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from studies.starter.assess import pack as packing
from studies.starter.assess.pack import pack
from undertone.errors import ConfigError, DataError, ModelError


@pytest.fixture
def box(tmp_path: Path) -> Path:
    package = tmp_path / "undertone-starter"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nversion = "3.2.1"\nlicense = "CC-BY-NC-SA-4.0"\n')
    return package


INSIDE = Path("src/undertone_starter/model")
FIGURE: dict[str, Any] = {
    "group": "within", "what": "EmoDB-4, unseen speakers, UA", "value": 96.123, "low": 95.0, "high": 97.0,
    "n": 266, "bar": 96.0, "at_least": True, "met": True, "more": {"probe": 95.0},
}  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run with a final model, and its figures."""
    values = {
        "figures": [FIGURE, {**FIGURE, "group": "open", "what": "of the other"}],
        "code": "",
        "machine": "",
    }
    page = tmp_path / "run" / "assessment" / "results" / "starter.json"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps(values))
    model = tmp_path / "run" / "final" / "model"
    model.mkdir(parents=True)
    (model / "config.toml").write_text("")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "leftover.part").write_text("not to be shipped")
    training = {"command": "python -m studies.starter train", "seed": 0, "data": {"ravdess": "ab" * 32}}
    card = {"labels": ["angry"], "corpus": "RAVDESS", "training": training}
    (model / "card.json").write_text(json.dumps(card))
    return tmp_path / "run"


def test_the_packed_card_is_complete(box: Path, trained: Path) -> None:
    done = pack(trained, "final", box)
    assert done.folder == box / INSIDE
    assert done.version == "3.2.1"
    about = json.loads((done.folder / "card.json").read_text(encoding="utf-8"))
    assert about["version"] == "3.2.1"
    assert about["licence"] == "CC-BY-NC-SA-4.0"
    assert about["training"]["data"] == {"ravdess": "ab" * 32}
    assert about["figures"] == {"EmoDB-4, unseen speakers, UA": 96.12}
    assert "96.1 (95.0–97.0)" in (done.folder / "README.md").read_text(encoding="utf-8")


def test_only_what_makes_a_model_is_packed_and_what_lay_there_goes(box: Path, trained: Path) -> None:
    (box / INSIDE).mkdir(parents=True)
    (box / INSIDE / "old.bin").write_text("of an earlier model")
    done = pack(trained, "final", box)
    names = sorted(path.name for path in done.folder.iterdir())
    assert names == ["README.md", "card.json", "config.toml", "model.safetensors"]
    assert done.size == sum(path.stat().st_size for path in done.folder.iterdir())


def test_a_model_that_is_too_large_is_refused_and_the_old_one_stays(
    box: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pack(trained, "final", box)
    monkeypatch.setattr(packing, "LARGEST", 100)
    with pytest.raises(ModelError, match="more than the"):
        pack(trained, "final", box)
    assert (before.folder / "card.json").is_file()
    assert [path.name for path in before.folder.parent.iterdir()] == ["model"]


def test_without_figures_or_package_the_message_says_what_is_wanted(box: Path, trained: Path) -> None:
    shutil.rmtree(trained / "assessment")
    with pytest.raises(DataError, match=r"python -m studies\.starter evaluate"):
        pack(trained, "final", box)
    shutil.rmtree(box)
    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        pack(trained, "final", box)


def test_example_clips_are_found_by_the_page_wherever_the_package_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from undertone.serving.server.examples import find_examples

    for place, *_ in packing.EXAMPLES:
        (tmp_path / "data" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / place).write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    packing.add_examples(Path("undertone-starter"), tmp_path / "data")
    moved = Path(shutil.move("undertone-starter", tmp_path / "elsewhere"))
    found = find_examples(moved / "src" / "undertone_starter" / "model")
    assert [example.label for example in found.values()] == ["angry", "sad", "happy"]
    assert all("CC BY" in (example.attribution or "") for example in found.values())
    assert "CC BY-NC-SA" in (moved / "src/undertone_starter/examples/NOTICE").read_text(encoding="utf-8")
