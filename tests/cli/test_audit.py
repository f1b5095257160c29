"""``undertone audit``, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from undertone import splits
from undertone.manifest import Meta, write
from undertone.types import Utterance


def undertone(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "undertone", *words]
    return subprocess.run(call, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    spoken = [
        Utterance(
            f"s{s}{sex}{i}",
            f"s{s}{sex}{i}.wav",
            speaker=f"s{s}{sex}",
            session=f"s{s}",
            dialogue=f"s{s}",
            text=f"this is the line [bold] number {i}",
            label=("angry", "sad")[i % 2],
        )
        for s in range(3)
        for sex in "FM"
        for i in range(4)
    ]
    path = tmp_path / "m.jsonl"
    write(path, spoken, Meta())
    return path


def test_a_report_is_printed_and_leaks_do_not_change_the_status(manifest: Path) -> None:
    done = undertone(
        "audit", str(manifest), "--no-audio", "--protocol", "leaky-random-utterance", "--folds", "3"
    )
    assert done.returncode == 0, done.stderr
    assert "24 utterances · leaky-random-utterance, 3 folds" in done.stdout
    assert "✗ leak 6 speakers in both the train and the test part of a fold" in done.stdout
    assert "[bold] number" in done.stdout
    assert "random-1" in done.stdout


def test_strict_turns_a_leak_into_status_1(manifest: Path) -> None:
    words = ["audit", str(manifest), "--no-audio", "--strict", "--protocol"]
    assert undertone(*words, "leaky-random-utterance", "--folds", "3").returncode == 1
    assert undertone(*words, "loso").returncode == 0


def test_json_holds_every_finding_and_folds_can_be_written_and_read_back(manifest: Path) -> None:
    out = manifest.with_name("split.json")
    words = ["audit", str(manifest), "--no-audio", "--json"]
    done = undertone(*words, "--protocol", "loso", "--write-split", str(out))
    values = json.loads(done.stdout)
    assert values["protocol"] == "loso"
    assert values["split"] == splits.read(out).hash
    assert {f["kind"] for f in values["findings"]} == {"text"}
    assert values["findings"][0]["numbers"]["exact_share"] == 1.0
    assert values["balance"]["session-s0"]["test"] == {"angry": 4, "sad": 4}
    again = json.loads(undertone(*words, "--split", str(out)).stdout)
    assert again["findings"] == values["findings"]


def test_missing_recordings_are_findings_not_failures(manifest: Path) -> None:
    done = undertone("audit", str(manifest))
    assert done.returncode == 0
    assert "24 recordings could not be read" in done.stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [(["nowhere.jsonl"], 1), (["{m}", "--protocol", "random"], 2), (["{m}", "--split", "no.json"], 1)],
)
def test_a_users_error_is_one_line(manifest: Path, words: list[str], status: int) -> None:
    done = undertone("audit", *(w.replace("{m}", str(manifest)) for w in words))
    assert done.returncode == status
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
