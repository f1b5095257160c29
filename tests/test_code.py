"""The mark of the code: what is in it, and which edits change it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import undertone
from undertone.code import code_mark, modules_of

RUN = "undertone.experiment.run"
Edit = Callable[[str, str, str], str]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    code_mark.cache_clear()
    yield
    code_mark.cache_clear()


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """The mark of a training's code after a file of the package was edited, in a copy of the sources."""
    source = Path(undertone.__file__).parent
    copy = tmp_path / "undertone"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.js", "*.css", "*.html"))
    monkeypatch.setattr(undertone, "__path__", [str(copy)])

    def edit(file: str, old: str, new: str) -> str:
        text = (source / file).read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        code_mark.cache_clear()
        mark = code_mark(RUN)
        (copy / file).write_text(text, encoding="utf-8")
        code_mark.cache_clear()
        return mark

    return edit


def test_what_decides_a_training_is_in_its_code_and_nothing_else() -> None:
    modules = set(modules_of(RUN))
    rooms = {name.split(".")[1] for name in modules}
    assert {"audio", "features", "models", "training", "experiment", "splits"} <= rooms
    inside = {"experiment.networks", "experiment.finish", "audio.reading", "evaluation.metrics", "labels"}
    assert {f"undertone.{name}" for name in inside} <= modules
    assert not rooms & {"cli", "serving", "scale", "judging", "corpora", "alignment", "audit"}
    assert {name for name in modules if ".evaluation." in name} == {"undertone.evaluation.metrics"}
    assert "undertone.models.hub" not in modules


def test_other_words_are_the_same_code(edited: Edit) -> None:
    mark = edited("experiment/finish.py", "return", "return")
    assert mark == code_mark(RUN)
    assert edited("experiment/finish.py", '"""', '"""Other words. ') == mark
    assert edited("experiment/recipe.py", '    """``frozen``', '    """Other words: ``frozen``') == mark
    assert edited("experiment/finish.py", "import json\n", "# a comment\nimport json\n\n\n") == mark


@pytest.mark.parametrize(
    "file", ["experiment/finish.py", "experiment/networks.py", "audio/reading.py", "evaluation/metrics.py"]
)
def test_another_number_is_other_code(edited: Edit, file: str) -> None:
    begin = "from __future__ import annotations\n"
    numbers = [edited(file, begin, f"{begin}LEAST = {number}\n") for number in ("1e-8", "1e-9")]
    assert len({*numbers, code_mark(RUN)}) == 3


def test_what_a_function_imports_counts_and_what_is_for_types_alone_does_not(edited: Edit) -> None:
    assert "undertone.features.neural" in modules_of(RUN), "imported where a network is wanted"
    begin = "from __future__ import annotations\n"
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import undertone.cli.app\n"
    assert edited("experiment/finish.py", begin, begin + for_types) == edited(
        "experiment/finish.py", begin, begin + for_types.partition("if")[0]
    )


def test_modules_can_be_left_out() -> None:
    left = ("undertone.features", "undertone.models.compact")
    kept = modules_of(RUN, without=left)
    assert not [name for name in kept if name.startswith(left)] and "undertone.models.unison" in kept
    assert code_mark(RUN) != code_mark(RUN, without=left)


def test_a_mark_is_made_quickly_and_once() -> None:
    began = time.process_time()
    first = code_mark(RUN)
    assert time.process_time() - began < 2.0, "some 0.3 s on an idle machine"
    again = time.process_time()
    assert code_mark(RUN) == first and time.process_time() - again < 0.001
