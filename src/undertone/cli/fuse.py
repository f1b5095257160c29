"""``fuse``: public classifiers of speech and of text as one model folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from undertone.cli.app import app
from undertone.cli.progress import bar, say
from undertone.errors import UsageError

T = TypeVar("T")


@app.command()
def fuse(
    manifest: Annotated[
        Path | None, typer.Argument(help="Labelled clips to fit the fusion on; without: fused untrained.")
    ] = None,
    speech: Annotated[
        list[str] | None,
        typer.Option(help="An audio classifier: hf:NAME, its folder, or a model of undertone. Repeatable."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text classifier: hf:NAME, its folder, or a model of undertone. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The model folder; without: only the maps are shown.")
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", help="CLASS=OURS or NAME:CLASS=OURS; OURS may be other, or - (left out)."),
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="other | drop: what classes become that nothing maps.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="The classes that there may be, as angry,happy,sad,neutral.")
    ] = None,
    prior: Annotated[
        str | None, typer.Option(help="How frequent classes are, as neutral=0.6,angry=0.1; default: even.")
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weight", help="NAME=POWER of a side's evidence, untrained.")
    ] = None,
    trained: Annotated[
        list[str] | None, typer.Option("--trained-on", help="NAME=CORPUS,…: what a side was trained on.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Milliseconds a clip at most: sides are left out until it fits.", min=0.0),
    ] = None,
    window: Annotated[
        str, typer.Option(help="full | clip: what Whisper gets; clip is faster and another input.")
    ] = "full",
    precision: Annotated[str, typer.Option(help="auto | fp32 | bf16 of the classifiers.")] = "auto",
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap", help="Fit and score on a corpus that a side was trained on; stamped."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Put published classifiers together: a model folder like any other, in seconds.

    Classes are matched by their names in many spellings and languages, and shown first. Untrained, the sides'
    evidence is multiplied (the product rule). With labelled clips, from 40 on, temperatures, class biases and
    weights are chosen by cross-validation over speakers, with honest numbers on the card.

    Example: undertone fuse --speech hf:superb/hubert-base-superb-er --text ./my-bert --out models/fused

    Example: undertone fuse --text hf:SamLowe/roberta-base-go_emotions --rest other

    Example: undertone fuse mine.jsonl --speech ./my-whisper --text ./my-bert --out models/mine

    Example: undertone fuse --speech starter --speech ./my-hubert --text ./my-bert
    """
    from undertone.api.fusing import fuse as run

    with bar("judging") as watch:
        done = run(
            manifest,
            speech=speech or (),
            text=text or (),
            out=out,
            maps=_pairs(maps, "--map", str),
            rest=rest,
            classes=[name.strip() for name in classes.split(",")] if classes else (),
            prior=_pairs(prior.split(",") if prior else (), "--prior", float),
            weights=_pairs(weights, "--weight", float),
            trained_on=_pairs(trained, "--trained-on", lambda names: names.split(",")),
            budget=budget,
            window=window,
            precision=precision,
            allow_overlap=allow_overlap,
            say=None if as_json else print,
            watch=watch,
        )
    for line in done.notes:
        say(line)
    if out is None:
        say("nothing was written: --out names the folder")
    if as_json:
        print(json.dumps(done.plain(), ensure_ascii=False))
        return
    if manifest is not None:
        _report(done.measured)
    cost = done.measured["milliseconds"].items()
    print("milliseconds a clip: " + ", ".join(f"{name} {ms:g}" for name, ms in cost))
    if out is not None:
        print(f"{out}: {len(done.sides)} sides, classes {', '.join(done.labels)}")


def _pairs(given: Sequence[str] | None, option: str, make: Callable[[str], T]) -> dict[str, T]:
    """``KEY=VALUE`` each; the last ``=`` counts, since names may hold one."""
    pairs: dict[str, T] = {}
    for one in given or ():
        key, equals, value = one.rpartition("=")
        try:
            pairs[key.strip()] = make(value.strip())
        except ValueError:
            equals = ""
        if not equals or not key.strip():
            raise UsageError(f"{option} {one}: KEY=VALUE is wanted")
    return pairs


def _report(more: Mapping[str, Any]) -> None:
    fitted = more["fusion"]
    for name, row in fitted["metrics"].items():
        low, high = row["interval"]
        print(
            f"{name}: UA {row['ua']:.3f} [{low:.3f}, {high:.3f}], ECE {row['ece']:.3f}, loss {row['nll']:.3f}"
        )
    print(
        f"chosen: {fitted['chosen']}"
        + (f"; left out: {', '.join(fitted['left_out'])}" if fitted["left_out"] else "")
    )
    for stamp in fitted["stamps"]:
        say(f"stamped: {stamp}")
