"""``audit``: what would make a result too good to be true."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertone.cli.app import app
from undertone.cli.progress import bar

if TYPE_CHECKING:
    from undertone.auditing import Audit
    from undertone.splits import Split

MARKS = {"leak": "[bold red]✗ leak[/]", "warning": "[yellow]! warning[/]", "note": "[dim]· note[/]"}


@app.command()
def audit(
    manifest: Annotated[Path, typer.Argument(help="The manifest: .jsonl or .parquet.")],
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Folds to look across: loso, emosuperb, lospo, kfold-speaker, emobox, fixed,"
            " leaky-random-utterance."
        ),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="A file of folds instead of a protocol.")] = None,
    folds: Annotated[int, typer.Option(help="How many folds, for kfold-speaker.")] = 5,
    seed: Annotated[int, typer.Option(help="The seed of the folds.")] = 0,
    write_split: Annotated[
        Path | None, typer.Option("--write-split", help="Write the folds to this file.")
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the recordings unopened.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Recordings read at once; default: one a core.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model folder or a public model's name: was it trained on this?"
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Status 1 when anything leaks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Look for leaks: speakers, dialogues, recordings, equal audio and equal words across folds.

    Example: undertone audit data/iemocap.jsonl --protocol loso

    Example: undertone audit data/iemocap.jsonl --no-audio --model hf:superb/hubert-base-superb-er
    """
    from undertone import splits
    from undertone.auditing import Finding, examine
    from undertone.labels.published import recalled
    from undertone.manifest import read

    listed = read(manifest)
    utterances = listed.resolved()
    made = splits.read(split) if split else None
    if made is None and protocol:
        made = splits.make(utterances, protocol, seed=seed, folds=folds, refuse=False)
    if made and write_split:
        splits.write(write_split, made)
    with bar("reading", shown=not no_audio) as watch:
        result = examine(
            utterances,
            made,
            recordings=not no_audio,
            jobs=jobs or os.cpu_count() or 1,
            watch=watch,
        )
    leaks = [
        Finding("model", "leak", line)
        for name in models or ()
        for line in recalled(trained_of(name), listed.meta.corpus or manifest.stem)
    ]
    result = replace(result, findings=(*leaks, *result.findings))
    if as_json:
        print(json.dumps({"manifest": str(manifest), **result.plain()}, ensure_ascii=False))
    else:
        _show(result, made)
    if strict and result.leaks:
        raise typer.Exit(1)


def trained_of(name: str) -> dict[str, tuple[str, ...]]:
    """The corpora of a model folder's parts, or of a public model."""
    from undertone.judging.locate import locate, read
    from undertone.labels.published import corpora_of, trained_by

    return trained_by(name) or corpora_of(read(locate(name).path))


def _show(result: Audit, split: Split | None) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    folds = f" · {result.protocol}, {len(split.folds)} folds, hash {result.split}" if split else ""
    console.print(f"{result.utterances:,} utterances{folds}")
    for stamp in result.stamps:
        console.print(f"[yellow]stamped:[/] {escape(stamp)}")
    for finding in result.findings:
        console.print(f"{MARKS[finding.level]} {escape(finding.says)}")
        for example in finding.examples:
            console.print(f"    [dim]{escape(example)}[/]")
    if not result.findings:
        console.print("[green]no findings[/]")
    if result.balance:
        console.print(_table(result.balance))


def _table(balance: Mapping[str, Mapping[str, Mapping[str, int]]]) -> object:
    """Labels per fold and part."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    labels = list(next(iter(next(iter(balance.values())).values())))
    table = Table(title="who is where", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("fold", "part"):
        table.add_column(name, no_wrap=True)
    for name in (*labels, "all"):
        table.add_column(name, justify="right")
    for name, parts in balance.items():
        for part, counts in parts.items():
            row = [f"{counts[label]:,}" for label in labels]
            table.add_row(name if part == "train" else "", part, *row, f"{sum(counts.values()):,}")
        table.add_section()
    return table
