"""What `make site` adds to the pages in docs: those beside the code, and the notebooks.

Links of pages beside the code are made to fit. A notebook's page has its outputs where it was executed: see
``run_notebooks``; without, it has its text and code.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
EXECUTED = ROOT / "build" / "notebooks"
BESIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages at the root of the repository, and where they are on the site."""
LINK = re.compile(r"(\]\(|src=\"|srcset=\"|href=\")([^)\"#\s]+)")
BLOCK = re.compile(r"\n(```.*?\n```)(?=\n)", re.DOTALL)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_config(config: Any) -> Any:
    """The navigation with every decision."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for part in config.nav:
        if "Decisions" in part:
            part["Decisions"] = [f"decisions/{page.name}" for page in pages]
    return config


def on_files(files: Files, config: Any) -> Files:
    """The pages of the docs, those beside the code, and the notebooks with their pictures."""
    for name, place in BESIDE.items():
        text = LINK.sub(_inside, (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, place, content=text))
    for script in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        executed = EXECUTED / f"{script.stem}.ipynb"
        notebook = nbformat.read(executed, 4) if executed.exists() else jupytext.read(script)
        pictures: list[bytes] = []
        text = "\n\n".join(_parts(notebook.cells, script.stem, pictures)) + "\n"
        files.append(File.generated(config, f"notebooks/{script.stem}.md", content=text))
        for number, picture in enumerate(pictures):
            files.append(File.generated(config, f"notebooks/{script.stem}-{number}.png", content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links out of the docs as they are on the site, and blocks as paragraphs of their own.

    Notebooks are scripts in the repository, and pages on the site.
    """
    return BLOCK.sub(r"\n\n\1\n\n", LINK.sub(_page, markdown))


def on_page_content(html: str, **_: Any) -> str:
    """An empty head of a column is a cell, so that no reader announces a nameless column."""
    return re.sub(r"<th([^>]*)></th>", r"<td\1></td>", html)


def _page(link: re.Match[str]) -> str:
    """A link to a notebook's script or to a page beside the code, as one to its page."""
    start, target = link.groups()
    up, _, name = target.rpartition("../")
    if up + _ and name in BESIDE:
        return start + up + BESIDE[name]
    return start + re.sub(r"^((?:\.\./)?(?:notebooks/)?[\w-]+)\.py$", r"\1.md", target)


def _inside(link: re.Match[str]) -> str:
    """A link from the root of the repository, as it is within the docs."""
    start, target = link.groups()
    return start + BESIDE.get(target, target.removeprefix("docs/"))


def _parts(cells: list[Any], name: str, pictures: list[bytes]) -> Iterator[str]:
    """Markdown of the cells and their outputs; pictures are added to the list."""
    about = "A picture"
    for cell in cells:
        if cell.cell_type == "markdown":
            yield cell.source
            about = cell.source.lstrip("# ").partition("\n")[0]
        elif cell.cell_type == "code":
            yield f"```python\n{cell.source}\n```"
            drawn = any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if "image/png" in data:
                    yield f"![{about}]({name}-{len(pictures)}.png)"
                    pictures.append(base64.b64decode(data["image/png"]))
                elif text := output.get("text") or (not drawn and data.get("text/plain")):
                    yield f"```text\n{COLOUR.sub('', text).rstrip()}\n```"
