"""``train``, ``crossval``, ``report``, ``stress``, ``demo``: from a recipe to a table with intervals."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertone.cli.app import app
from undertone.cli.progress import EpochBar, JobBar, bar, say
from undertone.cli.scale import Address, Engine, Ray, workers_of
from undertone.errors import TrainingError

if TYPE_CHECKING:
    from undertone.evaluation.results import Result
    from undertone.experiment.demo import DemoResult
    from undertone.experiment.recipe import Recipe
    from undertone.store import Store

Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the recipe; repeatable.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs.")]
StoreAt = Annotated[Path | None, typer.Option("--store", help="Folder of the features.")]
Jobs = Annotated[int | None, typer.Option(help="Processes at once; default: one a core.")]
Over = Annotated[
    bool, typer.Option("--over", help="Replace a run of that name with other settings, instead of refusing.")
]
JSON = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Resolve, build, print sizes; train nothing.")]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, as in recipes/.")],
    set_: Set = None,
    fold: Annotated[str | None, typer.Option(help="Which fold; default: the first.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and dropout.")] = 0,
    out: Out = Path("runs"),
    store: StoreAt = None,
    over: Over = False,
    dry_run: DryRun = False,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
    as_json: JSON = False,
) -> None:
    """Train and test one fold of a recipe into runs/NAME/trial; on a cluster, in one group of workers.

    Example: undertone train recipes/demo/unison.toml --set training.epochs=5

    Example: undertone train recipe.toml --engine ray --ray workers=4 --ray gpus=1
    """
    from undertone.experiment.recipe import load_recipe
    from undertone.experiment.single import train_one
    from undertone.store import Store

    loaded = load_recipe(recipe, set_ or [])
    if dry_run:
        return _describe([loaded])
    workers = workers_of(engine, address, ray)
    if workers is not None:
        from functools import partial

        from undertone.scale.group import fit_together

        do = partial(fit_together, address=address, workers=workers)
        place = _store_at(store)
        folder, metrics = train_one(loaded, out.absolute(), place, fold=fold, seed=seed, do=do, over=over)
    else:
        with EpochBar(loaded.training.epochs) as bar:
            folder, metrics = train_one(loaded, out, Store(store), fold=fold, seed=seed, watch=bar, over=over)
    if as_json:
        print(json.dumps({"folder": str(folder), **metrics}))
    else:
        print(f"WA {100 * metrics['wa']:.1f}  UA {100 * metrics['ua']:.1f}  on the test part of {folder}")
    return None


@app.command()
def crossval(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, as in recipes/.")],
    set_: Set = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each fold, over the recipe's.")] = None,
    out: Out = Path("runs"),
    store: StoreAt = None,
    jobs: Jobs = None,
    over: Over = False,
    final: Annotated[bool, typer.Option(help="Also fit the model one deploys, on all data.")] = True,
    dry_run: DryRun = False,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
    as_json: JSON = False,
) -> None:
    """Train and test every fold of some recipes; finished folds are not done again.

    Example: undertone crossval recipes/iemocap/mgcma.toml recipes/iemocap/unison.toml --seeds 5

    Example: undertone crossval recipes/iemocap/*.toml --engine ray --out /shared/runs
    """
    from undertone.evaluation.results import evaluate
    from undertone.experiment.crossval import crossval as run
    from undertone.experiment.recipe import load_recipe
    from undertone.store import Store

    overrides = [*(set_ or []), *([f"protocol.seeds={seeds}"] if seeds else [])]
    loaded = [load_recipe(path, overrides) for path in recipes]
    if dry_run:
        return _describe(loaded)
    runner = None
    workers = workers_of(engine, address, ray)
    with ExitStack() as stack:
        if workers is not None:
            from functools import partial

            from undertone.scale.cluster import connected
            from undertone.scale.trials import run_jobs

            stack.enter_context(connected(address))
            runner = partial(run_jobs, address=address, workers=workers)
        bar = stack.enter_context(JobBar())
        done = run(
            loaded,
            out if runner is None else out.absolute(),
            store=Store(store) if runner is None else _store_at(store),
            processes=jobs or cores(),
            final=final,
            start=bar.start,
            watch=bar.ended,
            runner=runner,
            over=over,
        )
    results = [evaluate(folder) for folder in done.whole]
    if as_json:
        print(json.dumps([result.plain() for result in results]))
    else:
        show_scores(results)
    if done.failures:
        raise TrainingError(f"{len(done.failures)} jobs failed; the same command does only those again")
    return None


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Runs, or folders of which every run is taken.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The page, .html; .md is written beside it.")
    ] = Path("report.html"),
    reference: Annotated[str | None, typer.Option(help="The run that the others are tested against.")] = None,
    unit: Annotated[
        str, typer.Option(help="Unit of intervals and tests: session or speaker; default: the runs' own.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The metrics, on stdout.")] = False,
) -> None:
    """Measure runs and write one self-contained page, and the same as Markdown.

    Example: undertone report runs/demo/unison runs/demo/concat --out report.html

    Example: undertone report runs/demo/
    """
    from undertone.evaluation.report import render
    from undertone.evaluation.runs import below
    from undertone.models.table import preferred

    if unit not in ("", "session", "speaker"):
        raise typer.BadParameter(f"'{unit}' is neither session nor speaker", param_hint="--unit")
    folders = [folder for run in runs for folder in below(run)]
    if reference is None and preferred() in (run.name for run in folders):
        reference = preferred()
    results = render(folders, out, reference=reference, unit=unit)
    if as_json:
        print(json.dumps([result.plain() for result in results]))
    else:
        show_scores(results)
        print(f"report: {out}")


@app.command()
def search(
    recipe: Annotated[Path, typer.Argument(help="A recipe, as in recipes/.")],
    over: Annotated[list[str], typer.Option("--over", help="KEY=LOW..HIGH or KEY=A,B,C; repeatable.")],
    trials: Annotated[int, typer.Option(help="Settings to try, earlier calls counted in.")] = 20,
    shared: Annotated[
        bool, typer.Option("--shared", help="One search for all folds instead of one inside each; stamped.")
    ] = False,
    folds: Annotated[
        int | None, typer.Option(help="With --shared: only on the first folds' validation parts.")
    ] = None,
    set_: Set = None,
    out: Out = Path("runs/search"),
    store: StoreAt = None,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
    as_json: JSON = False,
) -> None:
    """Search settings inside each fold, by its validation part; its test part has no vote.

    Example: undertone search recipes/demo/concat.toml --over training.rate=1e-4..1e-2
    """
    from undertone.experiment.recipe import load_recipe
    from undertone.experiment.search import search_recipe
    from undertone.training.search import parse_range

    if folds is not None and not shared:
        raise typer.BadParameter(
            "needs --shared: inside each fold, every fold is searched", param_hint="--folds"
        )
    ranges = [parse_range(text) for text in over]
    loaded = load_recipe(recipe, set_ or [])
    workers, place, at = workers_of(engine, address, ray), None, _store_at(store)
    with ExitStack() as stack:
        if workers is not None:
            from functools import partial

            from undertone.scale.cluster import connected
            from undertone.scale.trials import search as on_cluster

            stack.enter_context(connected(address))
            place = partial(on_cluster, store=at.root, trials=trials, address=address, workers=workers)
        watch = stack.enter_context(bar("trainings"))
        done = search_recipe(
            loaded, ranges, out, at, trials=trials, shared=shared, folds=folds, place=place, watch=watch
        )
    if as_json:
        tried = {
            name: {"values": dict(best.values), "validation_ua": best.score, "trials": best.trials}
            for name, best in done.results.items()
        }
        print(json.dumps({"recipe": str(done.recipe), "results": tried}))
        return
    for name, best in done.results.items():
        values = "  ".join(f"{key}={value}" for key, value in best.values.items())
        print(f"{name}: validation UA {100 * best.score:.1f} after {best.trials} trials with  {values}")
    print(f"undertone crossval {done.recipe}")


@app.command()
def stress(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or with --manifest of a model.")],
    manifest: Annotated[
        Path | None, typer.Option(help="Labelled clips for a model folder that has no folds of its own.")
    ] = None,
    transcripts: Annotated[
        Path | None, typer.Option(help="A manifest with other transcripts, such as a recogniser's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The metrics, on stdout.")] = False,
) -> None:
    """Measure a run's models under noise, word errors and a missing modality.

    Example: undertone stress runs/demo/unison

    Example: undertone stress models/fused --manifest mine.jsonl
    """
    from undertone.evaluation.findings import points
    from undertone.experiment.stress import stress as sweep
    from undertone.experiment.stress import stress_model

    with bar("judging") as watch:
        if manifest is not None:
            sweeps = stress_model(run, manifest, transcripts=transcripts, say=say, watch=watch)
        else:
            sweeps = sweep(run, transcripts=transcripts, say=say, watch=watch)
    if as_json:
        print(json.dumps({"sweeps": sweeps}))
        return
    for name, rows in sweeps.items():
        print(f"{name + ' (points)':24}{'WA':>7}{'UA':>7}{'macro-F1':>10}{'ECE':>8}")
        for row in rows:
            scores = f"{100 * row['wa']:7.1f}{100 * row['ua']:7.1f}{100 * row['macro_f1']:10.1f}"
            print(f"  {row['at']:22}{scores}{points(row['ece']):>8}")


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer utterances, systems and epochs.")] = False,
    systems: Annotated[
        str, typer.Option(help="Which, as multilevel,mmer; all: every system that has a recipe there.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: runs/demo.")] = None,
    jobs: Jobs = None,
    set_: Set = None,
    as_json: JSON = False,
) -> None:
    """The whole story on synthesised speech: corpus, features, every system cross-validated, report.

    Example: undertone demo --quick

    Example: undertone demo --systems all
    """
    from undertone.experiment.demo import demo as run

    began = time.perf_counter()
    folder = out or Path("runs/demo-quick" if quick else "runs/demo")
    with JobBar() as bar:
        done = run(
            folder,
            quick=quick,
            processes=jobs or cores(),
            overrides=set_ or [],
            systems=[name.strip() for name in systems.split(",") if name.strip()],
            say=say,
            start=bar.start,
            watch=bar.ended,
        )
    if as_json:
        print(
            json.dumps({**json.loads(done.summary.read_text(encoding="utf-8")), "report": str(done.report)})
        )
    else:
        _show_demo(done)
    say(f"{time.perf_counter() - began:.0f} s")
    if done.failures:
        raise TrainingError(f"{len(done.failures)} jobs failed; the same command does only those again")


def _show_demo(done: DemoResult) -> None:
    show_scores(done.results)
    print(
        "Sizes are small so that this takes minutes on two cores; what differs from the published settings:"
    )
    for recipe in done.recipes:
        if recipe.notes:
            print(f"  {recipe.title}: {'; '.join(recipe.notes)}")
    print(f"summary: {done.summary}\nreport:  {done.report}")
    if (done.runs[-1] / "final" / "card.json").is_file():
        _predict_one(done.runs[-1], done.clip, done.words)


def _predict_one(run: Path, clip: Path, words: str) -> None:
    """Print the last system's prediction of one clip, by its final model."""
    from undertone.judging.predictor import load

    prediction = load(run).predict(clip, words)
    shares = "  ".join(f"{label} {100 * p:.0f} %" for label, p in prediction.probabilities.items())
    print(f'{run.name} on {clip.name}, "{words}": {prediction.label}  ({shares})')


def _store_at(folder: Path | None) -> Store:
    """The store by its full path, for the machines of a cluster."""
    from undertone.store import Store, default_root

    return Store((folder or default_root()).absolute())


def cores() -> int:
    return os.cpu_count() or 1


def _describe(recipes: Sequence[Recipe]) -> None:
    """Print what the recipes resolve to."""
    from undertone.config import dump_toml
    from undertone.experiment.single import sizes

    for recipe in recipes:
        size = sizes(recipe)
        print(f"# {recipe.title}: {size.parameters:,} parameters")
        print(f"# members: {', '.join(size.members)}; loss terms: {', '.join(size.terms)}")
        if size.folds:
            print(f"# {size.utterances} utterances, {size.folds} folds × {recipe.protocol.seeds} seeds")
        print(dump_toml(recipe.plain()))


def show_scores(results: Sequence[Result]) -> None:
    """Print a table of scores, all in points, with intervals and stamps."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from undertone.evaluation.findings import Findings, points

    if not results:
        return
    run = results[0].run
    title = f"{run.card.corpus} · {run.card.protocol} · {run.headline} · seeds {len(run.predictions.seeds)}"
    table = Table(title=f"{title} · points")
    for name in ("system", "WA", "UA", "95 % interval of UA", "macro-F1", "ECE", "seconds"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for result in results:
        ua = result.intervals["ua"]
        around = f"{points(ua.low)} to {points(ua.high)}" if ua.known else "folds are missing"
        scores = [points(result.seeds[name].mean) for name in ("wa", "ua")]
        more = [points(result.seeds["macro_f1"].mean), points(result.calibration["ece"])]
        table.add_row(result.name, *scores, around, *more, f"{result.run.seconds or 0:.0f}")
    console = Console()
    console.print(table)
    console.print(f"intervals: the unit is the {results[0].unit} ({results[0].intervals['ua'].units})")
    for stamp in Findings(results).warnings:
        console.print(f"[bold]stamp:[/bold] {escape(stamp)}")
