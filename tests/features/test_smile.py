"""openSMILE's descriptors through the same door; without it, the line that installs it."""

from __future__ import annotations

import numpy as np
import pytest

from undertone.errors import ConfigError, MissingExtra
from undertone.features.speech import speech_encoder


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"the extra .smile.: pip install .opensmile"):
        speech_encoder("egemaps")


def test_descriptors_come_every_ten_milliseconds() -> None:
    pytest.importorskip("opensmile", reason="the extra 'smile' is not installed")
    encoder = speech_encoder("egemaps")
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, n).astype(np.float32) for n in (16_000, 32_000, 320)] + [
        np.zeros(8_000, np.float32)
    ]
    frames = encoder.encode(waves)
    assert [len(f) for f in frames[:2]] == [96, 196]
    assert all(f.shape[1] == encoder.dim == 25 and len(f) and np.isfinite(f).all() for f in frames)
    assert np.array_equal(encoder.encode(waves[1:2])[0], frames[1])


@pytest.mark.parametrize("name", ["acoustic", "egemaps"])
def test_what_has_no_layers_refuses_them(name: str) -> None:
    if name == "egemaps":
        pytest.importorskip("opensmile", reason="the extra 'smile' is not installed")
    with pytest.raises(ConfigError, match="leave it at 'last'"):
        speech_encoder(name, layer="weighted")
