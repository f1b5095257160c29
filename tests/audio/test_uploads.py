"""What strangers send: refused before it takes memory, kept apart by channel, judged where cut short."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from undertone import audio
from undertone.errors import AudioError

RATE = audio.RATE


def noise(seconds: float = 1.0, channels: int = 1, rate: int = RATE, **form: str) -> bytes:
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    return written(samples, rate, **form)


def written(samples: np.ndarray, rate: int = RATE, **form: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **{"format": "WAV", "subtype": "PCM_16", **form})
    return buffer.getvalue()


def test_of_a_stranger_only_what_is_allowed_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    flac = bytearray(noise(3.0, format="FLAC"))
    assert len(audio.receive(bytes(flac), longest=3.0).samples) == 3 * RATE
    with pytest.raises(AudioError, match="upload: 3 s is longer than the 2 s allowed"):
        audio.receive(bytes(flac), longest=2.0)
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # the number of samples is not known
    monkeypatch.setattr("undertone.audio.uploads.PIECE", 0.5)
    with pytest.raises(AudioError, match="upload: is longer than the 2 s allowed"):
        audio.receive(bytes(flac), longest=2.0)
    for channels, rate in [(33, 16_000), (1, 1_000)]:
        strange = written(np.zeros((rate, channels), np.float32), rate)
        with pytest.raises(
            AudioError, match=f"{channels} channels at {rate} Hz is not a recording of speech"
        ):
            audio.receive(strange, longest=9.0)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channels", [None, "split"])
def test_one_that_is_cut_short_comes_with_a_warning(suffix: str, channels: str | None) -> None:
    whole = noise(channels=2, format=suffix.upper())
    received = audio.receive(whole[: int(0.6 * len(whole))], "clip", channels or "mix", longest=9.0)
    there = len(received.samples) / RATE
    assert 0.4 < there < 0.7
    assert received.warning == f"clip: cut short: {there:.1f} of 1.0 s are there"
    assert audio.receive(whole, "clip", channels or "mix", longest=9.0).warning is None
    with pytest.raises(AudioError, match="too little"):
        audio.receive(noise()[:1000], longest=9.0)


def test_channels_are_mixed_where_they_are_alike_and_kept_apart_on_request() -> None:
    one = 0.1 * np.random.default_rng(1).standard_normal((RATE, 3)).astype(np.float32)
    apart, alike = written(one, subtype="FLOAT"), written(one[:, [0, 0]], subtype="FLOAT")
    with pytest.raises(AudioError, match=r"its 3 channels .* channels=split .* channels=mix"):
        audio.receive(apart, longest=9.0)
    received = audio.receive(alike, longest=9.0)
    assert received.channels == () and np.array_equal(received.samples, one[:, 0])
    mixed = audio.receive(apart, channels="mix", longest=9.0)
    assert np.allclose(mixed.samples, one.mean(1), atol=1e-6)
    split = audio.receive(apart, channels="split", longest=9.0)
    assert split.channels == (0, 1, 2) and np.array_equal(split.samples, one)
    two = audio.receive(apart, channels=(2, 0), longest=9.0)
    assert two.channels == (2, 0) and np.array_equal(two.samples, one[:, [2, 0]])
    single = audio.receive(apart, channels=(1,), longest=9.0)
    assert single.channels == () and np.array_equal(single.samples, one[:, 1])
    mono = audio.receive(noise(), channels="split", longest=9.0)
    assert mono.channels == () and mono.samples.ndim == 1


def test_channels_at_another_rate_are_resampled_together() -> None:
    samples = 0.1 * np.sin(np.arange(44_100)[:, None] * np.array([0.05, 0.02]))
    received = audio.receive(written(samples, 44_100, subtype="FLOAT"), channels="split", longest=9.0)
    assert received.samples.shape == (RATE, 2)
    for column in (0, 1):
        alone = audio.resample(samples[:, column].astype(np.float32), 44_100, RATE)
        assert np.allclose(received.samples[:, column], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "count", "why"),
    [
        ((0, 2), 2, "there is no channel 2: it has 2, counted from 0"),
        ((5,), 2, "there is no channel 5"),
        ((1, 1), 2, "named twice"),
        ("split", 9, "9 channels; at most 8 are judged apart"),
        ("split", 4, "1 s is longer than the 0.6 s allowed"),
    ],
)
def test_channels_that_cannot_be_had_are_refused(channels: object, count: int, why: str) -> None:
    with pytest.raises(AudioError, match=why):
        audio.receive(noise(channels=count), channels=channels, longest=1.2)  # type: ignore[arg-type]


def test_without_containers_ffmpeg_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertone.audio.ffmpeg.subprocess", None)
    for data, why in [
        (b"\0\0\0\x20ftypisom" + bytes(200), "upload: not a sound format that soundfile reads"),
        (b"", "upload: is empty"),
        (noise()[:30], "upload: cannot be read as audio"),
    ]:
        with pytest.raises(AudioError, match=why):
            audio.receive(data, longest=9.0, containers=False)


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("channels", ["mix", "split", (1,)])
def test_a_file_in_pieces_is_what_it_is_whole(tmp_path: Path, rate: int, channels: object) -> None:
    data = noise(2.5, channels=2, rate=rate)
    path = tmp_path / "sound"
    path.write_bytes(data)
    whole = audio.receive(data, "clip", channels, longest=9.0)  # type: ignore[arg-type]
    about = audio.survey(path, "clip", channels, longest=9.0)  # type: ignore[arg-type]
    assert (about.seconds, about.channels, about.warning) == (2.5, whole.channels, None)
    parts = list(audio.pieces(path, "clip", channels, seconds=0.4))  # type: ignore[arg-type]
    assert len(parts) > 6
    together = np.concatenate(parts)
    assert together.shape == whole.samples.shape
    assert np.allclose(together, whole.samples, atol=1e-6 if rate == RATE else 1e-3)


def test_what_is_wrong_with_a_file_is_known_before_its_first_piece(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    for data, options, why in [
        (noise(3.0), {"longest": 2.0}, "clip: 3 s is longer than the 2 s allowed"),
        (noise(channels=2), {}, "its 2 channels hold different sounds"),
        (noise(channels=4), {"channels": "split", "longest": 1.2}, "1 s is longer than the 0.6 s"),
        (b"nonsense", {"containers": False}, "not a sound format that soundfile reads"),
        (written(np.full((RATE, 1), np.nan), subtype="FLOAT"), {}, "samples that are not numbers"),
        (noise()[:1000], {}, "too little"),
    ]:
        path.write_bytes(data)
        with pytest.raises(AudioError, match=why):
            audio.survey(path, "clip", **{"longest": 9.0, **options})
    path.write_bytes(noise()[:20_000])
    about = audio.survey(path, "clip", longest=9.0)
    assert about.warning == f"clip: cut short: {about.seconds:.1f} of 1.0 s are there"
