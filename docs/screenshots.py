"""Pictures of the page in every state, wide and narrow, light and dark, in ``screenshots/``.

``make screenshots``. The server has the fake model; the answers are those of ``tests/serving/answers.py``
and do not come from a model. ``make screenshots STATES=readme`` makes the README's instead, in ``docs/img``:
what the starter makes of a call put together from its examples, and the report of ``undertone demo --quick``.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.serving import answers  # noqa: E402

STARTER = ROOT / "packages/undertone-starter/src/undertone_starter"
WIDTHS = (1280, 380)
SCHEMES = ("light", "dark")
TALL = 1240
"""Pixels of the README's pictures, which are 1000 wide."""
SWITCHES = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def main(folder: Path, only: set[str]) -> None:
    folder.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    voice = folder / "voice.wav"
    voice.write_bytes(sound(30, form="WAV"))
    with fake_server(0.0) as url, fake_server(30.0) as slow, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=[*SWITCHES, f"--use-file-for-fake-audio-capture={voice}"]
        )
        for name, show in STATES.items():
            if only and name not in only:
                continue
            for width in WIDTHS:
                for scheme in SCHEMES:
                    take(
                        browser,
                        slow if show is busy else url,
                        show,
                        folder / f"{name}-{width}-{scheme}.png",
                        width,
                        scheme,
                    )
        browser.close()


