"""``align``: boundaries for a manifest that has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertone.cli.app import app
from undertone.cli.progress import bar
from undertone.cli.scale import Address, Engine, Ray, local_path, workers_of

if TYPE_CHECKING:
    from undertone.experiment.align import Summary

SHOWN = 10
"""How many failed utterances are named on the screen; all are in the manifest's sidecar."""


@app.command()
def align(
    manifest: Annotated[str, typer.Argument(help="M.jsonl or M.parquet; with ray shards or a URL too.")],
    method: Annotated[str, typer.Option("--with", help="given, sphinx (English), ctc or asr.")],
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="The aligned manifest; with ray a folder or URL of shards too."),
    ],
    model: Annotated[str | None, typer.Option(help="ctc, asr: a recogniser, folder or hub name.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="given: a folder of TextGrids, of words.csv, phones.csv …; a CTM or CSV."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, a setting of the aligner: gate=0 …")
    ] = None,
    keep_doubtful: Annotated[
        bool,
        typer.Option(
            "--keep-doubtful",
            help="Keep, marked with its confidence, the alignment of a transcript that seems another text.",
        ),
    ] = False,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Find where words, syllables and phones begin.

    Utterances that cannot be aligned are kept without tiers and listed. Stopped, the same command continues.

    Example: undertone align data/iemocap.jsonl --with sphinx --jobs 8 --out aligned.jsonl

    Example: undertone align clips.jsonl --with given --from textgrids --out aligned.jsonl

    Example: undertone align clips.jsonl --with asr --out read.jsonl (other words: what a recogniser reads)
    """
    from undertone.config import apply_overrides
    from undertone.errors import UsageError, no_such
    from undertone.experiment.align import ALIGNERS
    from undertone.experiment.align import align as run
    from undertone.experiment.aligned import AlignmentRequest

    if method not in ALIGNERS:
        raise UsageError(no_such("aligner", method, ALIGNERS))
    settings = apply_overrides({}, option or [])
    given = str(source) if source else None
    request = AlignmentRequest(method, model, given, settings, keep_doubtful)  # type: ignore[arg-type]
    workers = workers_of(engine, address, ray)
    with bar("aligning") as watch:
        if workers is not None:
            from undertone.scale.align import align as place

            summary = place(manifest, out, request, address=address, workers=workers, watch=watch)
        else:
            path, to = local_path(manifest, "MANIFEST"), local_path(out, "--out")
            summary = run(path, to, request, jobs=jobs, watch=watch)
    print(json.dumps(_plain(summary), ensure_ascii=False)) if as_json else _print(summary)


def _plain(summary: Summary) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(summary), "speed": summary.speed}


def _print(summary: Summary) -> None:
    from undertone.experiment.align import reasons

    speed = f", {summary.speed:.0f} times real time a core" if summary.speed else ""
    resumed = f" ({summary.resumed} by an earlier run)" if summary.resumed else ""
    print(f"{summary.manifest}: {summary.aligned} of {summary.utterances} aligned{resumed}{speed}")
    for reason, count in reasons(summary).most_common():
        print(f"  {count} without tiers: {reason}")
    for identity, reason in list(summary.failed.items())[:SHOWN]:
        print(f"    {identity}: {reason}")
    if len(summary.failed) > SHOWN:
        print(f"    … {len(summary.failed) - SHOWN} more, in the manifest's .meta.json")
    if summary.kept:
        print(f"  {len(summary.kept)} kept below the gate: {', '.join(summary.kept[:SHOWN])}")
    elif summary.refused:
        print(f"  {len(summary.refused)} seem another text; --keep-doubtful keeps their times, marked")
    if summary.doubtful:
        print(f"  {len(summary.doubtful)} of low confidence: {', '.join(summary.doubtful[:SHOWN])}")
