"""The choice of precision and its reason, with and without the hardware; settings without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from undertone.errors import ConfigError
from undertone.features.config import choose_precision

PROBES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize("has", [True, False])
def test_auto_takes_bf16_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    for probe in PROBES:
        monkeypatch.setattr(torch.cpu, probe, lambda: has, raising=False)
    chosen = choose_precision("auto")
    assert chosen.name == ("bf16" if has else "fp32")
    assert ("has bf16" if has else "lacks bf16") in str(chosen)
    assert choose_precision("fp32").name == "fp32" and choose_precision("bf16").name == "bf16"
    assert choose_precision("auto", runtime="onnx").name == "fp32"


def test_fp16_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 is never used"):
        choose_precision("fp16")  # type: ignore[arg-type]


def test_settings_and_acoustic_frames_need_no_torch() -> None:
    code = (
        "import sys, undertone.features.config; from undertone.features.speech import speech_encoder; "
        "speech_encoder('acoustic'); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
