"""The house as a whole: contracts name the rooms on disk, modules say what they are, extras are complete."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from undertone.cli.about import EXTRAS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "undertone"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAME = {"__init__", "__main__", "py"}


def _rooms() -> set[str]:
    return {p.stem for p in SRC.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - FRAME


def _layers() -> list[str]:
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    return [name.strip() for layer in contract["layers"] for name in layer.split("|")]


def test_the_contracts_name_exactly_the_rooms_on_disk() -> None:
    built = {name for name in _layers() if not name.startswith("(")}
    assert built == _rooms()
    assert not {name.strip("()") for name in _layers() if name.startswith("(")} & _rooms()


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda p: p.relative_to(SRC).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_extra_is_known_to_doctor() -> None:
    declared = set(PYPROJECT["project"]["optional-dependencies"]) - {"dev", "browser", "all"}
    assert declared == set(EXTRAS)


def test_an_extra_asked_for_in_the_code_exists() -> None:
    asked = set()
    for path in SRC.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r'MissingExtra\(\s*(?:f?"[^"]*"|\w+),\s*"(\w+)"', text))
    assert asked
    assert asked <= set(PYPROJECT["project"]["optional-dependencies"])


def test_constraints_pin_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.split("==", line)[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = PYPROJECT["project"]["optional-dependencies"]
    tested = [r for name, rs in extras.items() if name not in {"track", "all"} for r in rs]
    for requirement in PYPROJECT["project"]["dependencies"] + tested:
        name = re.split(r"[\[<>=~ ]", requirement)[0].lower()
        assert name in pinned | {"undertone"}, f"{requirement} has no exact version in constraints.txt"
    assert not any("+" in line.split("#")[0] or "://" in line for line in lines)


def test_no_file_is_larger_than_one_idea() -> None:
    long = {p.name: n for p in SRC.rglob("*.py") if (n := len(p.read_text("utf-8").splitlines())) > 400}
    assert not long


def test_nothing_unpickles() -> None:
    pattern = re.compile(r"\bpickle\.load|torch\.load\(|joblib\.load|allow_pickle=True")
    found = [p.name for p in SRC.rglob("*.py") if pattern.search(p.read_text(encoding="utf-8"))]
    assert not found


def test_the_package_builds_from_what_git_tracks() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, SRC.rglob("*.py"))], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert ignored.returncode == 1, f"ignored sources: {ignored.stdout}"
