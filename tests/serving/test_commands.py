"""``predict``, ``serve`` and ``export`` as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from undertone.cli.app import load
from undertone.errors import UndertoneError


@pytest.fixture(scope="module")
def run() -> Callable[..., Result]:
    return lambda *words, **more: CliRunner().invoke(load(), [str(word) for word in words], **more)


def test_one_recording_is_judged(run: Any, model_folder: Path, tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(clip)
    done = run("predict", tmp_path / "a.wav", "-m", model_folder, "--text", "a lovely day", "--align", "none")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["id"] == "a.wav"
    assert answer["modalities"] == ["speech", "text"]


def test_stdin_is_a_recording_too(run: Any, model_folder: Path, clip: bytes) -> None:
    done = run("predict", "-", "-m", model_folder, input=clip)
    assert json.loads(done.stdout)["id"] == "stdin"


def test_one_bad_file_is_named_and_the_rest_go_on(
    run: Any, model_folder: Path, tmp_path: Path, clip: bytes
) -> None:
    for name, data in (("a.wav", clip), ("b.wav", b"nonsense"), ("c.wav", clip)):
        (tmp_path / name).write_bytes(data)
    done = run("predict", tmp_path, "-m", model_folder, "-f", "jsonl")
    assert done.exit_code == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a.wav", "c.wav"]
    assert "b.wav" in done.stderr
    assert "1 of 3" in done.stderr
    assert run("predict", tmp_path, "-m", model_folder, "--skip-bad").exit_code == 0


def test_the_name_of_the_file_chooses_the_format(
    run: Any, model_folder: Path, tmp_path: Path, clip: bytes
) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(clip)
    run("predict", tmp_path / "a.wav", tmp_path / "b.wav", "-m", model_folder, "-o", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("id,label,confidence")
    run("predict", tmp_path, "-m", model_folder, "-f", "srt", "-o", tmp_path / "srt")
    assert sorted(p.name for p in (tmp_path / "srt").iterdir()) == ["a.srt", "b.srt"]


def test_without_a_model_the_message_says_what_makes_one(
    run: Any, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(clip)
    monkeypatch.chdir(tmp_path)
    done = run("predict", "a.wav")
    assert isinstance(done.exception, UndertoneError)
    assert "undertone demo --quick" in str(done.exception)


def test_the_model_that_was_not_asked_for_is_named(
    run: Any, new_model: Any, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(clip)
    new_model(tmp_path / "runs" / "demo" / "unison" / "final")
    monkeypatch.chdir(tmp_path)
    done = run("predict", "a.wav", "-f", "json")
    assert "runs/demo/unison/final (trained on synthesised speech only" in done.stderr


def test_serving_the_world_without_a_token_is_refused(run: Any, model_folder: Path) -> None:
    done = run("serve", "-m", model_folder, "--host", "0.0.0.0", env={"UNDERTONE_TOKEN": ""})
    assert isinstance(done.exception, UndertoneError)
    assert "token" in str(done.exception)


def test_a_token_file_that_is_empty_or_gone_is_refused(run: Any, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name in ("empty", "gone"):
        done = run("serve", "-m", model_folder, "--token-file", tmp_path / name)
        assert isinstance(done.exception, UndertoneError)
        assert name in str(done.exception)


def test_white_space_around_the_token_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from undertone.cli.serving import _token

    monkeypatch.setenv("UNDERTONE_TOKEN", "secret\n")
    assert _token(None, None) == "secret"
    shown = capsys.readouterr()
    assert "white space" in shown.err and "secret" not in shown.err + shown.out
    monkeypatch.setenv("UNDERTONE_TOKEN", " \n")
    assert _token(None, None) is None


def test_a_cluster_gets_the_token_and_not_its_file(tmp_path: Path) -> None:
    from undertone.cli.serving import _one_token
    from undertone.serving.server.settings import ServerSettings

    file = tmp_path / "tokens"
    file.write_text("secret\n")
    settings = _one_token(ServerSettings(token_file=file))
    assert (settings.token, settings.token_file) == ("secret", None)
    file.write_text("anna:one\nbert:two\n")
    with pytest.raises(UndertoneError, match="local engine"):
        _one_token(ServerSettings(token_file=file))


@pytest.mark.parametrize("command", ["predict", "serve", "export"])
def test_help_shows_an_example(run: Any, command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"undertone {command}" in done.stdout


def test_folders_and_files_of_the_server_are_taken_as_they_are_typed(
    run: Any, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``serve --jobs`` and ``--token-file`` ended in a traceback."""
    seen: list[Any] = []
    monkeypatch.setattr(
        "undertone.serving.server.run.serve", lambda _model, settings, **_: seen.append(settings)
    )
    tokens = tmp_path / "tokens"
    tokens.write_text("ann:first-token\nben:second-token\n", encoding="utf-8")
    done = run("serve", "-m", model_folder, "--jobs", tmp_path / "jobs", "--token-file", tokens)
    assert done.exit_code == 0, done.output
    assert (seen[0].job_folder, seen[0].token_file) == (tmp_path / "jobs", tokens)
