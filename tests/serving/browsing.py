"""Chromium with the page in it, for the tests that are marked ``browser``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


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


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """The page at an address; nothing on its console but refusals, no request that leaves the machine."""
    options = {"viewport": {"width": 1200, "height": 900}, "permissions": ["microphone"], **options}
    context = browser.new_context(**options)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector("#model-note:not(:empty), #error:not([hidden])", state="attached")
    yield page
    refusals = ("401", "413", "422", "503")
    assert [text for text in said if not any(status in text for status in refusals)] == []
    assert all(one.startswith((url, "blob:" + url, url.replace("http", "ws"))) for one in asked)
    context.close()


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    with opened(browser, server.url) as page:
        yield page


def upload(page: Any, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": data})


def shown(page: Any) -> None:
    page.wait_for_selector("#answer:not([hidden])")


def answer_with(page: Any, answer: dict[str, Any]) -> None:
    """Every later request to judge has this answer."""
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.fulfill(json=answer))
