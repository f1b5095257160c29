"""``pack``, and the options of the commands that run on a cluster: ``--engine ray``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertone.cli.app import app
from undertone.errors import ConfigError, UsageError, no_such

if TYPE_CHECKING:
    from undertone.scale.workers import Workers

Engine = Annotated[str, typer.Option("--engine", help="local | ray: on a cluster (extra 'scale').")]
Address = Annotated[
    str | None,
    typer.Option("--address", help="ray: the cluster; default: RAY_ADDRESS, else this machine's cores."),
]
Ray = Annotated[
    list[str] | None,
    typer.Option("--ray", help="ray: KEY=VALUE: workers, cpus, gpus (of one), rows (of a part), retries."),
]


def workers_of(engine: str, address: str | None, options: list[str] | None) -> Workers | None:
    """The cluster's workers by the options; None for the local engine."""
    from undertone.config import apply_overrides

    if engine not in ("local", "ray"):
        raise UsageError(no_such("engine", engine, ("local", "ray")))
    if engine == "local":
        if address or options:
            raise ConfigError("--address and --ray are for --engine ray")
        return None
    from undertone.scale.cluster import require
    from undertone.scale.workers import Workers

    require("--engine ray")
    return Workers.parse(apply_overrides({}, options or []), "--ray")


def local_path(place: str, option: str) -> Path:
    """A path for the local engine, which reads no URLs."""
    if "://" in place:
        raise ConfigError(f"{option} {place}: URLs are for --engine ray; the local engine takes paths")
    return Path(place)


@app.command()
def pack(
    manifest: Annotated[Path, typer.Argument(help="M.jsonl or M.parquet")],
    out: Annotated[str, typer.Option("--out", "-o", help="A folder, or a URL of an object store.")],
    form: Annotated[str, typer.Option("--format", "-f", help="parquet | tar")] = "parquet",
    megabytes: Annotated[float, typer.Option(help="About how large a shard is.", min=0.001)] = 256,
    rows: Annotated[int, typer.Option(help="Utterances that a worker takes at once.", min=1)] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Copy a manifest's recordings into shards, so that a cluster reads few large files.

    parquet: the folder is what --engine ray takes in place of a manifest. tar: the folder gets a
    manifest.jsonl that every command reads.

    Example: undertone pack calls.jsonl --out shards/
    """
    from undertone.scale.pack import pack as run

    done = run(manifest, out, form=form, megabytes=megabytes, rows=rows)  # type: ignore[arg-type]
    if as_json:
        values = {"manifest": str(done.manifest), "utterances": done.utterances, "bytes": done.bytes}
        print(json.dumps({**values, "shards": len(done.shards)}))
        return
    size = f"{len(done.shards)} shards, {done.bytes / 1e6:.1f} MB"
    print(f"{done.manifest}: {done.utterances} utterances in {size}")
