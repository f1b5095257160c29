"""Execute the notebooks of the docs: `python docs/run_notebooks.py FOLDER [NAME …]` leaves FOLDER/NAME.ipynb.

Each runs in a folder of its own, from nothing, offline. One that was executed as it stands is not executed
again.
"""

from __future__ import annotations

import os
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

SCRIPTS = Path(__file__).parent / "notebooks"
LIMIT = 14_400
"""Seconds for one cell."""


def names() -> list[str]:
    """The notebooks that there are."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py"))


def mark(script: Path) -> str:
    """What an executed notebook is of: its script and undertone's version."""
    import undertone

    return sha256(f"{undertone.__version__} {script.read_text(encoding='utf-8')}".encode()).hexdigest()


def execute(name: str, work: Path, **changes: str) -> Any:
    """The notebook with its outputs, executed in a folder; ``changes`` are texts replaced in its code."""
    notebook = jupytext.read(SCRIPTS / f"{name}.py")
    for cell in notebook.cells:
        for old, new in changes.items():
            cell.source = cell.source.replace(old, new)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "UNDERTONE_CACHE": str(work / "cache")}
    client = NotebookClient(
        notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    )
    client.execute(env=environment)
    return notebook


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted or names():
        script, target = SCRIPTS / f"{name}.py", folder / f"{name}.ipynb"
        if target.exists() and nbformat.read(target, 4).metadata.get("undertone") == mark(script):
            continue
        print(f"executing {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as work:
            notebook = execute(name, Path(work))
        notebook.metadata["undertone"] = mark(script)
        nbformat.write(notebook, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
