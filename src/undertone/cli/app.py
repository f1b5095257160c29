"""The application: every command in its order, and one place where errors become messages."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.models import CommandInfo

from undertone import __version__
from undertone.errors import UndertoneError

__all__ = ["app", "load", "main"]

SUBJECTS = (
    "corpus", "audit", "alignment", "features", "experiments",
    "prediction", "serving", "scale", "about",
)  # fmt: skip

ASR = "whisper-tiny.en"
"""The recogniser in the box, as ``judging.asr`` names it; repeated here, since the help must load fast."""

app = typer.Typer(
    name="undertone",
    help="Emotion in speech and its words: corpora, alignment, features, systems, honest numbers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"undertone {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="More messages on stderr.")] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr.")] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def load() -> typer.Typer:
    """The application with every command, in the order in which a newcomer needs them."""
    for subject in SUBJECTS:
        import_module(f"undertone.cli.{subject}")  # each adds its commands to ``app``
    app.registered_commands.sort(key=_place)
    return app


def _place(command: CommandInfo) -> int:
    """Where a command stands in the help, whichever module was imported first."""
    assert command.callback is not None
    return SUBJECTS.index(command.callback.__module__.rpartition(".")[2])


def _with_default_values(words: list[str]) -> list[str]:
    """The words with a name after a bare ``--asr``: one before an option, a recording or the end."""
    if "--asr" not in words:
        return words
    after = words.index("--asr") + 1
    bare = after == len(words) or words[after].startswith("-") or Path(words[after]).is_file()
    return [*words[:after], ASR, *words[after:]] if bare else words


def main() -> None:
    """Run; a user's error is one line on stderr and status 1, Ctrl-C is 130."""
    try:
        load()(_with_default_values(sys.argv[1:]))
    except UndertoneError as error:
        print(f"undertone: {error}", file=sys.stderr)
        if os.environ.get("UNDERTONE_TRACEBACK"):
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        print("undertone: interrupted", file=sys.stderr)
        sys.exit(130)
