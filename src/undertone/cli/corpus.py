"""``prepare``, ``show``, ``export-manifest``: from data on disk to a manifest, what it holds, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertone.cli.app import app
from undertone.cli.progress import track
from undertone.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from undertone.manifest import Manifest, Statistics

JSON = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="One of `undertone list corpora`.")],
    path: Annotated[
        Path, typer.Argument(help="The corpus' folder, or the table; for demo, where to make it.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest: .jsonl or .parquet.")],
    labels: Annotated[
        str | None, typer.Option(help="A label set, 'all' (every turn) or SET+all; default: the corpus' own.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="table: COLUMN=FIELD, a column of yours and what it is.")
    ] = None,
    label_map: Annotated[
        list[str] | None, typer.Option(help="table: YOURS=OURS, a label and its class ('YOURS=': none).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="demo: another seed, another corpus.")] = None,
    size: Annotated[int | None, typer.Option(help="demo: about how many utterances.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out recordings that can't be read.")
    ] = False,
    spoken: Annotated[
        bool, typer.Option("--spoken", help="Leave out silence around speech, as `predict` does.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, an option of one corpus: source=voted …"),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Write the manifest of a corpus.

    Example: undertone prepare iemocap IEMOCAP_full_release --out data/iemocap.jsonl

    Example: undertone prepare table clips.csv --map file=audio --map emotion=label --out clips.jsonl
    """
    from undertone.experiment.prepare import prepare as run

    options = {
        **_options(option or []),
        **({"columns": pairs("--map", columns)} if columns else {}),
        **({"label_map": label_map_of(label_map)} if label_map else {}),
        **({"seed": seed} if seed is not None else {}),
        **({"size": size} if size is not None else {}),
    }
    watch = partial(track, doing="reading")
    more = {"skip_bad": skip_bad, "spoken": spoken}
    done = run(corpus, path, out, labels=labels, options=options, watch=watch, **more)
    if as_json:
        values = {"manifest": str(done.manifest), "utterances": done.utterances}
        print(
            json.dumps({**values, "labels": dict(done.labels), "notes": list(done.notes)}, ensure_ascii=False)
        )
        return
    print(f"{done.manifest}: {done.utterances} utterances · {_listed(done.labels) or 'no labels'}")


@app.command()
def show(
    manifest: Annotated[Path, typer.Argument(help="M.jsonl or M.parquet")],
    validate: Annotated[
        bool, typer.Option("--validate", help="List everything that is wrong; status 1 if so.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Show what a manifest holds: counts, hours, speakers, labels, tiers.

    Example: undertone show data/iemocap.jsonl --validate
    """
    from undertone import manifest as manifests

    held = manifests.read(manifest)
    counted = manifests.statistics(held)
    problems = manifests.validate(held) if validate else []
    if as_json:
        listed = [{"id": p.id, "kind": p.kind, "what": p.what} for p in problems]
        values = {"manifest": str(manifest), **counted.plain(), "corpus": held.meta.corpus}
        print(
            json.dumps({**values, **({"problems": listed} if validate else {})}, ensure_ascii=False, indent=2)
        )
    else:
        _print(held, counted)
        for problem in problems:
            print(problem)
        if validate and not problems:
            print("valid")
    if problems:
        raise ManifestError(f"{manifest}: {len(problems)} problems")


@app.command("export-manifest")
def export_manifest(
    manifest: Annotated[Path, typer.Argument(help="M.jsonl or M.parquet")],
    out: Annotated[Path, typer.Argument(help="A new folder; of huggingface and speechbrain a file.")],
    to: Annotated[
        str, typer.Option(help="audiofolder, huggingface, audformat, lhotse, speechbrain or kaldi.")
    ],
    as_json: JSON = False,
) -> None:
    """Write a manifest as other tools keep their data; `prepare` reads all of these.

    Example: undertone export-manifest data/clips.jsonl data/clips-hf/train.parquet --to huggingface
    """
    from undertone import manifest as manifests
    from undertone.manifest.exchange import export

    held = manifests.read(manifest)
    place = export(held, to, out)
    if as_json:
        print(json.dumps({"place": str(place), "utterances": len(held.utterances)}, ensure_ascii=False))
    else:
        print(f"{place}: {len(held.utterances)} utterances")


def pairs(flag: str, words: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        left, equals, right = word.partition("=")
        if not (left and equals):
            raise ConfigError(f"{flag} '{word}' is not of the form THEIRS=OURS")
        pairs[left] = right
    return pairs


def label_map_of(words: Iterable[str]) -> dict[str, str | None]:
    return {theirs: ours or None for theirs, ours in pairs("--label-map", words).items()}


def _options(words: Iterable[str]) -> dict[str, Any]:
    from undertone.config import apply_overrides

    return apply_overrides({}, words)


def _listed(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{name} {n}" for name, n in counts.items())


def _print(manifest: Manifest, counted: Statistics) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(manifest, counted):
        if value:
            table.add_row(name, value)
    Console(highlight=False).print(table)


def _rows(manifest: Manifest, counted: Statistics) -> Iterable[tuple[str, str]]:
    untimed = counted.utterances - counted.timed
    tiers = {tier: n for tier, n in counted.tiers.items() if n}
    yield "corpus", manifest.meta.corpus or ""
    yield "utterances", f"{counted.utterances} in {counted.recordings} recordings"
    yield "hours", f"{counted.seconds / 3600:.2f}" + (f" ({untimed} of unknown length)" if untimed else "")
    yield "speakers", f"{len(counted.speakers)}: {_listed(counted.speakers)}" if counted.speakers else ""
    yield "sessions", f"{len(counted.sessions)}: {_listed(counted.sessions)}" if counted.sessions else ""
    yield "dialogues", str(counted.dialogues) if counted.dialogues else ""
    yield "labels", _listed(counted.labels)
    yield "unlabelled", str(counted.unlabelled) if counted.unlabelled else ""
    yield "text", _listed(counted.text_sources)
    yield "languages", _listed(counted.languages)
    yield "tiers", " · ".join(f"{tier} in {n} ({counted.segments[tier]})" for tier, n in tiers.items())
    for note in manifest.meta.notes:
        yield "note", note
