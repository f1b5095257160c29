"""``python -m studies.encoders``: the package of encoders, from folders or hub names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertone.errors import ModelError, UndertoneError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

INSIDE = Path("src/undertone_encoders")
LARGEST = 92_000_000
"""Bytes of all encoders together."""


@app.command()
def main(
    whisper_base: Annotated[
        str, typer.Option("--whisper-base", help="A folder or hub name.")
    ] = "openai/whisper-base",
    whisper_tiny: Annotated[
        str, typer.Option("--whisper-tiny.en", help="A folder or hub name.")
    ] = "openai/whisper-tiny.en",
    minilm: Annotated[
        str, typer.Option("--minilm-l6", help="A folder or hub name.")
    ] = "sentence-transformers/all-MiniLM-L6-v2",
    out: Annotated[Path, typer.Option("--out", "-o", help="The distribution's folder.")] = Path(
        "packages/undertone-encoders"
    ),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Real recordings to compare on; default: UNDERTONE_DATA, else nothing is compared."
        ),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Compare word error rates too (minutes).")] = False,
) -> None:
    """Pack the encoders, write their NOTICE, and print sizes, errors, and what packing does to features.

    Example: python -m studies.encoders --whisper-base models/whisper-base
    """
    from studies.encoders.compare import compare, words_wrong
    from studies.encoders.make import make
    from studies.encoders.notice import notice
    from undertone.files import write_whole
    from undertone.pretrained import locate

    names = {"whisper-base": whisper_base, "whisper-tiny.en": whisper_tiny, "minilm-l6": minilm}
    sources = {name: locate(wanted)[0] for name, wanted in names.items()}
    made = {name: make(name, source, out / INSIDE) for name, source in sources.items()}
    write_whole(out / "NOTICE", notice({name: one.hashes for name, one in made.items()}))
    for name, one in made.items():
        print(
            f"{name}: {one.size / 1e6:.1f} MB, largest error of a weight {one.error:.2g} of its row's largest"
        )
        for file, value in one.hashes.items():
            print(f"  {value}  {file}")
    total = sum(one.size for one in made.values())
    print(f"together {total / 1e6:.1f} MB")
    if total > LARGEST:
        raise ModelError(f"{out}: {total / 1e6:.1f} MB, more than the {LARGEST / 1e6:g} MB that are shipped")
    real = data or Path(os.environ.get("UNDERTONE_DATA") or "")
    if real == Path() or not real.is_dir():
        print("features are not compared: name real recordings by --data or UNDERTONE_DATA")
        return
    for name, one in made.items():
        relative = compare(sources[name], one.folder, real, text=name == "minilm-l6")
        print(
            f"{name}: hidden states differ by " + ", ".join(f"{x:.4f}" for x in relative) + " of their spread"
        )
    if words:
        name = "whisper-tiny.en"
        before, after = words_wrong(sources[name], real), words_wrong(made[name].folder, real)
        print(f"{name}: word error rate {before:.4f} before, {after:.4f} packed")


if __name__ == "__main__":
    try:
        app()
    except UndertoneError as error:
        print(f"undertone: {error}", file=sys.stderr)
        sys.exit(1)
