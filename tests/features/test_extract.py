"""Extraction: once, the same whoever does it, through bad input and sudden death."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from undertone import manifest
from undertone.errors import DataError
from undertone.features.extract import extract, read_speech, read_text, speech_key, text_key
from undertone.features.speech import speech_encoder
from undertone.store import Store
from undertone.types import Utterance

Clips = Callable[..., list[Utterance]]
ACOUSTIC = speech_encoder("acoustic")


def same(a: Store, b: Store) -> bool:
    """Equal keys, bit-identical arrays."""
    if a.keys() != b.keys():
        return False
    pairs = ((a.get(key) or {}, b.get(key) or {}) for key in sorted(a.keys()))
    return all(x.keys() == y.keys() and all(np.array_equal(x[n], y[n]) for n in x) for x, y in pairs)


def test_every_clip_is_encoded_once(tmp_path: Path, clips: Clips) -> None:
    store, utterances = Store(tmp_path / "store"), clips(0.5, 1.0, 0.7)
    first = extract(utterances, store, ACOUSTIC)
    assert (first.computed, first.hits, first.bad) == (3, 0, [])
    assert first.audio_seconds == pytest.approx(2.2)
    again = extract(utterances, Store(tmp_path / "store"), speech_encoder("acoustic"))
    assert (again.computed, again.hits) == (0, 3)
    frames = read_speech(store, utterances[1], ACOUSTIC)
    assert frames is not None and frames.shape == (25, ACOUSTIC.dim)


def test_the_same_sound_under_two_names_is_one_entry(tmp_path: Path, clips: Clips) -> None:
    (one,) = clips(0.5)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(Path(one.audio).read_bytes())
    store = Store(tmp_path / "store")
    report = extract([one, replace(one, id="b", audio=str(copy))], store, ACOUSTIC)
    assert (report.computed, report.hits, len(store)) == (1, 1, 1)


def test_a_key_says_everything_that_determines_the_frames(clips: Clips, tmp_path: Path) -> None:
    (one,) = clips(2.0)
    (other,) = (replace(one, audio=str(tmp_path / "other.wav")),)
    soundfile.write(other.audio, np.zeros(100), 16_000)
    half = speech_encoder("acoustic", keep="fp16")
    keys = {
        speech_key(one, ACOUSTIC),
        speech_key(other, ACOUSTIC),
        speech_key(replace(one, start=0.5), ACOUSTIC),
        speech_key(replace(one, start=0.5, end=1.0), ACOUSTIC),
        speech_key(one, half),
        speech_key(one, speech_encoder("acoustic", acoustic={"mels": 20})),
    }
    assert len(keys) == 6
    assert speech_key(replace(one, id="x", text="y", label="z"), ACOUSTIC) in keys


def test_a_file_that_changes_is_encoded_again(tmp_path: Path, clips: Clips) -> None:
    store, (one,) = Store(tmp_path / "store"), clips(0.5)
    extract([one], store, ACOUSTIC)
    soundfile.write(one.audio, np.zeros(16_000), 16_000)
    assert extract([one], store, ACOUSTIC).computed == 1


def test_spans_of_one_recording_are_each_their_own(tmp_path: Path, clips: Clips) -> None:
    store, (whole,) = Store(tmp_path / "store"), clips(3.0)
    parts = [replace(whole, id=f"p{n}", start=n * 1.0, end=n + 1.0) for n in range(3)]
    extract(parts, store, ACOUSTIC)
    samples, _ = soundfile.read(whole.audio, dtype="float32")
    for number, part in enumerate(parts):
        (expected,) = ACOUSTIC.encode([samples[number * 16_000 : (number + 1) * 16_000]])
        found = read_speech(store, part, ACOUSTIC)
        assert found is not None and np.array_equal(found, expected)


def test_fp16_is_within_a_thousandth(tmp_path: Path, clips: Clips) -> None:
    store, (one,) = Store(tmp_path / "store"), clips(1.0)
    half = speech_encoder("acoustic", keep="fp16")
    extract([one], store, ACOUSTIC)
    extract([one], store, half)
    a, b = read_speech(store, one, half), read_speech(store, one, ACOUSTIC)
    assert a is not None and b is not None and a.dtype == np.float16
    assert np.abs(a - b).max() / np.abs(b).max() <= 1e-3


def test_damage_is_extracted_again(tmp_path: Path, clips: Clips) -> None:
    store, utterances = Store(tmp_path / "store"), clips(0.5, 0.6, 0.7)
    extract(utterances, store, ACOUSTIC)
    (shard,) = store.shards.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    hurt = Store(tmp_path / "store")
    assert len(hurt.verify()) == 1
    report = extract(utterances, hurt, ACOUSTIC)
    assert (report.computed, report.hits) == (1, 2)
    assert all(read_speech(Store(tmp_path / "store"), u, ACOUSTIC) is not None for u in utterances)


def bad_ones(tmp_path: Path, clips: Clips) -> list[Utterance]:
    """What a corpus may hold; ids say what should become of it."""
    made = {
        "good-silence": np.zeros(16_000),
        "good-20ms": np.random.default_rng(0).normal(0, 0.1, 320),
        "bad-nan": np.where(np.arange(8_000) == 77, np.nan, 0.1),
    }
    found = clips(0.5)
    for name, samples in made.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        found.append(Utterance(id=name, audio=str(path)))
    (tmp_path / "text.wav").write_text("this is not audio")
    return [
        *found,
        Utterance(id="bad-gone", audio=str(tmp_path / "gone.wav")),
        Utterance(id="bad-text", audio=str(tmp_path / "text.wav")),
        replace(found[0], id="bad-span", start=3.0, end=4.0),
        *clips(0.5, 0.9),
    ]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])  # two start processes
def test_bad_clips_are_named_and_the_rest_goes_on(tmp_path: Path, clips: Clips, jobs: int) -> None:
    utterances, store = bad_ones(tmp_path, clips), Store(tmp_path / "store")
    report = extract(utterances, store, ACOUSTIC, skip_bad=True, jobs=jobs)
    assert {bad.id for bad in report.bad} == {"bad-nan", "bad-gone", "bad-text", "bad-span"}
    for bad in report.bad:
        assert bad.id[4:] in bad.why or "wav" in bad.why
    sound = [u for u in utterances if not u.id.startswith("bad")]
    assert all(read_speech(store, u, ACOUSTIC) is not None for u in sound)
    with pytest.raises(
        DataError, match=r"4 could not be encoded, the rest is done .*bad-gone: .*no such file"
    ):
        extract(utterances, store, ACOUSTIC)


def test_half_an_hour_is_encoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    minute = np.random.default_rng(0).normal(0, 0.05, 60 * 16_000).astype(np.float32)
    soundfile.write(path, np.tile(minute, 30), 16_000)
    store, long = Store(tmp_path / "store"), Utterance(id="long", audio=str(path))
    extract([long], store, ACOUSTIC)
    frames = read_speech(store, long, ACOUSTIC)
    assert frames is not None and len(frames) == 30 * 60 * 25


@pytest.mark.slow  # starts processes
def test_the_number_of_workers_changes_nothing(tmp_path: Path, clips: Clips) -> None:
    utterances = clips(*(0.3 + 0.1 * n for n in range(12)))
    stores = [Store(tmp_path / f"store{jobs}") for jobs in (1, 2, 3)]
    for jobs, store in zip((1, 2, 3), stores, strict=True):
        extract(utterances, store, ACOUSTIC, jobs=jobs)
    assert same(stores[0], stores[1]) and same(stores[0], stores[2])


def test_transcripts_are_kept_beside_the_clips(
    tmp_path: Path, clips: Clips, checkpoint: Callable[[str], Path]
) -> None:
    from undertone.features.text import text_encoder

    text = text_encoder(str(checkpoint("bert")), precision="fp32")
    said = ["you can not", "", "you can not", "good " * 10_000]
    utterances = [replace(u, text=t) for u, t in zip(clips(*[0.2] * 4), said, strict=True)]
    store = Store(tmp_path / "store")
    report = extract(utterances, store, ACOUSTIC, text)
    assert (report.computed, report.hits) == (4 + 3, 1)
    found = [read_text(store, u, text) for u in utterances]
    assert [len(f.vectors) for f in found if f] == [5, 0, 5, 10_002]
    assert found[0] is not None and np.array_equal(found[0].vectors, text.encode(["you can not"])[0].vectors)
    assert store.get(text_key(replace(utterances[0], text=None), text)) is not None, "as empty as ''"


KILLED = """
import sys, time
from pathlib import Path
from undertone import manifest
from undertone.features.extract import extract
from undertone.features.acoustic import Acoustic
from undertone.features.config import SpeechConfig
from undertone.store import Store

