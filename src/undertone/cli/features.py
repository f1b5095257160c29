"""``extract`` and ``store``: every clip encoded once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertone.cli.app import app
from undertone.cli.progress import bar, say
from undertone.cli.scale import Address, Engine, Ray, local_path, workers_of

if TYPE_CHECKING:
    from undertone.features.extract import Report

store_app = typer.Typer(
    name="store", help="The feature store: path, stat, verify, gc, clear.", no_args_is_help=True
)
app.add_typer(store_app)

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of the features; else UNDERTONE_CACHE, else the user's cache."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]


@app.command()
def extract(
    manifest: Annotated[str, typer.Argument(help="The utterances; with --engine ray, shards or a URL too.")],
    speech: Annotated[
        str | None,
        typer.Option(help="acoustic, egemaps, whisper-base (in the box), or a folder or hub name."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="minilm-l6 (in the box), or a text network's folder or hub name.")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Speech: an index, last (default; of the box 2-3), several (2-4), weighted (all)."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Folder of the features; else UNDERTONE_CACHE, else the user's cache."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto | fp32 | bf16")] = "auto",
    keep: Annotated[str, typer.Option(help="What the store keeps: fp32 | fp16")] = "fp32",
    runtime: Annotated[str, typer.Option(help="torch | openvino | onnx")] = "torch",
    window: Annotated[str, typer.Option(help="Whisper: clip | full (30 s, as published).")] = "clip",
    average: Annotated[int, typer.Option(help="Speech: so many frames become one, their mean.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="cpu | cuda")] = "cpu",
    revision: Annotated[str | None, typer.Option(help="The speech network's branch, tag or commit.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes, one thread each; 0: one a core.", min=0)] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Exit 0 despite clips that failed.")] = False,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
    as_json: JsonOption = False,
) -> None:
    """Encode every clip (and transcript) once; what the store has is not computed again.

    With neither --speech nor --text: both by the encoders in the box, which need no network.

    Example: undertone extract demo.jsonl --speech facebook/wav2vec2-base --text bert-base-uncased

    Example: undertone extract shards/ --speech acoustic --engine ray --store /shared/features
    """
    workers = workers_of(engine, address, ray)
    if speech is None and text is None:
        speech, text, layer = "whisper-base", "minilm-l6", layer or "2-3"
        say(f"encoders in the box: --speech {speech} --layer {layer} --text {text}")
    layer = layer or "last"
    shared: dict[str, Any] = {"precision": precision, "keep": keep, "device": device}
    index: int | str = int(layer) if layer.lstrip("-").isdigit() else layer
    own = {"name": speech, "layer": index, "runtime": runtime, "revision": revision}
    own |= {"window": window, "average": average}
    encoders = (own | shared if speech else None, {"name": text, **shared} if text else None)
    if workers is not None:
        from undertone.scale.extract import extract as place
        from undertone.scale.extract import report_of

        with bar("encoding") as watch:
            done = place(manifest, store, *encoders, address=address, workers=workers, say=say, watch=watch)
        report = report_of(done)
    else:
        path = local_path(manifest, "MANIFEST")
        folder = local_path(store, "--store") if store else None
        report = _extract(path, folder, *encoders, jobs=jobs)
    values = report.plain()
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        print(
            f"{values['computed']} encoded ({values['audio_seconds']:.0f} s of audio in "
            f"{values['wall_seconds']:.1f} s), {values['hits']} were there, {len(report.bad)} refused"
        )
    for bad in report.bad:
        say(f"{bad.id}: {bad.why}")
    if report.bad and not skip_bad:
        say(f"{len(report.bad)} could not be encoded, the rest is done; --skip-bad continues without them")
        raise typer.Exit(1)


def _extract(
    path: Path, store: Path | None, speech: dict[str, Any] | None, text: dict[str, Any] | None, jobs: int
) -> Report:
    """Encode here what the store lacks; ``speech`` and ``text`` are fields of the encoders' settings."""
    import os

    from undertone import manifest
    from undertone.features import speech as speech_encoders
    from undertone.features import text as text_encoders
    from undertone.features.config import SpeechConfig, TextConfig
    from undertone.features.extract import extract
    from undertone.files import refuse_place
    from undertone.store import Store

    utterances = manifest.read(path).resolved()
    opened = Store(store)
    refuse_place(opened.root, folder=True)
    spoken = speech_encoders.build(SpeechConfig.parse(speech)) if speech else None
    written = text_encoders.build(TextConfig.parse(text)) if text else None
    for encoder in (spoken, written):
        if encoder is not None:
            say(f"{encoder.name}: {getattr(encoder, 'precision', 'fp32')}")
    workers = jobs or os.cpu_count() or 1
    return extract(utterances, opened, spoken, written, jobs=workers, skip_bad=True)


@store_app.command("path")
def path_(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Print where the store is.

    Example: undertone store path
    """
    root = str(_opened(store).root)
    print(json.dumps({"root": root}) if as_json else root)


@store_app.command()
def stat(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show what the store holds, by encoder.

    Example: undertone store stat
    """
    counts = _opened(store).stat()
    if as_json:
        rows = {name: {"entries": n, "bytes": size} for name, (n, size) in counts.by_encoder.items()}
        values = {"root": str(counts.root), "entries": counts.entries, "shards": counts.shards}
        print(json.dumps({**values, "bytes": counts.bytes, "partial": counts.partial, "encoders": rows}))
        return
    print(f"{counts.root}: {counts.entries} entries in {counts.shards} shards, {_size(counts.bytes)}")
    for name, (entries, size) in counts.by_encoder.items():
        print(f"  {name or '(unnamed)'}: {entries} entries, {_size(size)}")
    if counts.partial:
        print(f"  {counts.partial} shards in flight or abandoned")


@store_app.command()
def verify(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Read everything and check its sums; exit 1 if anything is damaged.

    Example: undertone store verify
    """
    opened = _opened(store)
    damaged = opened.verify()
    if as_json:
        rows = [{"shard": str(one.shard), "key": one.key, "what": one.what} for one in damaged]
        print(json.dumps({"root": str(opened.root), "entries": len(opened), "damaged": rows}))
    for one in () if as_json else damaged:
        print(f"{one.shard}: {one.key or 'the whole shard'}: {one.what}")
    if damaged:
        say("damaged entries are never read; `undertone store gc` removes them")
        raise typer.Exit(1)
    if not as_json:
        print(f"{opened.root}: {len(opened)} entries, all intact")


@store_app.command()
def gc(
    store: StoreOption = None,
    older_than: Annotated[
        float | None, typer.Option(help="Also shards not written for this many days.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Also what this encoder (see stat) made.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Free the space of what is damaged, doubled or abandoned.

    Example: undertone store gc --older-than 90
    """
    seconds = None if older_than is None else older_than * 86_400
    _freed(_opened(store).gc(seconds, encoder), as_json)


@store_app.command()
def clear(
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove every feature; they can be extracted again.

    Example: undertone store clear --yes
    """
    from undertone.store import Store

    opened = Store(store, damaged=True)
    if not yes:
        typer.confirm(f"remove all {len(opened)} entries of {opened.root}?", abort=True)
    _freed(opened.clear(), as_json)


def _freed(count: float, as_json: bool) -> None:
    print(json.dumps({"freed_bytes": count}) if as_json else f"{_size(count)} freed")


def _opened(root: Path | None) -> Any:
    from undertone.store import Store

    return Store(root)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
