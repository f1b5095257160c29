"""A killed fit goes on where it was and ends where it would have; what it keeps is no pickle."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import Tiny, dataset, recall

from undertone.training.config import TrainingConfig
from undertone.training.loop import Fitted, fit

SCRIPT = Path(__file__).parent / "killed.py"


def launch(folder: Path, pause: float) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(pause)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_fit_goes_on_and_ends_at_the_same_numbers(tmp_path: Path) -> None:
    with launch(tmp_path / "whole", 0) as whole:
        assert whole.stdout is not None
        assert whole.stdout.read().split() == list("123456") and whole.wait() == 0
    with launch(tmp_path / "killed", 1.0) as killed:
        assert killed.stdout is not None
        while killed.stdout.readline().strip() != "3":
            assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not (tmp_path / "killed" / "end.json").exists()
    with launch(tmp_path / "killed", 0) as resumed:
        assert resumed.stdout is not None
        epochs = resumed.stdout.read().split()
        assert resumed.wait() == 0
    assert epochs in (list("3456"), list("456")), "it goes on after the last whole epoch"
    first, second = (json.loads((tmp_path / n / "end.json").read_text()) for n in ("whole", "killed"))
    assert first == second


def test_the_state_is_tensors_and_json(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    fit(Tiny(), dataset(12), dataset(9, 1), TrainingConfig(epochs=2), score=recall, state=path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["undertone"])
        assert header["progress"]["epoch"] == 2
        assert {name.split("/")[0] for name in file.keys()} == {"now", "best", "optimizer"}  # noqa: SIM118
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize(("epochs", "origin"), [(3, "these"), (2, "others")])
def test_a_state_of_other_settings_or_data_is_not_taken_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, epochs: int, origin: str
) -> None:
    path = tmp_path / "state.safetensors"

    def fitted(epochs: int, origin: str) -> Fitted:
        torch.manual_seed(0)
        return fit(Tiny(), dataset(12), None, TrainingConfig(epochs=epochs), state=path, origin=origin)

    first = fitted(2, "these")
    assert fitted(2, "these").history == first.history and "starting afresh" not in caplog.text
    assert len(fitted(epochs, origin).history) == epochs
    assert "starting afresh" in caplog.text
