"""A server under load for a while: errors, tail latency, memory, and models replaced meanwhile.

    UNDERTONE_DATA=… python benchmarks/sustained.py [--whisper DIR] [--model FOLDER] [--quick]

Loopback only, bounded in count and time; real clips (RAVDESS, 3.7 s in the mean), no transcript; the server
in a process of its own, the clients on the same cores.

*pipeline* (with ``--whisper``, a whole Whisper's folder): 32 clients for 60 s post to the service with a
``speech`` model over ``whisper-tiny.en`` of the box, all of its blocks, random weights in the head, then to a
FastAPI handler around transformers' audio-classification pipeline over the whole network in DIR, in fp32, in
a pool of as many threads as there are cores. *memory*: 2,000 requests of four clients; resident memory of the
server and its decoding processes along the way. *replace*: 16 clients while the model is loaded again, over
and over. The last two with the model in ``--model``, or the starter.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import httpx
import numpy as np

from _timing import line
from serving import Server, classifier, clip, plain, recorded, undertone

LEAST_REPLACED = 5
TOKEN = "only-for-the-loopback"


def over_box(folder: Path) -> Path:
    """A model folder of a ``speech`` system over the box's Whisper tiny.en, whole."""
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import build as build_system

    config = SpeechConfig(name="whisper-tiny.en", layer="last", precision="fp32")
    encoder = build(config)
    system = build_system("speech", {"width": 64}, Dimensions(classes=4, speech=encoder.dim)).eval()
    about = {"name": encoder.name, "identity": encoder.identity, "settings": config.plain()}
    card = {"labels": ["angry", "happy", "sad", "neutral"], "encoders": {"speech": about}}
    folders.save(folder, system, card)
    return folder


class Load:
    """Requests of several clients until something ends it, and what came of them."""

    def __init__(self, url: str, clips: list[bytes]) -> None:
        self._url, self._clips = url, clips
        self.taken: list[float] = []
        self.errors: list[str] = []

    async def client(self, until: Callable[[], bool]) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(headers=headers, timeout=300) as client:
            while not until():
                number = len(self.taken) + len(self.errors)
                sound = ("clip.wav", self._clips[number % len(self._clips)], "audio/wav")
                began = time.perf_counter()
                try:
                    answer = await client.post(self._url + "/v1/predict", files={"file": sound})
                    answer.raise_for_status()
                    self.taken.append(time.perf_counter() - began)
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))

    def summary(self, seconds: float) -> dict[str, object]:
        return {
            "answers": len(self.taken),
            "errors": len(self.errors),
            "per_second": round(len(self.taken) / seconds, 2),
            "p50_ms": round(1000 * float(np.quantile(self.taken, 0.5))),
            "p95_ms": round(1000 * float(np.quantile(self.taken, 0.95))),
            "load": round(os.getloadavg()[0], 1),
        }


def for_a_while(server: Server, clips: list[bytes], clients: int, seconds: float) -> dict[str, object]:
    """All clients post for so long; what is under way then is waited for, and counted."""
    warm = Load(server.url, clips)
    asyncio.run(warm.client(lambda: len(warm.taken) + len(warm.errors) >= 4))
    load, busy, began = Load(server.url, clips), server.cpu(), time.perf_counter()

    async def all_of_them() -> None:
        end = began + seconds
        await asyncio.gather(*(load.client(lambda: time.perf_counter() > end) for _ in range(clients)))

    asyncio.run(all_of_them())
    worked = 1000 * (server.cpu() - busy) / max(1, len(load.taken))
    return load.summary(time.perf_counter() - began) | {"cpu_ms": round(worked, 1)}


def beside_the_pipeline(network: Path, clips: list[bytes], seconds: float, scratch: Path) -> None:
    with undertone(over_box(scratch / "over")) as server:
        ours = for_a_while(server, clips, 32, seconds)
    with plain("pool", classifier(scratch / "whisper", network)) as server:
        theirs = for_a_while(server, clips, 32, seconds)
    line(
        "sustained/whisper-tiny.en-vs-fastapi-pipeline/concurrency-32",
        ratio=round(float(str(ours["per_second"])) / float(str(theirs["per_second"])), 2),
        ours=ours,
        theirs=theirs,
        seconds=seconds,
    )


def memory(server: Server) -> float:
    """MiB resident, of the server and of its decoding processes."""
    import psutil

    me = psutil.Process(server.process.pid)
    return round(sum(p.memory_info().rss for p in (me, *me.children(recursive=True))) / 2**20, 1)


def memory_over(model: list[str], clips: list[bytes], count: int) -> None:
    """Resident memory after each eighth of the requests."""
    with undertone(*model) as server:
        load, along = Load(server.url, clips), []
        began = time.perf_counter()
        for part in range(1, 9):
            most = part * count // 8

            async def some(most: int = most) -> None:
                def enough() -> bool:
                    return len(load.taken) + len(load.errors) >= most

                await asyncio.gather(*(load.client(enough) for _ in range(4)))

            asyncio.run(some())
            along.append(memory(server))
        summary = load.summary(time.perf_counter() - began)
    line("sustained/memory", mib=along, growth_mib=round(along[-1] - along[1], 1), **summary)


def replaced(model: list[str], clips: list[bytes], seconds: float, scratch: Path) -> None:
    """The model is loaded again, and again, while 16 clients post."""
    tokens = scratch / "tokens"
    tokens.write_text(f"admin:{TOKEN}\n", encoding="utf-8")
    with undertone(*model, "--token-file", str(tokens)) as server:
        warm = Load(server.url, clips)
        asyncio.run(warm.client(lambda: len(warm.taken) + len(warm.errors) >= 16))
        load, began = Load(server.url, clips), time.perf_counter()
        times: list[float] = []
        along = [memory(server)]

        async def again() -> None:
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(headers=headers, timeout=120) as client:
                while time.perf_counter() < began + seconds or len(times) < LEAST_REPLACED:
                    before = time.perf_counter()
                    answer = await client.post(server.url + "/v1/models/reload")
                    answer.raise_for_status()
                    times.append(time.perf_counter() - before)
                    along.append(memory(server))

        async def all_of_them() -> None:
            reloads = asyncio.ensure_future(again())
            await asyncio.gather(*(load.client(reloads.done) for _ in range(16)))
            await reloads

        asyncio.run(all_of_them())
        summary = load.summary(time.perf_counter() - began)
    line(
        "sustained/replace",
        replaced=len(times),
        reload_s=round(float(np.median(times)), 2),
        mib=along,
        **summary,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 s and 200 requests")
    parser.add_argument("--whisper", type=Path, help="the folder of a whole Whisper tiny.en")
    parser.add_argument("--model", default="starter", help="for memory and replace")
    parser.add_argument("--only", choices=["pipeline", "memory", "replace"])
    chosen = parser.parse_args()
    clips = recorded() if "UNDERTONE_DATA" in os.environ else [clip(seed) for seed in range(8)]
    seconds, count = (5.0, 200) if chosen.quick else (60.0, 2_000)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if chosen.whisper and chosen.only in (None, "pipeline"):
            beside_the_pipeline(chosen.whisper, clips, seconds, place)
        if chosen.only in (None, "memory"):
            memory_over([chosen.model], clips, count)
        if chosen.only in (None, "replace"):
            replaced([chosen.model], clips, seconds, place)


if __name__ == "__main__":
    main()
