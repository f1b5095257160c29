"""The application: every command in its order, and one place where errors become messages."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import CommandInfo

from undertone import __version__
from undertone.errors import UndertoneError, UsageError
from undertone.files import log_plainly, refusal

__all__ = ["app", "load", "main"]

SUBJECTS = (
    "study", "corpus", "audit", "alignment", "features", "experiments", "score", "fuse",
    "prediction", "serving", "scale", "about",
)  # fmt: skip

ASR = "whisper-tiny.en"
"""The recogniser in the box, as ``judging.asr`` names it; repeated here, since the help must load fast."""

INTERRUPTED = 130
KEPT = {
    "align": "utterances aligned so far are kept, the same command goes on from there",
    "crossval": "finished folds and whole epochs are kept, the same command goes on from there",
    "demo": "what is finished is kept, the same command goes on from there",
    "extract": "what is encoded is kept, but for the last minute's; the same command goes on from there",
    "predict": "what was printed stands, a file of --out is written only when it is whole",
    "study": "what is finished is kept, the same command goes on from there",
    "search": "finished trials are kept, the same command goes on from there",
    "train": "what is learned up to the last whole epoch is kept, the same command goes on from there",
}
"""What a command that is stopped has kept, and how to go on."""

_MISTYPED: Any = typer.BadParameter.__base__
"""Typer's error for a command line with an unknown command, option or value."""

app = typer.Typer(
    name="undertone",
    help="Emotion in speech and its words: corpora, alignment, features, systems, honest numbers.",
    no_args_is_help=True,
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
    log_plainly(level)


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
    bare = after == len(words) or words[after].startswith("-") or _is_recordings(Path(words[after]))
    return [*words[:after], ASR, *words[after:]] if bare else words


def _is_recordings(place: Path) -> bool:
    """Whether it is no recogniser: a file, or a folder without a model's settings."""
    return place.is_file() or (place.is_dir() and not (place / "config.json").is_file())


def main() -> None:
    """Run; an error is one line on stderr with status 1, a mistyped command with 2; Ctrl-C is 130."""
    try:
        words = _with_default_values(sys.argv[1:])
        status = typer.main.get_command(load()).main(words, prog_name="undertone", standalone_mode=False)
        sys.stdout.flush()
    except UndertoneError as error:
        status = _failed(str(error), 2 if isinstance(error, UsageError) else 1)
    except _MISTYPED as error:
        status = _mistyped(error)
    except typer.Abort:
        status = _failed("stopped; nothing was changed")
    except OSError as error:
        _give_up_stdout()
        status = _failed(refusal(error))
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status == INTERRUPTED:
        kept = KEPT.get(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
        _failed("interrupted" + (f"; {kept}" if kept else ""))
    sys.exit(status or 0)


def _failed(text: str, status: int = 1) -> int:
    """The status, after a message on stderr; with UNDERTONE_TRACEBACK an error's traceback follows."""
    print(f"undertone: {text}", file=sys.stderr)
    if os.environ.get("UNDERTONE_TRACEBACK") and sys.exc_info()[1] is not None:
        raise
    return status


def _mistyped(error: Any) -> int:
    """Print what typer found wrong in the command line; its bare ``undertone`` shows the help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    from undertone.config import plainly

    where = error.ctx.command_path if error.ctx is not None else "undertone"
    what, colon, wanted = error.format_message().rstrip(".").partition(": ")
    return _failed(f"{what}{colon}{plainly(wanted)}; see {where} --help", 2)


def _give_up_stdout() -> None:
    """Drop what is left for a stdout that is full or closed: Python would try once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
