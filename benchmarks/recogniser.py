"""How fast and how right is the recogniser of ``--asr``, and does it ever run away?

    UNDERTONE_DATA=… python benchmarks/recogniser.py [--quick] [--model DIR|NAME]

TIMIT's shared sentences (8 speakers), one thread, greedy: word error rate, seconds of processor time, and the
slowest clip beside the median one. The opponents: the engine called directly (word errors), and the pipeline
of transformers with the same network (time, on a few clips). Silence, noise and tones must give no words.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from _timing import line
from undertone import audio, pretrained
from undertone.alignment.transcript import normalise
from undertone.judging.asr import Recogniser, Whisper

RATE = audio.RATE


def spoken(text: str) -> list[str]:
    return [word.text for word in normalise(text)]


def errors(wanted: list[str], got: list[str]) -> int:
    """Substitutions, insertions and deletions between two lists of words."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    data = Path(os.environ.get("UNDERTONE_DATA") or "")
    if not (data / "timit_sample").is_dir():
        raise SystemExit("UNDERTONE_DATA names no folder with timit_sample: nothing is measured")
    name = options.model or str(data / "encoders" / "whisper-tiny.en")
    with (data / "timit_sample" / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:: 8 if options.quick else 1]
    waves = [audio.load(data / "timit_sample" / row["path"]) for row in rows]
    texts = [spoken(row["transcript"]) for row in rows]
    ours = Recogniser(name)
    ours.transcribe(waves[0])
    wrong, taken = 0, []
    for wave, text in zip(waves, texts, strict=True):
        began = time.process_time()
        transcript = ours.transcribe(wave)
        taken.append(time.process_time() - began)
        wrong += errors(text, spoken(transcript.text) if transcript else [])
    engine, direct = Whisper(name), 0
    for wave, text in zip(waves, texts, strict=True):
        pieces, _ = engine._model.transcribe(wave, beam_size=1)
        direct += errors(text, spoken(" ".join(piece.text for piece in pieces)))
    seconds, count = sum(map(len, waves)) / RATE, sum(map(len, texts))
    line(
        "recogniser on TIMIT's shared sentences",
        times_real_time=seconds / sum(taken),
        word_error_rate=wrong / count,
        engine_word_error_rate=direct / count,
        slowest_over_median=max(taken) / float(np.median(taken)),
        clips=len(waves),
    )
    pipeline = pretrained.load_recogniser(name)
    few = waves[:: max(1, len(waves) // 4)][:4]
    began = time.process_time()
    for wave in few:
        pipeline({"raw": wave, "sampling_rate": RATE})
    theirs = time.process_time() - began
    began = time.process_time()
    for wave in few:
        ours.transcribe(wave)
    mine = time.process_time() - began
    line("recogniser / transformers' pipeline", ratio=theirs / mine, ours_s=mine, theirs_s=theirs)
    drawn, t = np.random.default_rng(0), np.arange(5 * RATE) / RATE
    nothing = {
        "silence": np.zeros(3 * RATE),
        "white noise": 0.05 * drawn.standard_normal(5 * RATE),
        "hum": 0.1 * np.sin(2 * np.pi * 50 * t),
        "chord": 0.05 * sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)),
    }
    words = {kind: ours.transcribe(wave.astype(np.float32)) for kind, wave in nothing.items()}
    line("words where nobody speaks", **{kind: text.text if text else "" for kind, text in words.items()})


if __name__ == "__main__":
    main()
