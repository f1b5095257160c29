"""Speech in every ordinary format is read whole, and as the same sound."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from undertone import audio
from undertone.audio.streaming import blocks
from undertone.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

EXAMPLES = Path(__file__).parents[2] / "packages/undertone-starter/src/undertone_starter/examples"
SPEECH = audio.load(EXAMPLES / "03a01Fa.flac")

NARROW = ["-ar", "8000"]
MADE = {
    "16 bits.wav": ([], 0.999),
    "24 bits.wav": (["-c:a", "pcm_s24le"], 0.999),
    "float.wav": (["-c:a", "pcm_f32le"], 0.999),
    "rf64.wav": (["-rf64", "always"], 0.999),
    "mulaw.wav": ([*NARROW, "-c:a", "pcm_mulaw"], 0.97),
    "alaw.wav": ([*NARROW, "-c:a", "pcm_alaw"], 0.97),
    "bare.ulaw": ([*NARROW, "-f", "mulaw"], 0.97),
    "bare.alaw": ([*NARROW, "-f", "alaw"], 0.97),
    "adpcm.wav": (["-c:a", "adpcm_ima_wav"], 0.97),
    "clip.w64": ([], 0.999),
    "clip.aiff": ([], 0.999),
    "clip.caf": ([], 0.999),
    "clip.au": ([], 0.999),
    "clip.flac": ([], 0.999),
    "clip.mp3": ([], 0.97),
    "no xing.mp3": (["-write_xing", "0"], 0.97),
    "variable, no xing.mp3": (["-q:a", "5", "-write_xing", "0"], 0.97),
    "vorbis.ogg": (["-c:a", "libvorbis"], 0.95),
    "clip.opus": (["-c:a", "libopus"], 0.95),
    "clip.m4a": ([], 0.97),
    "index first.mp4": (["-movflags", "faststart"], 0.97),
    "clip.webm": (["-c:a", "libopus"], 0.95),
    "clip.wma": ([], 0.97),
    "narrow.amr": ([*NARROW, "-c:a", "libopencore_amrnb", "-b:a", "12.2k"], 0.8),
}
PIPED = {"flac": 0.999, "wav": 0.999, "aiff": 0.999, "au": 0.999, "caf": 0.999, "mp3": 0.97, "ogg": 0.95}


def _ffmpeg(*words: str | Path) -> bytes:
    run = subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], capture_output=True, check=False)
    if run.returncode and b"Unknown encoder" in run.stderr:
        pytest.skip(f"this ffmpeg lacks an encoder ({run.stderr.decode().splitlines()[0]})")
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def _likeness(read: np.ndarray) -> float:
    """The largest correlation with the original over shifts of up to 0.1 s."""
    size = 2 ** int(np.ceil(np.log2(len(read) + len(SPEECH))))
    both = np.fft.irfft(np.fft.rfft(read, size) * np.conj(np.fft.rfft(SPEECH, size)))
    shifts = np.concatenate([both[:1600], both[-1600:]])
    return float(shifts.max() / np.linalg.norm(read) / np.linalg.norm(SPEECH))


def _check(path: Path, least: float) -> None:
    read, seconds = audio.load(path), len(SPEECH) / audio.RATE
    assert len(read) / audio.RATE == pytest.approx(seconds, abs=0.1)
    assert audio.info(path).duration == pytest.approx(seconds, abs=0.1)
    assert audio.check(path) == audio.info(path)
    assert _likeness(read) > least
    np.testing.assert_array_equal(audio.decode(path.read_bytes(), path.name), read)
    assert sum(map(len, blocks(path, seconds=0.31))) == pytest.approx(len(read), abs=2)
    assert all(block.flags.writeable for block in blocks(path, channel=0, rate=audio.info(path).rate))
    middle = audio.load(path, 0.5, 1.0)
    np.testing.assert_allclose(middle[800:-800], read[8800:15200], atol=2e-3)


@needs_ffmpeg
@pytest.mark.parametrize("name", MADE)
def test_a_format_is_read_whole(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    options, least = MADE[name]
    audio.save(tmp_path / "original.wav", SPEECH)
    _ffmpeg("-i", tmp_path / "original.wav", *options, tmp_path / name)
    _check(tmp_path / name, least)
    assert not caplog.messages


@needs_ffmpeg
@pytest.mark.parametrize("form", PIPED)
def test_what_was_written_into_a_pipe_is_read_whole(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    audio.save(tmp_path / "original.wav", SPEECH)
    path = tmp_path / f"piped.{form}"
    path.write_bytes(_ffmpeg("-i", tmp_path / "original.wav", "-f", form, "-"))
    _check(path, PIPED[form])
    assert not caplog.messages


# --- headers that do not know the length, without ffmpeg -----------------------------------------


def _written(path: Path, **options: str) -> bytes:
    soundfile.write(path, SPEECH, audio.RATE, **options)
    return path.read_bytes()


def test_a_flac_that_does_not_count_its_samples_is_read_whole(tmp_path: Path) -> None:
    data = bytearray(_written(tmp_path / "clip.flac"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(data)
    _check(tmp_path / "piped.flac", 0.999)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_count_of_frames_is_read_whole(tmp_path: Path, mode: str) -> None:
    data = _written(tmp_path / "clip.mp3", bitrate_mode=mode)
    second = data.index(data[:2], 4)  # the first frame holds the count
    assert b"Xing" in data[:second] or b"Info" in data[:second]
    tag = b"ID3\x03\0\0\0\4\0\0" + bytes(2**16)  # a picture stands before the frames
    (tmp_path / "streamed.mp3").write_bytes(tag + data[second:])
    _check(tmp_path / "streamed.mp3", 0.97)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000 - 36])
def test_a_wav_of_unknown_size_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    data = bytearray(_written(tmp_path / "clip.wav"))
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    (tmp_path / "streamed.wav").write_bytes(data)
    _check(tmp_path / "streamed.wav", 0.999)


# --- cut short -----------------------------------------------------------------------------------

WHOLE = len(SPEECH) / audio.RATE
KNOWN = ["wav", "flac", "mp3", "aiff", "w64", "au"]


def _cut(folder: Path, suffix: str, keep: float) -> Path:
    data = _written(folder / f"whole.{suffix}")
    path = folder / f"clip.{suffix}"
    path.write_bytes(data[: int(len(data) * keep)])
    return path


@pytest.mark.parametrize("suffix", KNOWN)
def test_a_recording_cut_short_is_read_and_what_is_missing_is_named(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = _cut(tmp_path, suffix, 0.6)
    whole, read = audio.load(tmp_path / f"whole.{suffix}"), audio.load(path)
    there = len(read) / audio.RATE
    assert 0.45 * WHOLE < there < 0.65 * WHOLE
    line = f"{path}: cut short: {there:.1f} of {WHOLE:.1f} s are there"
    assert caplog.messages == [line]
    np.testing.assert_allclose(read[:-2000], whole[: len(read) - 2000], atol=1e-5)
    np.testing.assert_array_equal(audio.decode(path.read_bytes(), str(path)), read)
    for seconds in (0.07, 0.5, 30.0):
        np.testing.assert_allclose(np.concatenate(list(blocks(path, seconds))), read, atol=1e-6)
    assert caplog.messages == [line] * 5
    assert audio.info(path).frames == len(read)
    with pytest.raises(AudioError) as caught:
        audio.check(path)
    assert str(caught.value) == line


@pytest.mark.parametrize("suffix", [*KNOWN, "ogg"])
def test_of_a_recording_cut_short_a_stretch_that_is_missing_is_refused(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = _cut(tmp_path, suffix, 0.8)
    np.testing.assert_allclose(
        audio.load(path, 0.1, 0.5), audio.load(tmp_path / f"whole.{suffix}", 0.1, 0.5), atol=1e-5
    )
    assert not caplog.messages
    for start, end in [(0.2, WHOLE), (WHOLE - 0.05, WHOLE), (WHOLE - 0.05, None)]:
        with pytest.raises(AudioError, match="cut short"):
            audio.load(path, start, end)


def test_an_ogg_without_an_end_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _cut(tmp_path, "ogg", 0.8)
    there = len(audio.load(path)) / audio.RATE
    assert 0.3 < there < WHOLE
    assert caplog.messages == [f"{path}: cut short, the stream has no end: {there:.1f} s are there"]
    with pytest.raises(AudioError, match="cut short"):
        audio.check(path)


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_damage_ends_a_recording(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(_written(tmp_path / f"whole.{suffix}"))
    middle = len(data) // 2
    data[middle : middle + 5000] = b"\x55" * 5000
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(data)
    read = audio.load(path)
    assert 0.3 * WHOLE < len(read) / audio.RATE < 0.9 * WHOLE
    assert len(caplog.messages) == 1
    np.testing.assert_array_equal(np.concatenate(list(blocks(path, 0.4))), read)


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_rest_of_less_than_a_tenth_of_a_second_is_refused(tmp_path: Path, suffix: str) -> None:
    path = _cut(tmp_path, suffix, 0.03)
    for read in (audio.load, lambda path: list(blocks(path))):
        with pytest.raises(
            AudioError, match=rf"clip\.{suffix}: cut short: 0\.\d of .* s are there, too little"
        ):
            read(path)


def test_slices_of_an_mp3_of_unknown_length_are_the_whole(tmp_path: Path) -> None:
    data = _written(tmp_path / "clip.mp3").replace(b"Info", b"\0" * 4).replace(b"Xing", b"\0" * 4)
    edges = [0.0, 0.4, 0.9, None]
    parts = [audio.decode(data, start=a, end=b) for a, b in pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), audio.decode(data), atol=1e-6)
    with pytest.raises(AudioError, match=r"9 s is not a stretch of this recording of \d\.\d{3} s"):
        audio.decode(data, start=0.5, end=9.0)
