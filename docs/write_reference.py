"""Write ``docs/reference/cli.md`` from the command line itself; the tests compare the two.

Run by `make docs`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference" / "cli.md"
HEADER = "# The command line\n\nWritten by `make docs` from `--help`.\n"


def help_of(*words: str) -> str:
    """The help text of a command, 100 columns wide and without colour."""
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    call = [sys.executable, "-m", "undertone", *words, "--help"]
    text = subprocess.run(call, env=env, capture_output=True, encoding="utf-8", check=True).stdout
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand, in the order of the help."""
    import typer

    from undertone.cli.app import load

    found: list[tuple[str, ...]] = []

    def walk(command: object, path: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", None)
        if path:
            found.append(path)
        for name, child in (inner or {}).items():
            walk(child, (*path, name))

    walk(typer.main.get_command(load()), ())
    return found


def reference() -> str:
    """The whole page."""
    parts = [HEADER, f"```text\n{help_of()}\n```\n"]
    parts += [f"## undertone {' '.join(words)}\n\n```text\n{help_of(*words)}\n```\n" for words in commands()]
    return "\n".join(parts)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
