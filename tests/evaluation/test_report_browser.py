"""The report in a real browser: nothing fetched, nothing cut off, readable by day and by night."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from undertone.evaluation.report import render

pytestmark = pytest.mark.browser


@pytest.fixture
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and not os.environ.get("UNDERTONE_REQUIRE_BROWSER"):
        pytest.skip("no Chromium here; `make system-deps` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_and_is_readable(
    runs: Callable[..., Path], tmp_path: Path, browser: Any, width: int, scheme: str
) -> None:
    names = ("speech", "a-system-with-a-rather-long-name", "multilevel", "perspective", "mgcma", "unison")
    render([runs(name, 0.6 + i / 3) for i, name in enumerate(names)], tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert asked == [(tmp_path / "report.html").as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) >= 4.5
    small = page.evaluate(
        "[...document.querySelectorAll('svg text')].filter(t => t.getBoundingClientRect().height)"
        ".map(t => t.getBoundingClientRect().height).reduce((a, b) => Math.min(a, b), 99)"
    )
    assert small >= 7
    for part in page.query_selector_all("summary"):
        part.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """() => {
  const light = c => {
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...['p', '.lead', '.note', 'td', 'th', 'a', 'summary'].map(s => {
    const ink = light(getComputedStyle(document.querySelector(s)).color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  }));
}"""
