"""Recordings of every kind are read right, and what is broken is named in one line."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from undertone import audio
from undertone.errors import AudioError

RATE = audio.RATE


def sine(frequency: float, seconds: float = 1.0, rate: int = RATE, phase: float = 0.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate + phase)).astype(
        np.float32
    )


def peak(wave: np.ndarray, rate: int = RATE) -> tuple[float, float]:
    """Frequency and amplitude of the loudest sine."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / (len(wave) / 4)
    loudest = int(spectrum.argmax())
    return loudest * rate / len(wave), float(spectrum[loudest])


FORMATS = [
    ("wav", "PCM_16", 1e-3),
    ("wav", "PCM_24", 1e-3),
    ("wav", "FLOAT", 1e-3),
    ("wav", "PCM_U8", 0.02),
    ("flac", "PCM_16", 1e-3),
    ("flac", "PCM_24", 1e-3),
    ("ogg", "VORBIS", 0.03),
    ("opus", "OPUS", 0.03),
    ("mp3", "MPEG_LAYER_III", 0.03),
]


@pytest.mark.parametrize(("suffix", "subtype", "error"), FORMATS, ids=lambda v: str(v))
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_planted_sine_is_found_in_every_format(
    tmp_path: Path, suffix: str, subtype: str, error: float, channels: int, rate: int
) -> None:
    if subtype == "OPUS" and rate == 44_100:
        pytest.skip("Opus knows no 44.1 kHz")
    path = tmp_path / f"tönen und mehr.{suffix}"
    wave = sine(440, 2.0, rate)
    frames = np.stack([wave] * channels, axis=1)
    container = {"opus": "OGG"}.get(suffix)
    soundfile.write(path, frames, rate, subtype=subtype, format=container)
    read = audio.load(path)
    assert read.dtype == np.float32 and read.ndim == 1
    assert len(read) / RATE == pytest.approx(2.0, abs=0.1 if suffix == "mp3" else 0.01)
    frequency, amplitude = peak(read[RATE // 4 : RATE // 4 + RATE])
    assert frequency == pytest.approx(440, abs=1)
    assert amplitude == pytest.approx(0.5, abs=error)
    about = audio.info(path)
    assert about.channels == channels
    assert about.duration == pytest.approx(2.0, abs=0.1 if suffix == "mp3" else 0.01)


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050, 8_000])
def test_resampling_keeps_what_fits_and_removes_what_does_not(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "two.wav"
    low, high = 1_000, 0.45 * rate  # the higher one does not fit into 16 kHz where rate > 18 kHz
    soundfile.write(path, sine(low, 2, rate) + sine(high, 2, rate), rate, subtype="FLOAT")
    read = audio.load(path)[RATE // 2 : -RATE // 2]
    expected = sine(low, 2)[RATE // 2 : -RATE // 2]
    if high < RATE / 2:
        expected = expected + sine(high, 2)[RATE // 2 : -RATE // 2]
    assert np.abs(read - expected).max() < 2e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right = sine(300), sine(700)
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path), (left + right) / 2, atol=1e-6)


@given(st.integers(0, 900), st.integers(1, 900))
def test_a_slice_is_the_part_of_the_whole(start: int, length: int) -> None:
    wave = np.arange(16_000, dtype=np.float32) / 16_000
    end = min(1000, start + length)
    data = _bytes(wave)
    part = audio.decode(data, start=start / 1000, end=end / 1000)
    np.testing.assert_array_equal(part, wave[start * 16 : end * 16])


@given(st.lists(st.floats(0.01, 0.99), max_size=5))
def test_slices_side_by_side_are_the_whole(cuts: list[float]) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    data, edges = _bytes(wave), [0.0, *sorted(set(cuts)), None]
    apart = [
        (a, b) for a, b in pairwise(edges) if b is None or round((b or 0) * RATE) > round((a or 0) * RATE)
    ]
    parts = [audio.decode(data, start=a, end=b) for a, b in apart]
    np.testing.assert_array_equal(np.concatenate(parts), wave)


def test_a_slice_at_another_rate_begins_where_it_should(tmp_path: Path) -> None:
    path = tmp_path / "step.wav"
    wave = np.zeros(48_000, np.float32)
    wave[24_000:] = 0.5
    soundfile.write(path, wave, 48_000)
    part = audio.load(path, start=0.25, end=0.75)
    assert len(part) == 8_000
    assert abs(int(np.argmax(part > 0.25)) - 4_000) <= 1


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.5, 1.2), (1.0, None)])
def test_a_stretch_outside_the_recording_is_refused(tmp_path: Path, start: float, end: float | None) -> None:
    path = tmp_path / "second.wav"
    audio.save(path, sine(200))
    with pytest.raises(AudioError, match=r"second\.wav: .* s is not a stretch of this recording of 1\.000 s"):
        audio.load(path, start, end)


