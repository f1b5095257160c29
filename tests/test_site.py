"""The site builds strictly, every link leads somewhere, nothing comes from elsewhere; the notebooks run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.serving.browsing import browser as browser

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "docs" / "notebooks").glob("*.py"))
SEEN = ("index", "quickstart", "guides/engineer", "reference/python", "notebooks/first-recording")
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("source", "srcset")}
"""What a browser fetches by itself."""


class Links(HTMLParser):
    """A page's links and the names that others may link to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value for key, value in attrs if value}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        for key in ("href", "src", "srcset"):
            if key in values:
                (self.loaded if (tag, key) in LOADED else self.links).append(values[key])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, with notebooks as they are in this checkout."""
    pytest.importorskip("material", reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page) for page in site.rglob("*.html")}
    assert len(pages) > 50
    wrong = []
    for page, links in pages.items():
        for link in (*links.links, *links.loaded):
            parts = urlsplit(link)
            if parts.scheme or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                wrong.append(f"{page.relative_to(site)}: {link}")
    assert not wrong, "\n".join(wrong)


def test_it_opens_from_disk_and_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name != "404.html":  # a web server's
            assert not [one for one in Links(page).loaded if re.match(r"(https?:)?//|/", one)], page
    assert not [
        css for css in site.rglob("*.css") if re.search(r"url\(\s*['\"]?https?:", css.read_text("utf-8"))
    ]
    assert (
        "window.__index" in next(site.rglob("search_index.js")).read_text("utf-8")[:2000]
        or (site / "search" / "search_index.js").exists()
    )


def test_every_public_name_has_its_docstring_on_the_site(site: Path) -> None:
    import undertone

    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in undertone.__all__:
        assert name.startswith("__") or f"<code>{name}</code>" in page or f".{name}" in page
    assert "most probable label" in page, "docstrings of fields are there too"


def test_the_pages_for_persons_are_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in ("quickstart", "guides/researcher", "guides/engineer", "guides/own-data", "reference/rest"):
        assert f'href="{page}.html"' in home


def runner() -> ModuleType:
    pytest.importorskip("nbclient", reason="the extra 'docs' is not installed")
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "docs" / "run_notebooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_notebook_with_outputs_is_in_git() -> None:
    assert len(NOTEBOOKS) == 3
    tracked = subprocess.run(["git", "ls-files", "*.ipynb"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert tracked.returncode == 0 and not tracked.stdout


@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("default")  # of the kernel's making
@pytest.mark.parametrize(
    "name",
    [
        "first-recording",
        pytest.param("own-data", marks=pytest.mark.slow),  # four systems over five folds: minutes
        pytest.param("compare-systems", marks=pytest.mark.slow),  # six systems over five folds: minutes
    ],
)
def test_a_notebook_runs_and_draws(name: str, tmp_path: Path) -> None:
    """With the encoders and the model in the box, offline, from nothing."""
    pytest.importorskip("undertone_encoders", reason="the encoders in the box are not installed")
    pytest.importorskip("undertone_starter", reason="the model in the box is not installed")
    notebook = runner().execute(name, tmp_path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_axe_finds_nothing_on_five_pages(browser: Any, site: Path, width: int, scheme: str) -> None:
    """From disk, in both schemes, wide and narrow; nothing is fetched from elsewhere."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe: the extra browser has it")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    for name in SEEN:
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_timeout(300)
        dark = page.evaluate("document.body.getAttribute('data-md-color-scheme')") == "slate"
        assert dark == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
        found = axe.Axe().run(page).response["violations"]
        assert not [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]], name
    assert all(one.startswith(("file:", "data:", "blob:")) for one in fetched)
    context.close()


@pytest.mark.browser
def test_the_search_works_from_disk(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type("perspective loss")
    page.wait_for_selector(".md-search-result__item")
    assert "papers" in " ".join(
        page.locator(".md-search-result__link").evaluate_all("a => a.map(x => x.href)")
    )
    page.close()
