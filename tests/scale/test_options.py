"""The options of ``--engine ray``, and what is said where they do not fit."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from undertone.cli.app import app, load
from undertone.cli.scale import workers_of
from undertone.errors import ConfigError, MissingExtra, UndertoneError
from undertone.scale import cluster
from undertone.scale.workers import Workers


@pytest.fixture(scope="module")
def run() -> Callable[..., Result]:
    load()
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_the_options_become_workers() -> None:
    assert workers_of("local", None, None) is None
    assert workers_of("ray", None, ["cpus=2", "gpus=0.5", "rows=8"]) == Workers(cpus=2, gpus=0.5, rows=8)
    assert Workers(cpus=2).threads == 2
    assert Workers(cpus=0.5).threads == 1


@pytest.mark.parametrize(
    ("engine", "address", "options", "said"),
    [
        ("spark", None, None, "no engine 'spark'"),
        ("local", "here:6379", None, "--engine ray"),
        ("local", None, ["cpus=2"], "--engine ray"),
        ("ray", None, ["cpu=2"], "did you mean 'cpus'"),
        ("ray", None, ["rows=0"], "rows"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    engine: str, address: str | None, options: list[str] | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        workers_of(engine, address, options)


def test_without_the_extra_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"--engine ray.*the extra .scale.: pip install"):
        workers_of("ray", None, None)


def test_ray_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cluster.QUIET:
        monkeypatch.delenv(name, raising=False)
    cluster.require("the test")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_cluster_without_room_says_what_it_has() -> None:
    class Small:
        @staticmethod
        def cluster_resources() -> dict[str, float]:
            return {"CPU": 2.0}

    assert cluster.most(Small, Workers()) == 2
    assert cluster.most(Small, Workers(cpus=0.5)) == 4
    assert cluster.most(Small, Workers(workers=7)) == 7
    with pytest.raises(ConfigError, match="no room for one worker of 4 cores"):
        cluster.most(Small, Workers(cpus=4))
    with pytest.raises(ConfigError, match="1 GPUs"):
        cluster.most(Small, Workers(gpus=1))


def test_what_a_cluster_does_not_take_is_refused_before_it_is_asked(run: Any, make_corpus: Any) -> None:
    manifest = make_corpus(2)
    for words, said in (
        (
            ["predict", manifest, "--engine", "ray", "--text", "hello", "--out", "x"],
            "--text, --asr, --channels",
        ),
        (["predict", manifest, manifest, "--engine", "ray", "--out", "x"], "one manifest or folder"),
        (["predict", manifest, "--engine", "ray"], "--out FOLDER"),
        (["predict", manifest, "--engine", "ray", "--out", "x", "--format", "srt"], "--out FOLDER"),
        (["extract", "s3://calls/m.jsonl", "--speech", "acoustic"], "URLs are for --engine ray"),
        (["extract", manifest, "--speech", "acoustic", "--store", "s3://x"], "URLs are for --engine ray"),
        (["align", manifest, "--with", "sphinx", "--out", "s3://x/y.jsonl"], "URLs are for --engine ray"),
        (["extract", manifest, "--speech", "acoustic", "--address", "x"], "--engine ray"),
    ):
        done = run(*words)
        assert isinstance(done.exception, UndertoneError), (words, done.output)
        assert said in str(done.exception)


def test_pack_says_where_the_shards_are(run: Any, make_corpus: Any, tmp_path: Path) -> None:
    done = run("pack", make_corpus(3), "--out", tmp_path / "shards")
    assert done.exit_code == 0, done.output
    assert "3 utterances in 1 shards" in done.stdout
    assert run("pack", make_corpus(3), "--out", tmp_path / "s", "--format", "zip").exception is not None
