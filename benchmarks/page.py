"""How long a person waits on the page: a recording of ten minutes, from choosing the file to the answer.

    UNDERTONE_DATA=… python benchmarks/page.py [--quick] [--repeats 3] [--option=--runtime --option=openvino]

The starter behind ``undertone serve --jobs``, headless Chromium on the same cores; real clips (RAVDESS, drawn
once) one after another as one FLAC. Prints each stage as the page states it (reading the file, preparing,
sending, judging), the processor seconds of the server with its decoding processes, and of the browser, which
other work on the machine hardly changes, and the load. Without playwright or Chromium it prints nothing.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import psutil
import soundfile

from _timing import line
from serving import Server, undertone

WATCH = """
window.stages = [];
const note = () => {
  const text = document.getElementById("busy").hidden ? "" : document.getElementById("busy-text").textContent;
  const stage = text.split(" ")[0];
  if (window.stages.at(-1)?.[0] !== stage) window.stages.push([stage, performance.now()]);
};
new MutationObserver(note).observe(document.getElementById("busy"), {
  attributes: true, childList: true, characterData: true, subtree: true,
});
"""


def recording(seconds: int) -> bytes:
    """RAVDESS's clips, shuffled, as one FLAC at 16 kHz; without the data, voiced noise with pauses."""
    from undertone import audio

    parts: list[np.ndarray] = []
    if "UNDERTONE_DATA" in os.environ:
        files = sorted((Path(os.environ["UNDERTONE_DATA"]) / "ravdess").rglob("*.flac"))
        order = np.random.default_rng(0).permutation(len(files))
        parts = [audio.load(files[index]) for index in order[: seconds // 3]]
    else:
        time_ = np.arange(3 * 16_000) / 16_000
        voiced = sum(np.sin(2 * np.pi * 120 * k * time_) / k for k in range(1, 9)) * 0.05
        parts = [np.concatenate([voiced, np.zeros(16_000)])] * (seconds // 4 + 1)
    file = io.BytesIO()
    wave = np.resize(np.concatenate(parts), seconds * 16_000)
    soundfile.write(file, wave, 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def browser_seconds() -> dict[int, float]:
    """Processor seconds of each process of the browser."""
    mine = psutil.Process().children(recursive=True)
    return {p.pid: sum(p.cpu_times()[:2]) for p in mine if "chrom" in p.name()}


def once(page: Any, server: Server, data: bytes) -> dict[str, Any]:
    page.goto(server.url)
    page.wait_for_selector("#model-note:not(:empty)")
    page.evaluate(WATCH)
    busy, drawing, began = server.cpu(), sum(browser_seconds().values()), time.perf_counter()
    page.set_input_files("#file", {"name": "talk.flac", "mimeType": "audio/flac", "buffer": data})
    page.wait_for_selector("#answer:not([hidden])", timeout=600_000)
    wall = time.perf_counter() - began
    stages: list[tuple[str, float]] = page.evaluate("window.stages")
    names = [name or "end" for name, _ in stages]
    spans = {
        name.lower(): round((later[1] - at) / 1000, 2)
        for name, (_, at), later in zip(names, stages, stages[1:], strict=False)
    }
    return {
        "wall_s": round(wall, 1),
        "stages_s": spans,
        "server_cpu_s": round(server.cpu() - busy, 1),
        "browser_cpu_s": round(sum(browser_seconds().values()) - drawing, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two minutes, once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--option", action="append", default=[], help="another word for `undertone serve`")
    chosen = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("no playwright or no Chromium here: `make system-deps`, `make test-browser`", file=sys.stderr)
        return
    seconds = 120 if chosen.quick else 600
    data = recording(seconds)
    with (
        tempfile.TemporaryDirectory() as jobs,
        undertone(chosen.model, "--jobs", jobs, *chosen.option) as server,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for _ in range(1 if chosen.quick else chosen.repeats):
            line("page/upload", seconds=seconds, options=chosen.option, **once(page, server, data))
        browser.close()


if __name__ == "__main__":
    main()