def test_an_end_that_was_rounded_up_is_the_end(tmp_path: Path) -> None:
    path = tmp_path / "second.wav"
    audio.save(path, sine(200))
    assert len(audio.load(path, 0.5, 1.004)) == 8_000


def test_bytes_in_memory_read_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    audio.save(path, sine(200))
    np.testing.assert_array_equal(audio.decode(path.read_bytes()), audio.load(path))


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    wave = sine(321, 0.7)
    audio.save(tmp_path / "new" / "clip.wav", wave)
    np.testing.assert_allclose(audio.load(tmp_path / "new" / "clip.wav"), wave, atol=1 / 32768)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["clip.wav"]


def test_a_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    audio.save(path, sine(200))
    assert audio.digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# --- what is broken is named -------------------------------------------------------------------


def _bytes(wave: np.ndarray, rate: int = RATE, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(
        file, wave, rate, format=options.pop("format", "WAV"), subtype=options.pop("subtype", "FLOAT")
    )
    return file.getvalue()


def _cut(suffix: str, keep: float) -> bytes:
    data = _bytes(
        np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1,
        format=suffix.upper(),
        subtype="PCM_16",
    )
    return data[: int(len(data) * keep)]


BROKEN = {
    "empty.wav": (b"", "is empty"),
    "words.wav": (
        b"this is no sound at all, it is words\n" * 9,
        "neither soundfile nor ffmpeg|does not read",
    ),
    "noise.wav": (bytes(range(256)) * 40, "neither soundfile nor ffmpeg|does not read"),
    "cut.wav": (_cut("wav", 0.05), "cut short: 0.0 of 1.0 s are there, too little"),
    "head.wav": (_cut("wav", 0.6)[:30], "neither soundfile nor ffmpeg|cannot be read"),
    "no-samples.wav": (_bytes(np.zeros(0, np.float32)), "holds no samples"),
    "nan.wav": (_bytes(np.array([0.1, np.nan, 0.2] * 99, np.float32)), "not numbers"),
    "infinite.wav": (_bytes(np.array([0.1, np.inf, 0.2] * 99, np.float32)), "not numbers"),
    "headerless.raw": (b"\0\1" * 99, "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_recording_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    data, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(AudioError, match=reason) as caught:
        audio.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["empty.wav", "cut.wav", "no-samples.wav", "words.wav"])
def test_a_check_finds_what_loading_would(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[name][0])
    with pytest.raises(AudioError, match=name):
        audio.check(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        audio.load(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="is not a file"):
        audio.load(tmp_path)


# --- what only ffmpeg reads --------------------------------------------------------------------

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def _as_m4a(folder: Path, wave: np.ndarray, rate: int) -> Path:
    path = folder / "clip ä.m4a"
    soundfile.write(folder / "clip.wav", wave, rate)
    words = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(folder / "clip.wav"),
        "-c:a",
        "aac",
        "-b:a",
        "128k",
        str(path),
    ]
    subprocess.run(words, check=True)
    return path


@needs_ffmpeg
def test_an_m4a_is_read_through_ffmpeg(tmp_path: Path) -> None:
    path = _as_m4a(tmp_path, np.stack([sine(440, 2, 44_100)] * 2, axis=1), 44_100)
    read = audio.load(path, 0.5, 1.5)
    frequency, amplitude = peak(read)
    assert len(read) == RATE
    assert (frequency, amplitude) == (pytest.approx(440, abs=1), pytest.approx(0.5, abs=0.03))
    about = audio.info(path)
    assert (about.rate, about.channels) == (44_100, 2)
    assert about.duration == pytest.approx(2, abs=0.1)
    assert audio.glance(path) is None


@needs_ffmpeg
def test_a_playlist_that_calls_itself_sound_opens_no_other_file(tmp_path: Path) -> None:
    audio.save(tmp_path / "secret.wav", sine(440))
    for name, text in {
        "list.mp4": "ffconcat version 1.0\nfile secret.wav\n",
        "live.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.wav\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match=name):
            audio.load(tmp_path / name)


def test_without_ffmpeg_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertone.audio.ffmpeg.shutil.which", lambda name: None)
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    for read in (audio.load, audio.info, audio.check, audio.glance):
        with pytest.raises(
            AudioError, match=r"clip\.mp4: soundfile does not read this format; .* install ffmpeg"
        ):
            read(path)
