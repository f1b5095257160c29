"""Recordings as people have them: who felt what, when; formats; an hour; words that can't be read.

    UNDERTONE_DATA=… python benchmarks/recordings.py SECTION … [--out DIR] [--quick]

calls     20 calls of two minutes of RAVDESS clips, a speaker a channel: turns, on which channel, how near
          in time; the same calls mixed, with who speaks when
formats   thirteen formats of real clips against ffmpeg's decoding of them, and against the wav behind them
hour      an hour of a call in mp3: memory and speed without words (opponent: real time), every output written
words     the same with words by the recogniser in the box (OMP_NUM_THREADS=2: on two cores)
texts     200 texts in five scripts and noise, and GoEmotions' dev part: how many count as evidence
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.append(str(Path(__file__).parents[1]))  # ``studies`` is not installed

import numpy as np
import soundfile

from _timing import line
from undertone import audio
from undertone.alignment.sphinx.aligner import SphinxAligner
from undertone.audio.noise import active_span
from undertone.errors import UndertoneError
from undertone.judging.predictor import Predictor, load
from undertone.types import Prediction

RATE = audio.RATE
SECONDS = 120.0
FORMATS = {
    "wav 24 bit": ["-c:a", "pcm_s24le", "wav"],
    "wav float": ["-c:a", "pcm_f32le", "wav"],
    "flac": ["-c:a", "flac", "flac"],
    "aiff": ["-c:a", "pcm_s16be", "aiff"],
    "caf": ["-c:a", "pcm_s16le", "caf"],
    "w64": ["-c:a", "pcm_s16le", "w64"],
    "mp3 128k": ["-c:a", "libmp3lame", "-b:a", "128k", "mp3"],
    "mp3 without Xing": ["-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0", "mp3"],
    "ogg vorbis": ["-c:a", "libvorbis", "-q:a", "6", "ogg"],
    "opus 64k": ["-c:a", "libopus", "-b:a", "64k", "opus"],
    "m4a aac 128k": ["-c:a", "aac", "-b:a", "128k", "m4a"],
    "webm opus 64k": ["-c:a", "libopus", "-b:a", "64k", "webm"],
    "wma 128k": ["-c:a", "wmav2", "-b:a", "128k", "wma"],
}  # fmt: skip
"""ffmpeg's options and the suffix."""


@dataclass(frozen=True)
class Said:
    """One turn of a made call: what was put where."""

    speaker: str
    channel: int
    start: float
    end: float


