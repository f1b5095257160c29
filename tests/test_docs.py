"""What the documentation shows works: Python runs, commands run or, where they need data that nobody can
ship, are at least commands that exist; links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trees import iemocap
from trees.served import answering
from trees.sound import noise
from undertone.cli import main
from undertone.cli.about import EXTRAS, PURPOSES
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


def lines(page: Path, after: str = "") -> list[str]:
    """The commands of a page's shell blocks in order, comments cut; of one section where it is named."""
    text = page.read_text(encoding="utf-8")
    if after:
        text = text.partition(f"## {after}\n")[2].partition("\n## ")[0]
    shown = [body for language, body in BLOCK.findall(text) if language == "sh"]
    return [re.sub(r"\s#\s.*", "", line).strip() for body in shown for line in body.splitlines()]


README = ROOT / "README.md"
RESEARCHER = ROOT / "docs" / "guides" / "researcher.md"


def paper() -> list[str]:
    return lines(RESEARCHER, "Reproduce a paper on IEMOCAP")


def released(folder: Path) -> Path:
    """A folder in which the researcher's commands can run: a release of IEMOCAP's layout, and a recording."""
    iemocap.write(folder / "IEMOCAP_full_release")
    noise(folder / "call.wav")
    return folder


def test_the_readme_installs_what_its_commands_need() -> None:
    install, first = lines(README, "Two commands")
    words = shlex.split(install)
    extras = set(re.findall(r"[a-z]+", words[2]))
    used = {line.split()[1] for line in lines(README, "Your own recordings, your own data")}
    assert used >= {"predict", "serve", "study"}
    assert extras >= {"report", "serve", "vad", "align"} and extras <= set(EXTRAS)
    assert first.startswith("undertone predict ") and "--model" not in first, "the model in the box answers"
    assert words[3:] and all((ROOT / place / "pyproject.toml").is_file() for place in words[3:])


def test_the_readme_fits_on_a_screen() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 90


