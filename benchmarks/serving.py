"""Speed of the service, gain of batching, and cost of HTTP.

    python benchmarks/serving.py [--quick] [--model FOLDER]

Loopback only, a bounded number of requests. Three-second clips, no transcript, at concurrency 1, 8 and 32,
with batching and without; the in-process predictor beside it; and the same encoder and network behind a plain
FastAPI handler that takes one request after the other. Without ``--model`` a network of the demo's size with
random weights: speed does not depend on the weights.

    UNDERTONE_DATA=… python benchmarks/serving.py --model FOLDER --whisper DIR [--runtime openvino]

Instead: a model over a Whisper of the box on real clips (RAVDESS) against transformers' audio-classification
pipeline over the same whole network in DIR, in fp32; 32 clients. The handler calls the pipeline in a pool of
as many threads as there are cores.

A handler around a transformers pipeline is measured with a wav2vec 2.0 of random weights (base size;
``--quick`` a small one), against the service with the same network as its encoder.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import httpx
import numpy as np

from _timing import line

SECONDS = 3.0
PLAIN = """
import io, os, sys, threading
import soundfile, uvicorn
from fastapi import FastAPI, UploadFile
from pathlib import Path
import torch
torch.set_num_threads(1)
kind, folder, port = sys.argv[1:4]
app = FastAPI()
lock = threading.Semaphore(len(os.sched_getaffinity(0)) if kind == "pool" else 1)
if kind in ("pipeline", "pool"):
    from transformers import pipeline
    judge = pipeline("audio-classification", model=folder, device="cpu")
    def answer(wave):
        return judge({"raw": wave, "sampling_rate": 16000})
else:
    from undertone.judging.clip import Clip
    from undertone.judging.predictor import load_model
    model = load_model(Path(folder))
    def answer(wave):
        return model.predict([Clip("clip", wave)])[0].plain()

@app.post("/v1/predict")
def predict(file: UploadFile):
    wave, rate = soundfile.read(io.BytesIO(file.file.read()), dtype="float32")
    with lock:
        return {"answer": answer(wave)}

uvicorn.run(app, port=int(port), log_level="error")
"""


def clip(seed: int) -> bytes:
    """A three-second wav of voiced noise."""
    import soundfile

    drawn = np.random.default_rng(seed)
    t = np.arange(round(SECONDS * 16_000)) / 16_000
    wave = sum(
        np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 9)
    ) * 0.05 + 0.01 * drawn.standard_normal(len(t))
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def demo_sized(folder: Path) -> Path:
    """A model folder of the demo's ``unison``, weights random."""
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.features.subword import Subword
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import build as build_system

    encoder = build(SpeechConfig())
    pieces = Subword.fit(["what a lovely day", "leave me alone now"], 300)
    sizes = Dimensions(classes=4, speech=encoder.dim, text=64, vocabulary=pieces.size)
    system = build_system("unison", {"width": 64}, sizes).eval()
    speech = {"name": "acoustic", "identity": encoder.identity, "settings": encoder.config.plain()}
    card = {
        "labels": ["angry", "happy", "sad", "neutral"],
        "encoders": {"speech": speech, "text": {"name": "subword"}},
    }
    folders.save(folder, system, card, pieces)
    return folder


def wav2vec(folder: Path, quick: bool) -> Path:
    """A wav2vec 2.0 classifier of random weights, saved by transformers."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    size = (
        {"num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4}
        if quick
        else {}
    )
    Wav2Vec2ForSequenceClassification(Wav2Vec2Config(num_labels=4, **size)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def over_wav2vec(folder: Path, network: Path) -> Path:
    """A model folder whose speech encoder is that network."""
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import build as build_system

    config = SpeechConfig(name=str(network), precision="fp32")
    encoder = build(config)
    system = build_system("speech", {"width": 64}, Dimensions(classes=4, speech=encoder.dim)).eval()
    card = {
        "labels": ["angry", "happy", "sad", "neutral"],
        "encoders": {
            "speech": {"name": encoder.name, "identity": encoder.identity, "settings": config.plain()}
        },
    }
    folders.save(folder, system, card)
    return folder


def classifier(folder: Path, network: Path) -> Path:
    """A whole Whisper with a head for classification, saved by transformers."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    AutoModelForAudioClassification.from_pretrained(network, num_labels=4, dtype="float32").save_pretrained(
        folder
    )
    AutoFeatureExtractor.from_pretrained(network).save_pretrained(folder)
    return folder