def made_calls(data: Path, count: int) -> Iterator[tuple[np.ndarray, list[Said]]]:
    """Calls ``(N, 2)`` of two actors who take turns, pauses of 0.3 to 1.5 s between, and their turns.

    A turn is from its first word to its last, as forced alignment of the known sentence has them: actors
    breathe and click before and after, which is no speech.
    """
    clips: dict[str, list[dict[str, str]]] = {}
    with (data / "ravdess" / "manifest.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            clips.setdefault(row["speaker"], []).append(row)
    actors, aligner = sorted(clips), SphinxAligner()
    for number in range(count):
        drawn = np.random.default_rng([number, 11])
        pair = drawn.choice(actors, 2, replace=False)
        wave, turns = np.zeros((round(SECONDS * RATE), 2), np.float32), []
        wave += 1e-4 * drawn.standard_normal(wave.shape).astype(np.float32)
        at, channel = float(drawn.uniform(0.3, 1.0)), int(drawn.integers(2))
        while True:
            row = clips[pair[channel]][drawn.integers(len(clips[pair[channel]]))]
            clip = audio.load(data / "ravdess" / row["path"])
            try:
                words = aligner.align(clip, RATE, row["transcript"]).word
            except UndertoneError:
                continue
            first, last = active_span(clip, RATE)
            part, zero = clip[first:last], at - first / RATE
            if at + len(part) / RATE > SECONDS - 0.5:
                break
            begin = round(at * RATE)
            wave[begin : begin + len(part), channel] += part
            turns.append(Said(str(pair[channel]), channel, zero + words[0].start, zero + words[-1].end))
            at += len(part) / RATE + drawn.uniform(0.3, 1.5)
            channel = 1 - channel
        yield wave, turns


def calls(data: Path, out: Path, quick: bool) -> None:
    """Turns on the right channel, their times, and labels across channels."""
    judge = load("starter")
    totals = {"split": [0, 0, 0.0], "mixed with turns": [0, 0, 0.0]}
    turns = leaks = 0
    for number, (wave, said) in enumerate(made_calls(data, 3 if quick else 20)):
        path = out / f"call-{number:02}.wav"
        soundfile.write(path, wave, RATE, subtype="PCM_16")
        rttm = out / f"call-{number:02}.rttm"
        rttm.write_text(
            "".join(
                f"SPEAKER call-{number:02} 1 {t.start:.3f} {t.end - t.start:.3f} <NA> <NA>"
                f" channel_{t.channel} <NA> <NA>\n"
                for t in said
            )
        )
        mono = out / f"mono-{number:02}.wav"
        soundfile.write(mono, wave.sum(1), RATE, subtype="PCM_16")
        turns += len(said)
        for name, found in (
            ("split", judge.predict(path, channels="split", explain=False)),
            ("mixed with turns", judge.predict(mono, speakers=str(rttm), explain=False)),
        ):
            right, near, worst = _matched(said, found.turns)
            totals[name][0] += right
            totals[name][1] += near
            totals[name][2] = max(totals[name][2], worst)
            if name == "split":
                leaks += sum(not _inside(cell, said) for cell in found.segments)
    for name, (right, near, worst) in totals.items():
        line(
            f"recordings/calls/{name}",
            turns=turns,
            right_channel=right / turns,
            within_300_ms=near / turns,
            worst_seconds=worst,
            cells_beside_their_channel=leaks if name == "split" else None,
        )


def _matched(said: list[Said], turns: Any) -> tuple[int, int, float]:
    """Turns with an answer on their channel, those of them with both times within 0.3 s, the largest miss."""
    right, near, worst = 0, 0, 0.0
    for turn in said:
        name = f"channel {turn.channel}"
        own = [t for t in turns if t.speaker in (name, name.replace(" ", "_"))]
        overlaps = [min(t.end, turn.end) - max(t.start, turn.start) for t in own]
        if not overlaps or max(overlaps) <= 0:
            continue
        best = own[int(np.argmax(overlaps))]
        right += 1
        miss = max(abs(best.start - turn.start), abs(best.end - turn.end))
        worst, near = max(worst, miss), near + (miss <= 0.3)
    return right, near, worst


def _inside(cell: Any, said: list[Said]) -> bool:
    """Whether the channel's own speaker speaks somewhere in the cell."""
    return any(
        f"channel {t.channel}" == cell.speaker and min(t.end, cell.end) > max(t.start, cell.start)
        for t in said
    )


def formats(data: Path, out: Path, quick: bool) -> None:
    """The same clips in other formats."""
    if shutil.which("ffmpeg") is None:
        line("recordings/formats", skipped="ffmpeg is not installed")
        return
    judge = load("starter")
    with (data / "ravdess" / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen = [
        data / "ravdess" / rows[i]["path"]
        for i in np.random.default_rng(3).permutation(len(rows))[: 5 if quick else 20]
    ]
    wavs = []
    for number, clip in enumerate(chosen):
        wav = out / f"clip-{number}.wav"
        soundfile.write(wav, audio.load(clip), RATE, subtype="PCM_16")
        wavs.append(wav)
    known = [judge.predict(wav, explain=False) for wav in wavs]
    for name, (*options, suffix) in FORMATS.items():
        read, coded = [], []
        for wav, wanted in zip(wavs, known, strict=True):
            other, decoded = wav.with_suffix(f".x.{suffix}"), wav.with_suffix(".y.wav")
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", wav, *options, other], check=True)
            subprocess.run(
                ["ffmpeg", "-v", "error", "-y", "-i", other, "-ar", str(RATE), "-c:a", "pcm_f32le", decoded],
                check=True,
            )
            found, theirs = (judge.predict(path, explain=False) for path in (other, decoded))
            read.append((found.label == theirs.label, _apart(found, theirs)))
            coded.append((found.label == wanted.label, _apart(found, wanted)))
        line(
            f"recordings/formats/{name}/ffmpeg's decoding",
            same_label=np.mean([same for same, _ in read]),
            largest_difference=max(apart for _, apart in read),
            same_label_as_original=np.mean([same for same, _ in coded]),
            difference_from_original=max(apart for _, apart in coded),
            clips=len(wavs),
        )


def _apart(one: Prediction, other: Prediction) -> float:
    return max(abs(one.probabilities[label] - p) for label, p in other.probabilities.items())


def _hour(data: Path, out: Path, minutes: int) -> Path:
    """Calls one after the other, as mp3 of two channels."""
    path = out / f"hour-{minutes}.mp3"
    if not path.is_file():
        with soundfile.SoundFile(path, "w", RATE, 2, format="MP3", subtype="MPEG_LAYER_III") as file:
            for wave, _ in made_calls(data, max(1, minutes // 2)):
                file.write(wave)
    return path


def hour(data: Path, out: Path, quick: bool, words: bool = False) -> None:
    """In a process of its own, so that its memory is that of this alone."""
    path = _hour(data, out, 4 if quick else 60)
    command = [
        sys.executable,
        __file__,
        "one",
        "--out",
        str(out),
        "--file",
        str(path),
        *(["--asr"] if words else []),
    ]
    subprocess.run(command, check=True)


def one(path: Path, out: Path, asr: bool) -> None:
    """Judge a file by channels, write every output, print memory and speed."""
    from undertone.judging.outputs import SUFFIXES, write

    began, cpu = time.perf_counter(), time.process_time()
    judge: Predictor = load("starter", asr=asr)
    ready = time.perf_counter()
    found = judge.predict(path, channels="split", explain=asr)
    wall, used = time.perf_counter() - ready, time.process_time() - cpu
    folder = out / ("words" if asr else "speech")
    folder.mkdir(parents=True, exist_ok=True)
    for form in ("timeline", "srt", "vtt", "textgrid", "jsonl", "rttm"):
        (folder / f"hour{SUFFIXES[form]}").write_text("".join(write([found], form)), encoding="utf-8")
    seconds = found.evidence.seconds or 0.0
    line(
        f"recordings/hour/{'words' if asr else 'speech'}/real time",
        ratio=seconds / wall,
        seconds=seconds,
        wall_s=wall,
        cpu_s=used,
        ready_s=ready - began,
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        turns=len(found.turns),
        words=len(found.words),
        last_turn_ends=found.turns[-1].end,
    )
    _read_back(folder, seconds)


def _read_back(folder: Path, seconds: float) -> None:
    """Others' readers open what was written, and the times are the recording's."""
    import webvtt
    from praatio import textgrid as praat

    grid = praat.openTextgrid(str(folder / "hour.TextGrid"), includeEmptyIntervals=False)
    cues = list(webvtt.read(str(folder / "hour.vtt")))
    captions = list(webvtt.from_srt(str(folder / "hour.srt")))
    with (folder / "hour.timeline.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    line(
        "recordings/hour/read back",
        tiers=list(grid.tierNames),
        textgrid_ends=grid.maxTimestamp,
        vtt_cues=len(cues),
        vtt_ends=cues[-1].end,
        srt_cues=len(captions),
        srt_ends=captions[-1].end,
        csv_rows=len(rows),
        csv_ends=float(rows[-1]["end"]),
        seconds=seconds,
    )


SCRIPTS = {
    "Cyrillic": "я ты он она мы ненавижу люблю сегодня очень плохо хорошо почему дом день работа друг",
    "Greek": "εγώ εσύ αυτός σήμερα πολύ κακό καλό γιατί ποτέ σπίτι μέρα δουλειά φίλος μισώ αγαπώ",
    "Arabic": "أنا أنت هو اليوم جدا سيئ جيد لماذا أبدا بيت يوم عمل صديق أكره أحب",
    "Han": "我 你 他 今天 非常 不好 很好 为什么 从来 房子 工作 朋友 讨厌 喜欢",
    "Devanagari": "मैं तुम वह आज बहुत बुरा अच्छा क्यों कभी घर दिन काम दोस्त नफ़रत प्यार",
}


def texts(data: Path, _out: Path, _quick: bool) -> None:
    """How many texts of other scripts and of noise are refused, and how many of English sentences."""
    from studies.starter import sentences
    from undertone.features.english import not_english

    drawn = np.random.default_rng(5)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    for name, words in SCRIPTS.items():
        made = [" ".join(drawn.choice(words.split(), drawn.integers(2, 9))) for _ in range(33)]
        line(
            f"recordings/texts/{name}", not_evidence=np.mean([not_english(t) is not None for t in made]), n=33
        )
    noise = [
        " ".join("".join(drawn.choice(letters, drawn.integers(3, 10))) for _ in range(drawn.integers(1, 6)))
        for _ in range(25)
    ] + ["".join(drawn.choice(list("!?#@*&%$0123456789 "), 12)) for _ in range(10)]
    line(
        "recordings/texts/noise",
        not_evidence=np.mean([not_english(t) is not None for t in noise]),
        n=len(noise),
    )
    for part in ("dev", "train"):
        rows = sentences.read(data, part)
        refused = [row.text for row in rows if not_english(row.text)]
        line(f"recordings/texts/GoEmotions {part}", not_evidence=len(refused) / len(rows), n=len(rows))
    turns = [row.text for row in sentences.turns(data, "dailydialog", "valid")]
    refused_turns = sum(not_english(text) is not None for text in turns)
    line("recordings/texts/DailyDialog valid", not_evidence=refused_turns / len(turns), n=len(turns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sections", nargs="*", default=["calls", "formats", "hour", "words", "texts"])
    parser.add_argument("--out", type=Path, default=Path("runs/recordings"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--asr", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.sections == ["one"]:
        one(options.file, options.out, options.asr)
        return
    if "UNDERTONE_DATA" not in os.environ:
        print(json.dumps({"name": "recordings", "skipped": "UNDERTONE_DATA names no folder"}))
        return
    data = Path(os.environ["UNDERTONE_DATA"])
    for section in options.sections:
        if section == "words":
            hour(data, options.out, options.quick, words=True)
        else:
            {"calls": calls, "formats": formats, "hour": hour, "texts": texts}[section](
                data, options.out, options.quick
            )


if __name__ == "__main__":
    main()