def test_the_researchers_names_fit_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quick part: corpus, audit and the recipe's plan find each other's files."""
    monkeypatch.chdir(released(tmp_path))
    for line in paper():
        if line.split()[1] in ("prepare", "audit", "crossval"):
            words = shlex.split(line) + (["--dry-run"] if " crossval " in line else [])
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as left:
                main()
            assert not left.value.code, line
    assert "# 50 utterances, 5 folds" in capsys.readouterr().out


@pytest.mark.timeout(3600)
@pytest.mark.slow  # trains the page's recipe, five networks in each of five folds: minutes
def test_the_researchers_blocks_run_in_order(tmp_path: Path) -> None:
    """As they stand, with small encoders under the hub names that the recipe gives."""
    from features import checkpoints

    folder = released(tmp_path / "work")
    for name, build in (
        ("facebook/wav2vec2-base", checkpoints.wav2vec2_group),
        ("bert-base-uncased", checkpoints.bert),
    ):
        kept = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("0" * 40)
        checkpoints.make(build, kept / "snapshots" / ("0" * 40))
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub"), "UNDERTONE_CACHE": str(tmp_path / "cache")}
    for line in paper():
        call = [sys.executable, "-m", *shlex.split(line)]
        if " crossval " in line:  # to end in minutes
            call = [word for word in call if word not in ("--seeds", "5")] + ["--set", "training.epochs=2"]
        if " serve " in line:
            with answering(call, folder, **environment):
                pass  # it comes up and is ready
        else:
            run(call, folder, **environment)


@pytest.mark.timeout(3600)
@pytest.mark.slow  # two systems trained over the encoders in the box, and the starter served: minutes
def test_the_readmes_blocks_run_in_order(tmp_path: Path) -> None:
    """As they stand: a call of two channels, and a folder of clips with speakers and labels."""
    pytest.importorskip("undertone_starter", reason="the model in the box is not installed")
    for number in range(40):
        label = "angry" if number % 2 else "sad"
        noise(
            tmp_path / "clips" / label / f"speaker-{number // 2 % 8}_{number}.wav", seconds=1.0, seed=number
        )
    noise(tmp_path / "new.wav", seconds=1.0)
    noise(tmp_path / "call.wav", seconds=4.0, channels=2)
    environment = {"UNDERTONE_CACHE": str(tmp_path / "cache")}
    for line in [lines(README, "Two commands")[1], *lines(README, "Your own recordings, your own data")]:
        call = [sys.executable, "-m", *shlex.split(line)]
        call += ["--channels", "mix"] if line == lines(README, "Two commands")[1] else []
        if line.split()[1] == "serve":
            with answering(call, tmp_path, **environment) as ask:
                assert ask("/").status == 200
        else:
            run(call, tmp_path, **environment)
    assert (tmp_path / "call.srt").exists() and (tmp_path / "mine" / "report.html").exists()
    noise(tmp_path / "call.wav", seconds=4.0)  # the Python takes one of one channel
    for body in blocks(README, "python"):
        run([sys.executable, "-c", body], tmp_path, **environment)


ELSEWHERE = {
    "README.md",
    "docs/quickstart.md",
    "docs/metrics.md",
    "docs/guides/features.md",
    "docs/guides/serving.md",
}
"""Pages whose Python has a test of its own."""
ANSWER = {"speakers": {"left": {"label": "sad", "speech": 2.0, "shares": {"sad": 1.0}}}}
PYTHON = [page for page in PAGES if blocks(page, "python") and name(page) not in ELSEWHERE]


@pytest.mark.parametrize("page", PYTHON, ids=name)
def test_the_python_of_every_other_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block after block, in a folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.jsonl").write_text(json.dumps(ANSWER) + "\n", encoding="utf-8")
    known: dict[str, object] = {"print": lambda *_: None}
    for body in blocks(page, "python"):
        exec(compile(body, str(page), "exec"), known)


FIGURE = re.compile(r"\d+\.\d+")


def test_the_readmes_figures_are_those_of_the_results() -> None:
    """Each row of its table against the JSON that the command beside it writes."""
    figures = json.loads((ROOT / "docs" / "results" / "starter.json").read_text(encoding="utf-8"))["figures"]
    known = {one["what"]: one for one in figures}
    text = README.read_text(encoding="utf-8")
    table = text.partition("## Measured")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in re.findall(r"^\| \w+, .*$", table, re.MULTILINE)]
    assert len(rows) == 5
    for what, *shown in rows:
        corpus, _, how = what.partition(", ")
        one = known[f"{corpus}-4, {'corpus left out' if 'never met' in how else how}, UA"]
        wanted = [f"{one[key]:.1f}" for key in ("value", "low", "high")]
        wanted += [f"{one['more'][rival]:.1f}" for rival in ("probe", "svm")]
        assert FIGURE.findall(" ".join(shown)) == wanted, what
    measured = (ROOT / "docs" / "results" / "transfer.md").read_text(encoding="utf-8")
    ratios = re.findall(r"(\d+\.\d) times", text)
    assert ratios == ["16.9", "14.8"] and all(f"{ratio}×" in measured for ratio in ratios)
    lines = (ROOT / "docs" / "results" / "windows.jsonl").read_text(encoding="utf-8").splitlines()
    windows = {one["name"].rpartition("/")[2]: one for one in map(json.loads, lines)}
    assert f"{windows['clip-fp32']['against_pipeline']:.1f}" == ratios[0]
    barred = [one["met"] for one in figures if one.get("bar") is not None]
    assert f"{sum(barred)} of {len(barred)} bars met" in text
    noisy = known["RAVDESS-4: UA lost by white noise at 10 dB"]["value"]
    assert f"costs {noisy:.1f}\npoints on RAVDESS" in text


def test_the_install_page_has_every_extra_and_what_it_is_for() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == {name: PURPOSES[name] for name in EXTRAS}
