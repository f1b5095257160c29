"""What the documentation shows works: Python runs, commands run or, where they need data that nobody can
ship, are at least commands that exist; links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for language, body in BLOCK.findall(text) if language in languages]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_lines(page: Path) -> list[str]:
    """The ``undertone …`` lines of a page's shell blocks, continuations joined, comments cut."""
    joined = "\n".join(blocks(page, "sh", "bash", "console", "shell")).replace("\\\n", " ")
    lines = [re.sub(r"\s#\s.*", "", line).strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in lines if line.startswith("undertone ")]


def test_there_are_pages() -> None:
    assert len(PAGES) > 8
    assert sum(len(command_lines(page)) for page in PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_shown_exist(page: Path) -> None:
    import typer

    from undertone.cli.app import load

    root = typer.main.get_command(load())
    for line in command_lines(page):
        words = shlex.split(re.split(r"[|>&;]", line)[0].replace("…", "x"))[1:]
        command = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        options = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        assert command is not root or words[0].startswith("-"), f"{name(page)}: no such command: {line}"
        for word in words:
            if word.startswith("-") and not re.fullmatch(r"-[\d.]*", word):
                assert word.split("=")[0] in options, f"{name(page)}: no option {word}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(
        re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    ):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{name(page)} links to {target}, which is not there"


def test_the_quickstart_runs(tmp_path: Path) -> None:
    """Every command of the quickstart in order, then its Python, in an empty folder."""
    page = ROOT / "docs" / "quickstart.md"
    lines = command_lines(page)
    assert len(lines) >= 6
    for line in lines:
        call = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for code in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"{code}\n{done.stderr}"
