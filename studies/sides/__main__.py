"""``python -m studies.sides``: makes the two classifiers."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertone.errors import UndertoneError, UsageError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where both folders go.")] = Path("runs/sides"),
    speech: Annotated[str, typer.Option(help="The Whisper to start from.")] = "whisper-tiny.en",
    text: Annotated[str, typer.Option(help="The BERT to start from.")] = "minilm-l6",
) -> None:
    """Train both and save them as transformers does; what is there already is kept."""
    from studies.sides.make import make_speech, make_text

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data = os.environ.get("UNDERTONE_DATA")
    if not data:
        raise UsageError("UNDERTONE_DATA must name the folder with ravdess and goemotions")
    out.mkdir(parents=True, exist_ok=True)
    print(make_text(text, Path(data), out))
    print(make_speech(speech, Path(data), out))


if __name__ == "__main__":
    try:
        app()
    except UndertoneError as error:
        print(f"undertone: {error}", file=sys.stderr)
        sys.exit(1)
