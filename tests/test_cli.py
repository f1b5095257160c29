"""The frame of the command line: light, exact in its statuses, and documented."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from undertone import __version__

ROOT = Path(__file__).parents[1]


def undertone(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undertone", *words], capture_output=True, encoding="utf-8", check=False
    )


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_the_packages() -> None:
    assert undertone("--version").stdout == f"undertone {__version__}\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["prepare", "--help"], ["serve", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['undertone', *sys.argv[1:]]\n"
        "from undertone.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'sklearn', 'fastapi', 'undertone.config'}\n"
        "heavy &= set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stdout + done.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    assert undertone("divine").returncode == 2


def test_a_gpu_that_is_not_there_is_one_line_and_status_1(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav"}\n')
    done = undertone("extract", str(tmp_path / "m.jsonl"), "--speech", "acoustic", "--device", "cuda")
    assert done.returncode == 1
    assert done.stderr.startswith("undertone: device 'cuda': PyTorch on this machine ")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_users_error_is_one_line_and_status_1() -> None:
    done = undertone("show", "wishes.jsonl")
    assert done.returncode == 1
    assert done.stderr == "undertone: wishes.jsonl: no such manifest; `undertone prepare` makes one\n"
    assert done.stdout == ""


def test_every_command_shows_an_example_in_its_help() -> None:
    module = _reference()
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    found = module.commands()
    assert len(found) >= 15
    for words in found:
        section = page.split(f"## undertone {' '.join(words)}\n")[1].split("\n## ")[0]
        grouped = any(other[: len(words)] == words and other != words for other in found)
        assert grouped or "Example" in section, f"`undertone {' '.join(words)} --help` shows no example"


def test_the_reference_says_what_the_code_says() -> None:
    module = _reference()
    for name, text in module.reference().items():
        assert (module.REFERENCE / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"