@contextmanager
def fake_server(seconds: float) -> Iterator[str]:
    """The address of a server with the starter's examples, whose model takes so many seconds."""
    settings = {"examples": str(STARTER / "model"), "model": {"seconds": seconds}}
    command = [sys.executable, "tests/serving/fake_server.py", json.dumps(settings)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = next(line for line in process.stderr if "listening on" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # else its log would hold it up
        yield first.split("listening on ")[1].split()[0]
    finally:
        process.kill()  # an answer may be under way that nobody waits for
        process.wait()


@contextmanager
def real_server() -> Iterator[str]:
    """The address of a server with the starter."""
    command = [sys.executable, "-m", "undertone", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = (re.search(r"http://[\w.:]+\d", line) for line in process.stderr)
        address = next(match.group() for match in found if match)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield address
    finally:
        process.terminate()
        process.wait()


def readme(folder: Path) -> None:
    """The README's two pictures, small: few colours are enough for pages."""
    report = ROOT / "runs" / "demo-quick" / "report.html"
    if not report.exists():
        subprocess.run([sys.executable, "-m", "undertone", "demo", "--quick"], cwd=ROOT, check=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    folder.mkdir(exist_ok=True)
    with real_server() as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.goto(url)
        upload(page, "call.flac", call())
        page.click("#split")
        page.wait_for_selector("#answer:not([hidden])", timeout=600_000)
        page.wait_for_timeout(400)
        small(page.screenshot(full_page=True), folder / "page.png")
        page.goto(report.as_uri())
        page.wait_for_timeout(400)
        small(page.screenshot(full_page=True), folder / "report.png")
        browser.close()


def small(picture: bytes, path: Path) -> None:
    """The picture's upper part as PNG of 64 colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, TALL)))
    image.quantize(64).save(path, optimize=True)


def call() -> bytes:
    """Two speakers, a channel each: the starter's examples in turn, with pauses."""
    paths = sorted((STARTER / "examples").glob("*.flac"))
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    pieces = []
    for number in (1, 0, 1, 2, 0):
        clip = np.concatenate([clips[number], np.zeros(12_000, np.float32)])
        silent = np.zeros_like(clip)
        pieces.append(np.stack([clip, silent] if number == 1 else [silent, clip], axis=1))
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(pieces), 16000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def take(
    browser: Browser, url: str, show: Callable[[Page], None], path: Path, width: int, scheme: Any
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, permissions=["microphone"]
    )
    page = context.new_page()
    page.route("**/v1/model", with_threshold)
    page.route("**/v1/models", two_models if show is models else one_model)
    page.goto(url)
    page.wait_for_selector("#model-note:not(:empty)")
    show(page)
    page.wait_for_timeout(400)
    page.screenshot(path=path, full_page=True)
    context.close()


def with_threshold(route: Route) -> None:
    about = route.fetch().json()
    about["card"] |= {"synthesised": False, "abstain": {"threshold": answers.THRESHOLD}}
    route.fulfill(json={**about, "asr": True})


def one_model(route: Route) -> None:
    (default,) = route.fetch().json()["data"]
    default |= {"synthesised": False, "threshold": answers.THRESHOLD}
    route.fulfill(json={"data": [default]})


def two_models(route: Route) -> None:
    (default,) = route.fetch().json()["data"]
    other = {"id": "calls", "model": "unison@1a2b3c4d5e6f (calls, loso)", "labels": default["labels"]}
    route.fulfill(json={"data": [{**default, "synthesised": False}, other]})


def sound(seconds: float, channels: int = 1, form: str = "FLAC") -> bytes:
    """The starter's examples, again and again."""
    clips = [
        soundfile.read(path, dtype="float32")[0] for path in sorted((STARTER / "examples").glob("*.flac"))
    ]
    one = np.concatenate(clips)
    wave = np.resize(one, round(seconds * 16000))
    columns = np.stack([np.roll(wave, 20000 * channel) for channel in range(channels)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, columns, 16000, format=form, subtype="PCM_16")
    return file.getvalue()


def upload(page: Page, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "audio/flac", "buffer": data})


def answered(name: str, seconds: float, answer: dict[str, Any], channels: int = 1) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        page.route("**/v1/predict", lambda route: route.fulfill(json=answer))
        page.fill("#text", answer["text"] or "")
        upload(page, name, sound(seconds, channels))
        page.wait_for_selector("#answer:not([hidden])")

    return show


def empty(page: Page) -> None:
    """As it opens."""


def models(page: Page) -> None:
    page.select_option("#model", "calls")


def busy(page: Page) -> None:
    upload(page, "interview.m4a", sound(90))
    page.wait_for_selector("#busy:not([hidden])")
    page.wait_for_timeout(2500)


def channels(page: Page) -> None:
    upload(page, "call.wav", sound(25, 2))
    page.wait_for_selector("#channels:not([hidden])")


def hovered(page: Page) -> None:
    answered("talk.flac", 600, answers.long().plain())(page)
    page.click("#zoom-in")
    page.click("#zoom-in")
    page.hover("#timeline", position={"x": 180, "y": 100})


def error(page: Page) -> None:
    upload(page, "notes.wav", b"this is no sound")
    page.wait_for_selector("#error:not([hidden])")


def token(page: Page) -> None:
    page.route(
        "**/v1/predict", lambda route: route.fulfill(status=401, json={"detail": "a bearer token is needed"})
    )
    upload(page, "clip.flac", sound(2))
    page.wait_for_selector("#token-form:not([hidden])")


def live(page: Page) -> None:
    page.click("#record")
    page.locator("#live-text", has_text="Now").wait_for()
    page.wait_for_timeout(5000)


STATES: dict[str, Callable[[Page], None]] = {
    "empty": empty,
    "busy": busy,
    "answer": answered("clip.flac", 3.3, answers.short().plain()),
    "unclear": answered("clip.flac", 3.3, answers.unclear().plain()),
    "words": answered("clip.flac", 3.3, answers.with_words().plain()),
    "long": answered("talk.flac", 600, answers.long().plain()),
    "zoomed": hovered,
    "speakers": answered("call.flac", 25.4, answers.two_speakers().plain()),
    "channels": channels,
    "error": error,
    "token": token,
    "live": live,
    "models": models,
}


if __name__ == "__main__":
    if sys.argv[1:] == ["readme"]:
        readme(ROOT / "docs" / "img")
    else:
        main(ROOT / "screenshots", set(sys.argv[1:]))
