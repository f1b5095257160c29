"""axe-core on the page in each of its states: no violation, in light and dark, wide and narrow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving import answers
from tests.serving.browsing import opened, upload
from tests.serving.test_page import speech
from tests.serving.test_page_answers import judged

pytestmark = pytest.mark.browser


def violations(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe: the extra browser has it")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_axe_finds_nothing(browser: Any, server: Any, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, server.url, viewport=size, color_scheme=scheme) as page:
        assert violations(page) == [], "empty"
        for name, answer in {
            "words": answers.with_words(),
            "no clear emotion": answers.unclear(),
            "long": answers.long(120),
            "speakers": answers.two_speakers(),
        }.items():
            judged(page, answer.plain(), f"{name}.wav")
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert violations(page) == [], name
        page.unroute("**/v1/predict")
        upload(page, "bad.wav", b"no sound")
        page.wait_for_selector("#error:not([hidden])")
        assert violations(page) == [], "error"
        page.evaluate("document.getElementById('token-form').hidden = false")
        assert violations(page) == [], "token"
        page.route("**/v1/predict", lambda route: None)
        upload(page, "clip.wav", speech(2))
        page.wait_for_selector("#busy:not([hidden])")
        assert violations(page) == [], "busy"
        page.click("#cancel")
        upload(page, "call.wav", speech(4, channels=2))
        page.wait_for_selector("#channels:not([hidden])")
        assert violations(page) == [], "channels"
        page.evaluate("document.getElementById('model-field').hidden = false")
        assert violations(page) == [], "models"
        page.click("#record")
        page.wait_for_selector("#live:not([hidden])")
        page.wait_for_timeout(400)
        assert violations(page) == [], "live"
