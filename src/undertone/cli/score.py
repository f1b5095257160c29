"""``score``: predictions that were made elsewhere, under our protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from undertone.cli.app import app
from undertone.cli.experiments import Over, show_scores

MAP = "CLASS of the predictions = class of the manifest; repeatable."


@app.command()
def score(
    predictions: Annotated[
        Path, typer.Argument(help="csv or jsonl with id and label or posteriors, or a run's folder.")
    ],
    manifest: Annotated[Path, typer.Argument(help="The manifest with the truth.")],
    split: Annotated[
        str, typer.Option(help="all, a protocol as in `list protocols`, or a run's split.json.")
    ] = "all",
    folds: Annotated[int, typer.Option(help="Of kfold-speaker.")] = 5,
    like: Annotated[
        Path | None, typer.Option(help="A run: its split is taken, and its scores are compared.")
    ] = None,
    map_: Annotated[list[str] | None, typer.Option("--map", help=MAP)] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Utterances without a prediction count as wrong.")
    ] = False,
    name: Annotated[str, typer.Option(help="Of the run; default: the file's name.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs.")] = Path("runs"),
    over: Over = False,
    model: Annotated[
        str | None,
        typer.Option(help="What made them, a public model's name or a model folder: was it trained on this?"),
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score on a corpus that it was trained on; stamped.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The metrics, on stdout.")] = False,
) -> None:
    """Measure predictions that were made elsewhere, as a run beside others; they are stamped.

    Example: undertone score gpt.csv data/iemocap.jsonl --split loso --map excited=happy

    Example: undertone score cloud.jsonl data/clips.jsonl --like runs/unison && undertone report runs/unison
    runs/cloud
    """
    from undertone.cli.audit import trained_of
    from undertone.evaluation.results import evaluate
    from undertone.experiment.score import score as made

    renamed = {}
    for pair in map_ or []:
        source, sign, target = pair.partition("=")
        if not (source and sign and target):
            raise typer.BadParameter(f"'{pair}': FROM=TO is wanted", param_hint="--map")
        renamed[source] = target
    folder = out / (name or predictions.stem)
    made(
        predictions, manifest, folder, split=split, folds=folds, like=like, renamed=renamed, missing=missing,
        over=over, trained=trained_of(model) if model else None, allow_overlap=allow_overlap,
    )  # fmt: skip
    results = [evaluate(one) for one in ([like] if like is not None else []) + [folder]]
    if as_json:
        print(json.dumps([result.plain() for result in results]))
        return
    show_scores(results)
    print(f"run: {folder}; `undertone report` takes it beside others")
