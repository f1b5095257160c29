"""What there is to choose from, what a machine lacks, and what all commands have in common."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from trees.commands import Run, failed
from undertone import progress
from undertone.cli import about
from undertone.cli.app import load
from undertone.evaluation.runs import below
from undertone.labels import LABEL_SETS
from undertone.splits import PROTOCOLS

WITHOUT_JSON = {"serve"}
"""It prints no result: it serves."""


def commands() -> Iterator[tuple[str, Any]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if not inner:
            yield " ".join(path), command
        for name, child in (inner or {}).items():
            yield from walk(child, (*path, name))

    yield from walk(typer.main.get_command(load()), ())


def test_every_command_prints_json_on_request() -> None:
    named = dict(commands())
    assert len(named) > 18 and {"study", "store gc", "predict"} <= set(named)
    lacking = {name for name, one in named.items() if "--json" not in {o for p in one.params for o in p.opts}}
    assert lacking == WITHOUT_JSON


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("labels", set(LABEL_SETS)),
        ("protocols", set(PROTOCOLS)),
        ("aligners", {"given", "sphinx", "ctc", "asr"}),
    ],
)
def test_lists_name_everything_with_a_line(run: Run, what: str, names: set[str]) -> None:
    rows = json.loads(run("list", what, "--json").out)
    assert {row["name"] for row in rows} == names
    assert all(len(row["about"]) > 8 for row in rows)
    assert all(name in run("list", what).out for name in names)


def test_doctor_names_what_is_lacking_for_what_and_the_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about.shutil, "which", lambda _: None)
    for extra in ("starter", "encoders", "smile"):
        monkeypatch.setitem(about.EXTRAS, extra, ("no_such_module",))
    rows = {row["what"]: row for row in json.loads(run("doctor", "--json").out)["lacking"]}
    assert {"ffmpeg", "starter", "encoders", "smile"} <= set(rows)
    assert all(row["for"] and row["how"] for row in rows.values())
    text = run("doctor").out
    assert "ffmpeg: for m4a" in text and "encoders: for pretrained" in text


def test_a_mistyped_command_has_a_near_one(run: Run) -> None:
    failed(run("crosval", "x.toml"), "No such command 'crosval'. Did you mean 'crossval'?", status=2)
    failed(run("store", "verfy"), "Did you mean 'verify'?", status=2)


def test_the_shell_completes_commands_and_lists(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_UNDERTONE_COMPLETE", "complete_bash")
    for words, at, wanted in (
        ("undertone st", 1, {"study", "store", "stress"}),
        ("undertone list al", 2, {"aligners"}),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(at))
        assert wanted <= set(run().out.split())


def test_every_run_below_a_folder_is_taken_but_trials(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c", "a/trial"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "jobs.json").write_text("[]")
    assert [path.relative_to(tmp_path).as_posix() for path in below(tmp_path)] == ["a", "b", "deep/c"]
    assert below(tmp_path / "a") == [tmp_path / "a"] and below(tmp_path / "none") == [tmp_path / "none"]
    (tmp_path / "scored" / "all" / "0").mkdir(parents=True)
    (tmp_path / "scored" / "all" / "0" / "predictions.jsonl").touch()
    assert tmp_path / "scored" in below(tmp_path), "`score` makes runs that were not planned"
    (tmp_path / "old" / "fold" / "0").mkdir(parents=True)
    (tmp_path / "old" / "fold" / "0" / "predictions.jsonl").touch()
    assert below(tmp_path / "old") == [tmp_path / "old"]


def test_without_a_terminal_there_is_a_line_a_minute_with_the_time_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, progress.LOG)
    clock = [0.0]
    lines = progress.Lines("encoding", now=lambda: clock[0])
    for done in range(1, 121):
        clock[0] += 10.0
        lines(done, 120)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 19, "a line each minute of twenty, none at the end"
    assert texts[0] == "encoding: 6 of 120, about 19 min left" and texts[-1].endswith("about a minute left")
    caplog.clear()
    resumed = progress.Lines("folds", 100, now=lambda: clock[0])
    clock[0] += 120.0
    resumed(110, 120)
    assert caplog.records[0].getMessage() == "folds: 110 of 120, about 2 min left", "of this run's pace"


def test_a_notebook_has_lines_in_place_of_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ``!`` gives a command a terminal, and keeps all that a bar overwrites there."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert progress.drawn()
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not progress.drawn()
    with progress.bar("reading") as watch:
        assert isinstance(watch, progress.Lines)


def test_progress_is_shown_unless_quiet(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trees.sound import noise

    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "cache"))
    for name in "abc":
        noise(tmp_path / f"{name}.wav", seed=ord(name))
    (tmp_path / "c.csv").write_text("path\na.wav\nb.wav\nc.wav\n")
    assert run("prepare", "table", tmp_path / "c.csv", "--out", tmp_path / "m.jsonl").status == 0
    words = ("extract", tmp_path / "m.jsonl", "--speech", "acoustic")
    assert "encoding: 1 of 3" in run(*words).err
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "other"))
    assert "encoding" not in run("-q", *words).err
