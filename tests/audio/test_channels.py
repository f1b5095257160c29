"""One channel of a recording, and whether its channels hold different sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from undertone import audio
from undertone.audio import channels, channels_differ
from undertone.audio.streaming import blocks
from undertone.errors import AudioError

RNG = np.random.default_rng(0)
ONE, OTHER = (0.1 * RNG.standard_normal((2, 3 * 16_000))).astype(np.float32)
LATE = np.where(np.arange(len(ONE)) > 0.97 * len(ONE), 0.3 * OTHER, 0).astype(np.float32)


def _stereo(path: Path, left: Any, right: Any, **options: Any) -> Path:
    soundfile.write(path, np.stack([left, right], axis=1), 16_000, **options)
    return path


def test_a_channel_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = _stereo(tmp_path / "call.wav", ONE, OTHER, subtype="FLOAT")
    for channel, expected in {0: ONE, 1: OTHER, None: (ONE + OTHER) / 2}.items():
        np.testing.assert_allclose(audio.load(path, channel=channel), expected, atol=1e-7)
        np.testing.assert_array_equal(
            audio.decode(path.read_bytes(), channel=channel), audio.load(path, channel=channel)
        )
        np.testing.assert_array_equal(
            np.concatenate(list(blocks(path, 0.7, channel=channel))), audio.load(path, channel=channel)
        )


@pytest.mark.parametrize("channel", [2, -1])
def test_a_channel_that_the_recording_lacks_is_refused(tmp_path: Path, channel: int) -> None:
    path = _stereo(tmp_path / "call.wav", ONE, OTHER)
    words = rf"call\.wav: has 2 channels, counted from 0: there is no channel {channel}"
    with pytest.raises(AudioError, match=words):
        audio.load(path, channel=channel)
    with pytest.raises(AudioError, match=words):
        next(blocks(path, channel=channel))


ALIKE = {
    "copy": (ONE, ONE),
    "scaled": (0.25 * ONE, ONE),
    "silent": (ONE, 0 * ONE),
    "hissing": (ONE, 1e-4 * OTHER),
    "offset": (ONE, 0 * ONE + 0.2),
    "both silent": (0 * ONE, 0 * ONE),
}
DIFFERENT = {
    "two parties": (ONE, OTHER),
    "a soft party": (ONE, 0.05 * OTHER),
    "crosstalk": (ONE + 0.3 * OTHER, 0.3 * OTHER + 0.2 * ONE),
    "a party of few words": (ONE, LATE),
    "opposite sign": (ONE, -ONE),
    "delayed": (ONE, np.roll(ONE, 40)),
}


@pytest.mark.parametrize("name", [*ALIKE, *DIFFERENT])
def test_copies_are_distinguished_from_different_sounds(tmp_path: Path, name: str) -> None:
    path = _stereo(tmp_path / "two.wav", *(ALIKE | DIFFERENT)[name])
    assert channels_differ(path) == channels_differ(path.read_bytes()) == (name in DIFFERENT)


@pytest.mark.parametrize(("suffix", "subtype"), [("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS")])
def test_a_codec_makes_no_difference(tmp_path: Path, suffix: str, subtype: str) -> None:
    tone = 0.3 * np.sin(np.arange(len(ONE)) / 20 + 8 * np.sin(np.arange(len(ONE)) / 3000)) + 0.05 * ONE
    assert not channels_differ(_stereo(tmp_path / f"two.{suffix}", tone, 0.5 * tone, subtype=subtype))
    assert channels_differ(_stereo(tmp_path / f"other.{suffix}", tone, 0.5 * ONE, subtype=subtype))


def test_one_channel_does_not_differ(tmp_path: Path) -> None:
    audio.save(tmp_path / "mono.wav", ONE)
    assert not channels_differ(tmp_path / "mono.wav")


def test_of_a_long_recording_pieces_from_all_over_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PIECE", 0.03)
    other = np.where(np.arange(len(ONE)) > 0.9 * len(ONE), OTHER, ONE)
    assert channels_differ(_stereo(tmp_path / "long.wav", ONE, other))
