"""``python -m studies.starter train | evaluate | pack``: the starter, from recordings to the package."""

from __future__ import annotations

import os
import sys
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
    typer.Option(
        "--data",
        help=f"Folder with ravdess, emodb, nemo, timit_sample, goemotions, dialogues; default: {DATA}.",
    ),
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
        typer.Option("--part", help="Only these: fold-0 …, without-emodb …, only-emodb …, open …, final."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes at a time, one thread each.")] = 2,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe.")] = None,
) -> None:
    """Train the starter: a model for each of five speaker folds and each corpus left out, and those shipped.

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
    pages: Annotated[
        Path | None, typer.Option(help="A docs folder: its model card and results are written anew.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes at once for what beats it, a thread each.", min=1)] = 2,
) -> None:
    """Test every model on what it was not trained on; write the figures and the model card.

    Answers are kept: a second call is instant, and only models that were trained again answer again.

    Example: UNDERTONE_DATA=~/data python -m studies.starter evaluate runs/starter --pages docs
    """
    from studies.starter.assess.figures import figures
    from studies.starter.assess.pages import write_pages
    from studies.starter.recipe import read
    from studies.starter.train import Place

    place = Place(run, data_folder(data), read(run / "recipe.toml"))
    values = figures(place, lambda what: print(what, file=sys.stderr), jobs)
    write_pages(values, run / "assessment")
    if pages is not None:
        write_pages(values, pages)
    for figure in values["figures"]:
        if figure["bar"] is not None:
            sign, met = ("≥" if figure["at_least"] else "≤"), ("met" if figure["met"] else "MISSED")
            print(f"{met:6}  {figure['value']:6.1f} {sign} {figure['bar']:<5g} {figure['what']}")
    print(f"figures and card: {run / 'assessment'}", file=sys.stderr)


@app.command()
def pack(
    run: Run = Path("runs/starter"),
    packages: Annotated[Path, typer.Option(help="The folder of the distributions.")] = Path("packages"),
    data: Data = None,
) -> None:
    """Put the run's models, with their card, figures and example clips, into the two distributions.

    Example: UNDERTONE_DATA=~/data python -m studies.starter pack runs/starter
    """
    from studies.starter.assess import pack as packing

    for name, part in packing.MODELS.items():
        done = packing.pack(run, part, packages / f"undertone-{name}")
        print(f"{done.folder}: version {done.version}, {done.size / 1e6:.1f} MB")
    packing.add_examples(packages / "undertone-starter", data_folder(data))


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
