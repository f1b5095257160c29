"""``python -m studies.starter train | evaluate | pack``: the starter, from recordings to the package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from undertone.errors import ConfigError, UndertoneError

app = typer.Typer(
    name="python -m studies.starter",
    help="The model in the box: train, evaluate, pack.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DATA = "UNDERTONE_DATA"
Data = Annotated[
    Path | None,
    typer.Option("--data", help=f"Folder with ravdess, emodb, timit_sample, goemotions; default: {DATA}."),
]
Run = Annotated[Path, typer.Argument(help="The run, as `python -m studies.starter train` leaves it.")]


def data_folder(given: Path | None) -> Path:
    """The folder of the real recordings: the option's, else the environment's."""
    folder = given or Path(os.environ.get(DATA) or "")
    if folder == Path() or not folder.is_dir():
        raise ConfigError(f"the recordings are missing: name their folder by --data or {DATA}")
    return folder


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")] = Path("recipes/starter/starter.toml"),
    run: Annotated[Path, typer.Option("--run", help="Where everything goes.")] = Path("runs/starter"),
    data: Data = None,
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="Only these: fold-0 … fold-4, final, only-ravdess, only-emodb."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Parts at a time, one thread each.")] = 2,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe.")] = None,
) -> None:
    """Train the starter: a model for each of five speaker folds, and the one of all speakers that is shipped.

    What is there is not made again, and a killed training goes on after its last whole epoch.

    Example: UNDERTONE_DATA=~/data python -m studies.starter train recipes/starter/starter.toml --jobs 2
    """
    from studies.starter.recipe import read
    from studies.starter.train import PARTS, Place, train

    train(Place(run, data_folder(data), read(recipe, settings or ())), part or PARTS, jobs)
    print(f"{run}: trained; `python -m studies.starter evaluate {run}` shows what it reaches")


@app.command()
def evaluate(
    run: Run = Path("runs/starter"),
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where predictions and metrics go; default: RUN/assessment."),
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(help="A docs folder: its model card and results are written anew.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Predict only this condition; metrics need them all.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes at once, a thread each.", min=1)] = 1,
) -> None:
    """Test every fold's model on the speakers it was not trained on; write the metrics and the model card.

    Predictions are kept: a second call is instant, and only models that were trained again predict again.

    Example: python -m studies.starter evaluate runs/starter --pages docs
    """
    from studies.starter.assess.cases import CONDITIONS
    from studies.starter.assess.pages import write_pages
    from studies.starter.assess.run import assess

    if unknown := set(only or ()) - set(CONDITIONS):
        raise ConfigError(f"no condition '{unknown.pop()}'; there are: {', '.join(CONDITIONS)}")
    place = out or run / "assessment"
    with _bar() as tell:
        values = assess(run, data_folder(data), place, tell, only or tuple(CONDITIONS), jobs)
    if not values:
        return
    write_pages(values, place)
    if pages is not None:
        write_pages(values, pages)
    _print_bars(values["bars"])
    print(f"metrics and card: {place}", file=sys.stderr)


@app.command()
def pack(
    run: Run = Path("runs/starter"),
    package: Annotated[Path, typer.Option(help="The distribution's folder.")] = Path(
        "packages/undertone-starter"
    ),
    out: Annotated[
        Path | None,
        typer.Option("--assessment", help="Where `evaluate` left its metrics; default: in the run."),
    ] = None,
) -> None:
    """Put the run's final model, with its card and metrics, into the distribution that is installed.

    Example: python -m studies.starter pack runs/starter
    """
    from studies.starter.assess.pack import pack as put

    done = put(run, package, out or run / "assessment")
    print(f"{done.folder}: version {done.version}, {done.size / 1e6:.1f} MB")


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, total: shown.update(task, description=what, completed=done, total=total)


def _print_bars(bars: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from studies.starter.assess.words import bar_rows

    table = Table("metric", "measured", "wanted", "met", box=None, padding=(0, 2, 0, 0))
    for row in bar_rows(bars):
        table.add_row(*row)
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Run; a user's error is one line on stderr and status 1, Ctrl-C is 130."""
    try:
        app()
    except UndertoneError as error:
        print(f"undertone: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("undertone: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
