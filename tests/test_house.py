"""The house as a whole: its rooms, its size, its words, and what every module has."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from undertone.cli.about import EXTRAS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "undertone"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAME = {"__init__", "__main__", "py"}
MOST_FILES, MOST_LINES, LONGEST = 303, 48_320, 400
"""The house redrawn had 225 files and 30,039 lines; recordings, server and later systems come on top, and
what was added stands in the changelog."""
FORBIDDEN = frozenset({"heard", "hears", "said", "told", "gone", "estranged", "hushed", "asked"})
"""Words that are not used for code, tensors and models; CONTRIBUTING names what to write instead."""
FORBIDDEN_NAMES = FORBIDDEN | {"found"}
GLOSSARY = (
    "utterance", "recording", "clip", "transcript", "tier", "segment", "token", "frame", "modality", "side",
    "part", "split", "fold", "recipe", "run", "job", "system", "member", "head", "encoder", "feature",
    "functionals", "logits", "posterior", "mask", "perspective", "prediction", "timeline", "cell", "window",
    "region", "manifest", "store", "identity", "fingerprint", "card", "model folder", "study", "search",
    "tuning",
)  # fmt: skip


def _rooms() -> set[str]:
    return {p.stem for p in SRC.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - FRAME


def _layers() -> list[str]:
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    return [name.strip() for layer in contract["layers"] for name in layer.split("|")]


@cache
def _sources() -> dict[str, str]:
    return {p.relative_to(SRC).as_posix(): p.read_text(encoding="utf-8") for p in sorted(SRC.rglob("*.py"))}


def test_the_contracts_name_exactly_the_rooms_on_disk() -> None:
    layers = _layers()
    assert sorted(layers) == sorted(_rooms())


def test_the_architecture_page_has_every_room_and_the_same_layers() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    stated = re.findall(r"`(cli > [^`]*)`", page)
    assert len(stated) == 1
    layers = [{name.strip() for name in layer.split("|")} for layer in stated[0].split(">")]
    assert layers == [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]
    drawing = page.partition("## The rooms")[2].partition("## ")[0]
    assert not {room for room in _rooms() if not re.search(rf"\b{room}\b", drawing)}


def test_the_package_stays_small() -> None:
    sources = _sources()
    assert len(sources) <= MOST_FILES
    assert sum(len(text.splitlines()) for text in sources.values()) <= MOST_LINES


def test_no_public_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for name, text in _sources().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert len(places) > 100
    assert not {name: files for name, files in places.items() if len(files) > 1}


def words_of(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line, word and whether it is a whole name, of names, comments and strings; names are split too."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string.strip("_"), True
            for word in token.string.split("_"):
                yield token.start[0], word.lower(), False
        elif tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            for row, line in enumerate(token.string.splitlines(), token.start[0]):
                for word in re.split(r"[\W_]+", line.lower()):
                    yield row, word, False


def test_words_are_read_from_names_comments_and_strings() -> None:
    code = 'not_heard = f"they {asked} said" # gone\nfound = "not found"\n'
    lines = [
        (row, word) for row, word, name in words_of(code) if word in (FORBIDDEN_NAMES if name else FORBIDDEN)
    ]
    assert sorted(set(lines)) == [(1, "asked"), (1, "gone"), (1, "heard"), (1, "said"), (2, "found")]


def test_no_forbidden_words() -> None:
    bad = [
        f"{name}:{row}: {word}"
        for name, text in _sources().items()
        for row, word, whole_name in words_of(text)
        if word in (FORBIDDEN_NAMES if whole_name else FORBIDDEN)
    ]
    assert not bad, "\n".join(dict.fromkeys(bad))


def _table(heading: str) -> list[tuple[str, str]]:
    """The rows of the first table after a heading of CONTRIBUTING, without its first two lines."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(heading)[2]
    rows = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert rows
    cells = [row.strip("| ").split(" | ") for row in rows.group().splitlines()[2:]]
    return [(left, right) for left, right in cells]


def test_the_glossary_gives_each_word_one_meaning() -> None:
    rows = _table("\n## Words\n")
    words = [word for word, _ in rows]
    assert words == sorted(set(words))
    assert set(GLOSSARY) <= set(words)
    assert all(20 < len(meaning) < 160 for _, meaning in rows)
    assert len({meaning for _, meaning in rows}) == len(rows)
    used = " ".join(_sources().values()).lower()
    assert not [word for word in words if word not in used and word not in ("model folder", "study")]


def test_the_words_that_are_not_used_are_listed_with_what_to_write() -> None:
    listed = " ".join(left for left, _ in _table("\nWords we do not use"))
    assert not {word for word in FORBIDDEN_NAMES if not re.search(rf"\b{word}\b", listed)}


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda p: p.relative_to(SRC).as_posix())
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_extra_is_known_to_doctor() -> None:
    declared = set(PYPROJECT["project"]["optional-dependencies"]) - {
        "dev",
        "browser",
        "docs",
        "oracles",
        "all",
    }
    assert declared == set(EXTRAS)


def test_an_extra_named_in_the_code_exists() -> None:
    named = set()
    for text in _sources().values():
        named |= set(re.findall(r'MissingExtra\(\s*(?:f?"[^"]*"|\w+),\s*"(\w+)"', text))
    assert named
    assert named <= set(PYPROJECT["project"]["optional-dependencies"])


def test_constraints_pin_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.split("==", line)[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = PYPROJECT["project"]["optional-dependencies"]
    tested = [r for name, rs in extras.items() if name not in {"track", "all"} for r in rs]
    for requirement in PYPROJECT["project"]["dependencies"] + tested:
        name = re.split(r"[\[<>=~ ]", requirement)[0].lower()
        assert name in pinned or name.startswith("undertone"), f"no exact version of {requirement}"
    assert not any("+" in line.split("#")[0] or "://" in line for line in lines)


def test_no_file_is_larger_than_one_idea() -> None:
    lengths = {name: len(text.splitlines()) for name, text in _sources().items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


def test_nothing_unpickles() -> None:
    pattern = re.compile(r"\bpickle\.load|torch\.load\(|joblib\.load|allow_pickle=True")
    assert not [name for name, text in _sources().items() if pattern.search(text)]


def test_the_package_builds_from_what_git_tracks() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, SRC.rglob("*.py"))], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert ignored.returncode == 1, f"ignored sources: {ignored.stdout}"