class Slow(Acoustic):
    def encode(self, waves):
        time.sleep(0.01)
        return super().encode(waves)

class Eager(Store):
    def writer(self):
        return super().writer(shard_bytes=20_000)

extract(manifest.read(sys.argv[1]).resolved(), Eager(sys.argv[2]), Slow(SpeechConfig()))
"""


def kill_and_resume(tmp_path: Path, clips: Clips, times: int, count: int) -> None:
    """Start, kill -9 at a random moment, look: what was finished is intact. At last let it finish."""
    utterances, rng = clips(*[0.2 + 0.01 * (n % 17) for n in range(count)]), random.Random(5)
    manifest.write(tmp_path / "m.jsonl", utterances, manifest.Meta())
    whole, killed = Store(tmp_path / "whole"), tmp_path / "killed"
    extract(utterances, whole, ACOUSTIC)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "m.jsonl"), str(killed)]
    kept = 0
    for _ in range(times):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        waited = time.monotonic()
        while process.poll() is None and len(Store(killed)) <= kept and time.monotonic() - waited < 60:
            time.sleep(0.01)  # until it has done something new
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = Store(killed)
        assert store.verify() == [] and len(store) >= kept
        kept = len(store)
    assert subprocess.run(command, check=False).returncode == 0
    assert same(Store(killed), whole)


def test_a_kill_loses_only_the_shard_in_flight(tmp_path: Path, clips: Clips) -> None:
    kill_and_resume(tmp_path, clips, times=1, count=60)


@pytest.mark.slow  # ten processes, each killed
def test_ten_kills_at_random_moments_end_in_the_same_store(tmp_path: Path, clips: Clips) -> None:
    kill_and_resume(tmp_path, clips, times=10, count=400)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit status, stdout, stderr."""

    def command(*words: Any) -> tuple[int, str, str]:
        from undertone.cli.app import main

        monkeypatch.setattr(sys, "argv", ["undertone", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def test_the_command_exits_1_with_the_list_or_0_when_told_to_skip(
    tmp_path: Path, clips: Clips, run: Callable[..., tuple[int, str, str]]
) -> None:
    path, store = tmp_path / "m.jsonl", tmp_path / "store"
    manifest.write(path, bad_ones(tmp_path, clips), manifest.Meta())
    words = ("extract", path, "--speech", "acoustic", "--store", store)
    status, _, err = run(*words)
    assert status == 1 and "bad-gone: " in err and "4 could not be encoded" in err and "fp32" in err
    status, out, err = run(*words, "--skip-bad", "--json")
    assert status == 0 and "bad-nan: " in err
    assert json.loads(out)["computed"] == 0 and len(json.loads(out)["bad"]) == 4
    assert run("extract", path)[0] == 1


def test_the_store_is_looked_after_from_the_command_line(
    tmp_path: Path, clips: Clips, run: Callable[..., tuple[int, str, str]]
) -> None:
    root = tmp_path / "store"
    extract(clips(0.5, 0.6), Store(root), ACOUSTIC)
    here = ("--store", root)
    assert run("store", "path", *here)[1].strip() == str(root)
    assert "acoustic: 2 entries" in run("store", "stat", *here)[1]
    assert json.loads(run("store", "stat", "--json", *here)[1])["encoders"]["acoustic"]["entries"] == 2
    assert run("store", "verify", *here)[0] == 0
    (shard,) = Store(root).shards.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    status, out, _ = run("store", "verify", *here)
    assert status == 1 and "checksum" in out
    assert run("store", "gc", *here)[0] == 0 and run("store", "verify", *here)[0] == 0
    assert len(Store(root)) == 1
    assert run("store", "clear", "--yes", *here)[0] == 0 and len(Store(root)) == 0
