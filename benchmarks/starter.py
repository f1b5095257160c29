"""Times of the first prediction and of each further one, and the packages that it imports.

    python benchmarks/starter.py [--quick] [--model FOLDER]

Cold: `undertone predict clip.flac --text "…"` in a process of its own, beside `import torch` alone, which is
most of the time. Warm: a three-second clip, with words, and with each word's contribution, on one thread,
beside a wav2vec 2.0 classifier of base size with random weights (``--quick``: with one of its twelve layers).
Without ``--model`` the installed starter is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from _timing import measure, report

TEXT = "I can't believe you did that"
RATE = 16_000


def clip(path: Path, seconds: float = 3.0) -> Path:
    """A voice-like sound between two silences."""
    import soundfile

    random = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(160 + 40 * np.sin(5 * t)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.clip(np.sin(np.pi * t / seconds), 0.0, 1.0)
    soundfile.write(path, (0.05 * voice + 0.001 * random.standard_normal(len(t))).astype(np.float32), RATE)
    return path


def cold(words: list[str], repeats: int, bytecode: Path) -> tuple[float, float]:
    """Median wall and processor seconds of a process of its own, whose modules are compiled already, in the
    folder ``bytecode``: pip compiles them when it installs."""
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)
    walls, busy = [], []
    for _ in range(repeats + 1):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True, env=compiled)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - began)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(walls[1:]), median(busy[1:])  # the first compiles, and fills the disk's cache


def imported(sound: Path, model: str) -> list[str]:
    """Heavy packages that a prediction imports."""
    code = (
        "import sys, undertone; undertone.load(sys.argv[1]).predict(sys.argv[2], text='so glad');"
        "print(*sorted({'torch', 'transformers', 'scipy', 'sklearn', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, model, str(sound)], check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.split()


def rival(layers: int) -> Any:
    """A wav2vec 2.0 classifier with random weights."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    net = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(num_hidden_layers=layers, num_labels=4)).eval()

    def judge(wave: np.ndarray) -> Any:
        with torch.inference_mode():
            return net(torch.from_numpy(wave)[None]).logits.softmax(-1)

    return judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, a smaller opponent")
    parser.add_argument("--model", default="starter", help="a model folder; default: the installed starter")
    chosen = parser.parse_args()
    import torch

    from undertone import load
    from undertone.audio import load as read

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        sound = clip(Path(scratch) / "clip.flac")
        words = ["-m", "undertone", "predict", str(sound), "--text", TEXT, "-m", chosen.model, "-f", "json"]
        repeats = 3 if chosen.quick else 7
        floor_wall, floor_busy = cold(["-c", "import torch"], repeats, Path(scratch))
        wall, busy = cold(words, repeats, Path(scratch))
        heavy = " ".join(imported(sound, chosen.model))
        report(
            "starter/cold-import-torch", wall, floor_wall, cpu_s=busy, floor_cpu_s=floor_busy, imports=heavy
        )
        model = load(chosen.model)
        wave = read(sound)
        layers = 1 if chosen.quick else 12
        other = rival(layers)
        rivals = {
            "speech": lambda: model.predict(wave, explain=False),
            "both": lambda: model.predict(wave, text=TEXT, explain=False),
            "explained": lambda: model.predict(wave, text=TEXT),
            "theirs": lambda: other(wave),
        }
        times = measure(rivals, 5 if chosen.quick else 25)
        for name in ("speech", "both", "explained"):
            report(
                f"starter/warm-3s-{name}-wav2vec2-base-{layers}-layers",
                times[name].cpu,
                times["theirs"].cpu,
                ours_wall_s=times[name].wall,
                theirs_wall_s=times["theirs"].wall,
            )


if __name__ == "__main__":
    main()
