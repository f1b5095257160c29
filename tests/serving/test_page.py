"""The page in a real Chromium: what it shows, what it draws, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
HOSTILE = '<img src=x onerror="window.pwned=1"> I WILL <b>not</b>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None and not os.environ.get("UNDERTONE_REQUIRE_BROWSER"):
        pytest.skip("no Chromium here: `make system-deps` installs it")
    assert CHROMIUM is not None, "no Chromium here: `make system-deps` installs it"
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: make test-browser installs it")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page, opened; no message on its console, no request that leaves the machine."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["microphone"])
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(server.url)
    opened.wait_for_selector("#model-note:not(:empty)")
    yield opened
    assert [text for text in said if "422" not in text and "401" not in text] == []
    assert all(
        url.startswith((server.url, "blob:" + server.url, server.url.replace("http", "ws"))) for url in asked
    )
    context.close()


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, make_wav: Callable[..., bytes], real_data: Path) -> Path:
    """Real speech, long enough for a timeline."""
    import soundfile

    clips = sorted((real_data / "ravdess").rglob("*.flac"))[:120:30]
    path = tmp_path_factory.mktemp("sounds") / "talk.wav"
    path.write_bytes(make_wav(np.concatenate([soundfile.read(clip, dtype="float32")[0] for clip in clips])))
    return path


def upload(page: Any, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": data})


def shown(page: Any) -> None:
    page.wait_for_selector("#answer:not([hidden])")


def colours(page: Any) -> set[str]:
    """Distinct colours of the waveform."""
    return set(
        page.evaluate(
            """() => {
              const canvas = document.getElementById("wave");
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const seen = new Set();
              for (let i = 0; i < data.length; i += 4)
                if (data[i + 3]) seen.add(data.slice(i, i + 3).join());
              return [...seen];
            }"""
        )
    )


def test_an_upload_is_judged_and_drawn(page: Any, clip: bytes) -> None:
    page.fill("#text", "you DID that")
    upload(page, "clip.wav", clip)
    shown(page)
    assert page.inner_text("#label").lower() in ("angry", "happy", "sad", "neutral")
    assert "%" in page.inner_text("#confidence")
    assert page.locator(".bar-group").count() == 4
    assert page.locator(".bar").count() == 12
    words = page.locator(".word").all_inner_texts()
    assert words == ["you", "DID", "that"]
    shades = page.eval_on_selector_all(".word", "els => els.map(e => getComputedStyle(e).backgroundColor)")
    assert shades[1] not in (shades[0], "rgba(0, 0, 0, 0)")
    page.wait_for_timeout(300)
    assert len(colours(page)) > 1


def test_without_words_the_page_says_that_the_sound_decided(page: Any, clip: bytes) -> None:
    upload(page, "clip.wav", clip)
    shown(page)
    assert "sound alone" in page.inner_text("#why")
    assert page.is_hidden("#words-block")


def test_a_long_recording_gets_a_timeline(page: Any, talk: Path) -> None:
    page.set_input_files("#file", str(talk))
    shown(page)
    page.wait_for_timeout(300)
    assert page.locator("#timeline tr").count() >= 3
    assert page.locator("#wave-caption .key").count() >= 1
    short = len(colours(page))
    assert short > 5  # bands of the labels, the wave, the axis


def test_the_microphone_is_recorded_sent_and_judged(page: Any) -> None:
    page.click("#record")
    page.wait_for_function("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    page.wait_for_timeout(1500)
    assert "Stop" in page.inner_text("#record-text")
    page.click("#record")
    shown(page)
    assert "recording.wav" in page.inner_text("#chosen")
    assert page.evaluate("document.getElementById('player').duration") > 0.5


def test_a_bad_file_is_told_in_words(page: Any) -> None:
    upload(page, "bad.wav", b"this is no sound")
    page.wait_for_selector("#error:not([hidden])")
    assert "bad.wav" in page.inner_text("#error")
    assert page.is_hidden("#answer")


def test_after_an_error_the_page_goes_on(page: Any, clip: bytes) -> None:
    upload(page, "bad.wav", b"no")
    page.wait_for_selector("#error:not([hidden])")
    upload(page, "clip.wav", clip)
    shown(page)
    assert page.is_hidden("#error")


def test_other_peoples_words_and_names_stay_text(page: Any, clip: bytes) -> None:
    page.fill("#text", HOSTILE)
    upload(page, "<svg onload=window.pwned=2>.wav", clip)
    shown(page)
    assert page.inner_text("#words") == HOSTILE
    assert page.evaluate("window.pwned") is None
    assert page.locator("#answer img, #words b, #chosen svg").count() == 0


def test_the_answer_can_be_taken_along(page: Any, clip: bytes) -> None:
    upload(page, "clip.wav", clip)
    shown(page)
    with page.expect_download() as taken:
        page.click("#download")
    found = json.loads(Path(taken.value.path()).read_text())
    assert found["id"] == "clip.wav"
    assert set(found["perspectives"]) == {"fused", "speech"}


def test_all_of_it_works_by_keyboard(page: Any, clip: bytes) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached[:3] == ["record", "file", "text"]
    page.focus("#text")
    page.keyboard.type("so SAD")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "judge"
    page.keyboard.press("Enter")
    shown(page)
    assert "words alone" in page.inner_text("#why")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_and_can_be_read(browser: Any, server: Any, clip: bytes, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(server.url)
    page.fill("#text", "you DID that, unbelievably")
    upload(page, "a-file-name-that-is-much-longer-than-any-phone-is-wide-and-has-no-space.wav", clip)
    shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark, light = (
        page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
    )
    back, ink = (sum(map(int, colour[4:-1].split(","))) for colour in (dark, light))
    assert (back < ink) == (scheme == "dark")
    assert abs(back - ink) > 400
    context.close()


def test_a_server_with_a_token_asks_for_it_once(
    browser: Any, start_server: Callable[..., Any], clip: bytes
) -> None:
    guarded = start_server(token="open sesame")
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(guarded.url)
        page.wait_for_selector("#token-form:not([hidden])")
        page.fill("#token", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#model-note:not(:empty)")
        upload(page, "clip.wav", clip)
        shown(page)
        context.close()
    finally:
        guarded.stop()
        guarded.process.stderr.close()
