"""What the documentation shows works: Python runs, commands run or, where they need data that nobody can
ship, are at least commands that exist; links lead somewhere."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trees import iemocap
from trees.sound import noise
from undertone.cli import main
from undertone.cli.about import EXTRAS
from undertone.store import Store

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


def run(call: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        call,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{call}\n{done.stdout}\n{done.stderr}"


SMALLER = {"--size 240": "--size 40", "epochs = 15": "epochs = 1"}


@pytest.mark.parametrize(
    "smaller",
    [True, pytest.param(False, marks=pytest.mark.slow, id="whole")],  # a minute on two free cores
)
def test_the_quickstarts_blocks_run_in_order(tmp_path: Path, smaller: bool) -> None:
    """Every block in an empty folder: commands run, recipes are saved under the name that stands above."""
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    for whole, small in SMALLER.items() if smaller else ():
        assert whole in text
        text = text.replace(whole, small)
    environment = {"UNDERTONE_CACHE": str(tmp_path / "cache")}
    store = tmp_path / "cache" / "store"
    encoded: list[int] = []
    for match in BLOCK.finditer(text):
        language, body = match.groups()
        if language == "toml":
            saved = re.findall(r"[Ss]ave this as `([^`]+)`", text[: match.start()])[-1]
            (tmp_path / saved).write_text(body, encoding="utf-8")
        elif language == "python":
            run([sys.executable, "-c", body], tmp_path, **environment)
        else:
            for line in body.splitlines():
                run([sys.executable, "-m", *shlex.split(line)], tmp_path, **environment)
                encoded += [len(Store(store))] if " extract " in line or " crossval " in line else []
    assert len(encoded) == 2 and encoded[0] == encoded[1] > 0, "training uses what was extracted, and no more"
    metrics = [json.loads(path.read_text()) for path in tmp_path.glob("runs/quick/session-*/0/metrics.json")]
    assert len(metrics) == 5
    assert smaller or sum(one["ua"] for one in metrics) / len(metrics) > 0.35, "chance is 0.25"


def readme_lines() -> list[str]:
    """The commands of the README's "Use it", in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use it")[2].partition("## ")[0]
    return [line for language, body in BLOCK.findall(text) if language == "sh" for line in body.splitlines()]


def readme_folder(folder: Path) -> Path:
    """A folder in which the README's commands can run: a release of IEMOCAP's layout, and a recording."""
    iemocap.write(folder / "IEMOCAP_full_release")
    noise(folder / "call.wav")
    return folder


def test_the_readme_installs_what_its_commands_need() -> None:
    install, *lines = readme_lines()
    words = shlex.split(install)
    extras = set(re.findall(r"[a-z]+", words[words.index("-e") + 1]))
    used = {shlex.split(line)[1] for line in lines}
    assert used >= {"predict", "prepare", "audit", "crossval", "report", "serve"}
    assert extras >= {"report", "serve", "vad", "align"} and extras <= set(EXTRAS)
    first = next(line for line in lines if " predict " in line)
    assert "--model" not in first, "the model in the box answers first"
    box = [word for word in words if word.startswith("packages/")]
    assert box and all((ROOT / place / "pyproject.toml").is_file() for place in box)


def test_the_readmes_names_fit_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quick part: corpus, audit and the recipe's plan find each other's files."""
    monkeypatch.chdir(readme_folder(tmp_path))
    for line in readme_lines():
        if line.split()[:2] in (["undertone", "prepare"], ["undertone", "audit"], ["undertone", "crossval"]):
            words = shlex.split(line) + (["--dry-run"] if " crossval " in line else [])
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as left:
                main()
            assert not left.value.code, line
    assert "# 50 utterances, 5 folds" in capsys.readouterr().out


@pytest.mark.slow  # trains the README's recipe, five networks in each of five folds: minutes
def test_the_readmes_blocks_run_in_order(tmp_path: Path) -> None:
    """As they stand, with small encoders under the hub names that the recipe gives."""
    from features import checkpoints

    folder = readme_folder(tmp_path / "work")
    for name, build in (
        ("facebook/wav2vec2-base", checkpoints.wav2vec2_group),
        ("bert-base-uncased", checkpoints.bert),
    ):
        kept = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("0" * 40)
        checkpoints.make(build, kept / "snapshots" / ("0" * 40))
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub"), "UNDERTONE_CACHE": str(tmp_path / "cache")}
    for line in readme_lines()[1:]:
        call = [sys.executable, "-m", *shlex.split(line)]
        call += ["--set", "training.epochs=2"] if " crossval " in line else []  # to end in minutes
        if " serve " in line:
            served(call, folder, **environment)
        else:
            run(call, folder, **environment)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for language, body in BLOCK.findall(text):
        if language == "python":
            run([sys.executable, "-c", body], folder, **environment)


def served(call: list[str], folder: Path, **environment: str) -> None:
    """The server comes up, on a port that is free here, and answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*call, "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
            with (
                contextlib.suppress(OSError),
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asking,
            ):
                asking.request("GET", "/readyz")
                with asking.getresponse() as answer:
                    if answer.status == 200:
                        return
        raise AssertionError(f"the server did not come up: {log.read_text()}")
    finally:
        process.terminate()
        process.wait(60)
