"""``study``: one command from somebody's own clips to a report and a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertone.cli.app import app
from undertone.cli.corpus import JSON, label_map_of, pairs
from undertone.cli.experiments import Jobs, StoreAt, cores, show_scores
from undertone.cli.progress import JobBar, say
from undertone.errors import TrainingError

if TYPE_CHECKING:
    from undertone.experiment.study.run import StudyResult


@app.command()
def study(
    clips: Annotated[Path, typer.Argument(help="A folder, a csv, tsv, jsonl or parquet, or a manifest.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of recipes, runs, report, model; default: NAME-study, here."
        ),
    ] = None,
    label_from: Annotated[
        str | None,
        typer.Option(help="folder, a column, or a REGEX over paths; default: guessed, and shown."),
    ] = None,
    speaker_from: Annotated[
        str | None,
        typer.Option(
            help="folder, a column, a REGEX over paths, or voices: clusters of like voices, stamped."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=FIELD, a column of a table and what it is.")
    ] = None,
    label_map: Annotated[
        list[str] | None, typer.Option(help="YOURS=OURS, another name for a label ('YOURS=': left out).")
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Where a table's relative paths start; default: beside it.")
    ] = None,
    asr: Annotated[
        str | None,
        typer.Option(
            help="Recognise the words of clips without: a recogniser; bare: that of the box (English)."
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="How long it may take: 10m (heads), 1h (seeds, tuning), 8h (more seeds).")
    ] = "10m",
    jobs: Jobs = None,
    store: StoreAt = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at the clips and print the plan; train nothing.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """From your own clips to an honest report and a model: one command.

    Looks at the clips first, prints what they hold and what it will do; refuses what cannot be trusted, with
    the way out. Stopped, the same command goes on. Its choices are recipes in OUT/recipes, for
    `undertone crossval`.

    Example: undertone study clips/

    Example: undertone study clips.csv --map file=audio --map mood=label --out mine --budget 1h

    Example: undertone study clips/ --speaker-from '(?:^|/)([^_/]+)_[^/]*$' --out mine
    """
    from undertone.experiment.study.clips import Choices
    from undertone.experiment.study.plan import budget_seconds
    from undertone.experiment.study.run import study as run
    from undertone.store import Store

    choices = Choices(
        label_from,
        speaker_from,
        pairs("--map", columns or []),
        label_map_of(label_map) if label_map else None,
        str(audio_root) if audio_root else None,
    )
    out = out or Path(f"{clips.absolute().stem}-study")
    with JobBar() as bar:
        done = run(
            clips,
            out,
            choices=choices,
            budget=budget_seconds(budget),
            processes=jobs or cores(),
            asr=asr,
            store=Store(store),
            plan_only=dry_run,
            say=say,
            start=bar.start,
            watch=bar.ended,
        )
    if as_json:
        print(json.dumps(done.plain(), ensure_ascii=False))
    elif done.results:
        _show(done, out)
    if done.failures:
        raise TrainingError(f"{len(done.failures)} jobs failed; the same command does only those again")


def _show(done: StudyResult, out: Path) -> None:
    show_scores(done.results)
    print(f"report: {out / 'report.html'}")
    print(f"model:  {out / 'final'} ({done.chosen}), for: undertone predict clip.wav --model {out}")
    say(f"{done.seconds:.0f} s")
