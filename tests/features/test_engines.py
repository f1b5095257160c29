"""Other engines repeat torch, whatever the length; what they cannot do is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.features.checkpoints import SPEECH
from undertone.errors import ConfigError, MissingExtra
from undertone.features.engines import convert
from undertone.features.speech import speech_encoder

pytest.importorskip("openvino", reason="the extra 'export' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
slow = pytest.mark.slow  # converting takes seconds a network
CASES = [
    pytest.param(name, runtime, marks=() if (name, runtime) == ("wavlm", "openvino") else slow)
    for name in SPEECH
    for runtime in ("openvino", "onnx")
]


@pytest.mark.parametrize(("name", "runtime"), CASES)
def test_an_engine_gives_torchs_frames(checkpoint: Callable[[str], Path], name: str, runtime: str) -> None:
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, n).astype(np.float32) for n in (16_000, 27_003, 6_400, 320)]
    folder = str(checkpoint(name))
    ours = speech_encoder(folder, precision="fp32", runtime=runtime)
    torchs = speech_encoder(folder, precision="fp32")
    assert ours.identity != torchs.identity
    for a, b in zip(ours.encode(waves), torchs.encode(waves), strict=True):
        assert a.shape == b.shape and np.abs(a - b).max() / np.abs(b).max() < 1e-4


class Frozen(nn.Module):
    """A network that a trace freezes to the length it was traced with."""

    def forward(self, given: Tensor) -> Tensor:
        return given + float(given.shape[1])


def test_what_a_conversion_froze_is_found_out() -> None:
    with pytest.raises(ConfigError, match="does not repeat this network"):
        convert(Frozen(), (1, 20), 1, "openvino", "fp32")


def test_onnx_on_a_cpu_is_fp32(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="use --precision fp32"):
        speech_encoder(str(checkpoint("wavlm")), precision="bf16", runtime="onnx")


def test_a_missing_engine_names_its_extra(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"the extra .export.: pip install"):
        speech_encoder(str(checkpoint("wavlm")), runtime="openvino")


def test_threads_are_those_of_torch() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = convert(nn.Conv1d(1, 2, 3), (1, 1, 50), 2, "openvino", "fp32")
        assert run(torch.zeros(1, 1, 80)).shape == (1, 2, 78)
    finally:
        torch.set_num_threads(before)