def recorded() -> list[bytes]:
    """Real clips, 3.7 s in the mean, as wav."""
    import soundfile

    files = sorted((Path(os.environ["UNDERTONE_DATA"]) / "ravdess").rglob("*.flac"))[::33]
    clips = []
    for path in files:
        file = io.BytesIO()
        soundfile.write(file, *soundfile.read(path, dtype="int16"), format="WAV", subtype="PCM_16")
        clips.append(file.getvalue())
    return clips


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, words: list[str], port: int, all_cores: bool = False) -> None:
        self.url = f"http://127.0.0.1:{port}"
        environment = dict(os.environ)
        if all_cores:
            del environment["OMP_NUM_THREADS"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(words, stdout=quiet, stderr=quiet, env=environment)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                httpx.get(self.url + "/openapi.json", timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        self.process.kill()
        raise SystemExit(f"did not start: {' '.join(words)[:200]}")

    def cpu(self) -> float:
        """Processor seconds of the server and its decoding process."""
        import psutil

        me = psutil.Process(self.process.pid)
        return float(sum(sum(p.cpu_times()[:2]) for p in (me, *me.children(recursive=True))))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def free_port() -> int:
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def undertone(model: Path | str, *more: str, all_cores: bool = False) -> Server:
    port = free_port()
    words = ["-m", "undertone", "serve", "--model", str(model), "--port", str(port), "--align", "none"]
    return Server([sys.executable, *words, *more], port, all_cores)


def plain(kind: str, folder: Path) -> Server:
    port = free_port()
    return Server([sys.executable, "-c", PLAIN, kind, str(folder), str(port)], port)


async def load(url: str, clips: list[bytes], concurrency: int, count: int) -> tuple[list[float], float]:
    """Seconds of each request, and of all together."""
    waiting = iter(range(count))
    taken: list[float] = []

    async def request(client: httpx.AsyncClient) -> None:
        for number in waiting:
            began = time.perf_counter()
            sound = ("clip.wav", clips[number % len(clips)], "audio/wav")
            answer = await client.post(url + "/v1/predict", files={"file": sound}, timeout=120)
            assert answer.status_code == 200, answer.text
            taken.append(time.perf_counter() - began)

    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(limits=limits) as client:
        began = time.perf_counter()
        await asyncio.gather(*(request(client) for _ in range(concurrency)))
        return taken, time.perf_counter() - began


def measure(server: Server, clips: list[bytes], concurrency: int, count: int) -> dict[str, float]:
    """Times at the clients, and the server's processor time a request, which other work changes less."""
    asyncio.run(load(server.url, clips, concurrency, max(4, concurrency)))  # warm
    before = server.cpu()
    taken, whole = asyncio.run(load(server.url, clips, concurrency, count))
    return {
        "cpu_ms": round(1000 * (server.cpu() - before) / count, 1),
        "p50_ms": round(1000 * median(taken), 1),
        "p95_ms": round(1000 * float(np.quantile(taken, 0.95)), 1),
        "per_second": round(count / whole, 1),
    }


def in_process(model: Path, clips: list[bytes], count: int) -> tuple[float, float]:
    """Median seconds, and processor seconds, of the predictor on the same uploads, in this process."""
    import torch

    from undertone.judging.predictor import Predictor, load_model

    torch.set_num_threads(1)
    predictor = Predictor(load_model(model))
    taken, worked = [], []
    for number in range(count + 3):
        began, busy = time.perf_counter(), time.process_time()
        predictor.predict(clips[number % len(clips)], explain=True)
        taken.append(time.perf_counter() - began)
        worked.append(time.process_time() - busy)
    return median(taken[3:]), median(worked[3:])


def against(
    name: str, clips: list[bytes], count: int, ours: Callable[[], Server], theirs: Callable[[], Server]
) -> None:
    """Both servers one after the other, at each concurrency."""
    times = {}
    for whose, start in (("ours", ours), ("theirs", theirs)):
        with start() as server:
            times[whose] = {c: measure(server, clips, c, count) for c in (1, 8, 32)}
    for c in (1, 8, 32):
        mine, other = times["ours"][c], times["theirs"][c]
        line(
            f"serving/{name}/concurrency-{c}",
            ratio=round(mine["per_second"] / other["per_second"], 2),
            ours_s=round(mine["p50_ms"] / 1000, 4),
            theirs_s=round(other["p50_ms"] / 1000, 4),
            ours=mine,
            theirs=other,
            cpu_ratio=round(other["cpu_ms"] / mine["cpu_ms"], 2),
        )


def over_whisper(model: Path, network: Path, count: int, options: list[str]) -> None:
    """32 clients post real clips to the service over the box, and to the pipeline over the whole network."""
    clips = recorded()
    with undertone(model, *options, all_cores=True) as server:  # the pool has one thread a core, too
        ours = measure(server, clips, 32, count)
    with plain("pool", network) as server:
        theirs = measure(server, clips, 32, max(48, count // 4))
    line(
        "serving/whisper-vs-fastapi-pipeline/concurrency-32",
        ratio=round(ours["per_second"] / theirs["per_second"], 2),
        ours=ours,
        theirs=theirs,
        cpu_ratio=round(theirs["cpu_ms"] / ours["cpu_ms"], 2),
        options=options,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer requests, a small wav2vec 2.0")
    parser.add_argument("--model", type=Path, help="a model folder, for example runs/demo/unison/final")
    parser.add_argument("--whisper", type=Path, help="a whole Whisper's folder: see above; with --model")
    parser.add_argument("--runtime", action="append", default=[], help="with --whisper: the service's engine")
    chosen = parser.parse_args()
    count = 48 if chosen.quick else 192
    clips = [clip(seed) for seed in range(8)]
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.whisper:
            network = classifier(Path(scratch) / "whisper", chosen.whisper)
            options = [word for name in chosen.runtime for word in ("--runtime", name)]
            over_whisper(chosen.model, network, count, options)
            return
        model = chosen.model or demo_sized(Path(scratch) / "demo")
        with undertone(model) as server:
            alone = measure(server, clips, 1, count)
        bare, worked = in_process(model, clips, count)
        line(
            "serving/http-over-in-process",
            ratio=round(alone["p50_ms"] / 1000 / bare, 2),
            ours_s=round(alone["p50_ms"] / 1000, 4),
            theirs_s=round(bare, 4),
            overhead_ms=round(alone["p50_ms"] - 1000 * bare, 1),
            overhead_cpu_ms=round(alone["cpu_ms"] - 1000 * worked, 1),
        )
        one = ("--set", "max_batch=1")
        against("batching-on-vs-off", clips, count, lambda: undertone(model), lambda: undertone(model, *one))
        against("vs-plain-handler", clips, count, lambda: undertone(model), lambda: plain("undertone", model))
        network = wav2vec(Path(scratch) / "wav2vec2", chosen.quick)
        ours = over_wav2vec(Path(scratch) / "over", network)
        few = count // 2 if chosen.quick else count // 4
        against(
            "wav2vec2-vs-fastapi-pipeline",
            clips,
            few,
            lambda: undertone(ours),
            lambda: plain("pipeline", network),
        )


if __name__ == "__main__":
    main()
