"""``fuse``: public classifiers of speech and of text as one model folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from undertone.cli.app import app
from undertone.cli.progress import bar, say
from undertone.errors import UsageError

if TYPE_CHECKING:
    from undertone.experiment.fuse import MadeSide

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
    from undertone.experiment.fuse import Wishes, joined, make_sides, milliseconds, write_sides
    from undertone.files import refuse_place

    if out is not None:
        refuse_place(out, folder=True)
    wishes = Wishes(
        maps=_pairs(maps, "--map", str),
        rest=rest,
        classes=tuple(name.strip() for name in classes.split(",")) if classes else (),
        prior=_pairs(prior.split(",") if prior else (), "--prior", float),
        weights=_pairs(weights, "--weight", float),
        trained=_pairs(trained, "--trained-on", lambda names: tuple(names.split(","))),
        precision=precision,
        window=window,
    )
    sides = make_sides(speech or (), text or (), wishes)
    if not as_json:
        _show(sides)
    made = joined(sides, wishes)
    for line in made.notes:
        say(line)
    more: dict[str, Any] = {}
    if manifest is not None:
        from undertone.experiment.fusion import fit_sides

        with bar("judging") as watch:
            made, more = fit_sides(made, manifest, wishes, allow_overlap, budget, watch)
        if not as_json:
            _report(more)
    else:
        cost = milliseconds(sides)
        more = {"milliseconds": cost}
        if not as_json:
            print("milliseconds a clip: " + ", ".join(f"{name} {ms:g}" for name, ms in cost.items()))
        if budget is not None:
            raise UsageError(
                "--budget needs labelled clips: without them nothing says which side to leave out"
            )
    if out is not None:
        write_sides(out, made, more)
    else:
        say("nothing was written: --out names the folder")
    if as_json:
        shown = [{"side": one.side, "given": one.given, "classes": dict(one.mapped)} for one in sides]
        values = {"out": str(out) if out else None, "labels": list(made.labels), "sides": shown, **more}
        print(json.dumps(values, ensure_ascii=False))
    elif out is not None:
        print(f"{out}: {len(made.sides)} sides, classes {', '.join(made.labels)}")


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


def _show(sides: Sequence[MadeSide]) -> None:
    """Every map, before it is used."""
    for one in sides:
        head = f"{one.side} {one.given}"
        if one.trained:
            head += f" (trained on {', '.join(one.trained)})"
        print(head)
        if not one.mapped:
            print(f"    gives {', '.join(one.member.labels)}: dimensions, no classes")
        for name, target in one.mapped.items():
            print(f"    {name} -> {'left out' if target == '-' else target}")


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
    print("milliseconds a clip: " + ", ".join(f"{name} {ms:g}" for name, ms in more["milliseconds"].items()))
    for stamp in fitted["stamps"]:
        say(f"stamped: {stamp}")
