"""``serve`` and ``export``: a model for other programs to use."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertone.cli.app import app
from undertone.cli.prediction import Align, Model, Precision, Runtime, print_choice, refuse_engines
from undertone.cli.progress import say
from undertone.cli.scale import Address, Engine, Ray, workers_of
from undertone.errors import UsageError, no_such

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.serving.server.settings import ServerSettings


@app.command()
def serve(
    model: Model = None,
    also: Annotated[
        list[str] | None, typer.Option(help="NAME=MODEL: another, for requests that name it as model.")
    ] = None,
    host: Annotated[str, typer.Option(help="Beyond loopback a token is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(help="Seen by other users of this machine: better UNDERTONE_TOKEN or --token-file."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, or with lines name:token.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Beyond loopback without a token.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name under which the server answers.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="https://site whose pages may call; default: none.")
    ] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    containers: Annotated[
        bool, typer.Option("--containers", help="Also read m4a, mp4, webm …, through ffmpeg (Linux).")
    ] = False,
    jobs: Annotated[
        Path | None, typer.Option(help="A folder for long jobs; without one, none are taken.")
    ] = None,
    asr: Annotated[
        str | None,
        typer.Option(
            help="A recogniser (extra 'asr') for requests with asr=true and /v1/audio/transcriptions; a bare"
            " --asr: Whisper tiny."
        ),
    ] = None,
    align: Align = "auto",
    runtime: Runtime = None,
    precision: Precision = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: max_bytes, max_seconds, max_batch, segmenting.window …"),
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
) -> None:
    """Serve a model: REST and a WebSocket under /v1, and a page for people.

    Example: undertone serve --model runs/demo/unison

    Example: undertone serve --asr --jobs jobs/

    Example: UNDERTONE_TOKEN=… undertone serve --host 0.0.0.0 --allow-host emotions.example.org

    Example: undertone serve --model runs/demo/unison --engine ray --ray workers=8
    """
    from undertone.config import apply_overrides
    from undertone.judging.locate import locate
    from undertone.judging.predictor import load_model
    from undertone.judging.words import words_for
    from undertone.serving.server.examples import find_examples
    from undertone.serving.server.run import serve as run
    from undertone.serving.server.settings import ServerSettings
    from undertone.serving.server.tokens import read_tokens

    values: dict[str, Any] = {
        "host": host,
        "port": port,
        "token": _token(token, token_file),
        "token_file": None if token_file is None else str(token_file),
        "job_folder": None if jobs is None else str(jobs),
        "webhook_secret": (os.environ.get("UNDERTONE_WEBHOOK_SECRET") or "").strip() or None,
        "insecure": insecure,
        "allow_hosts": allow_host or [],
        "cors_origins": cors_origin or [],
        "containers": containers,
        "ssl_certfile": None if ssl_certfile is None else str(ssl_certfile),
        "ssl_keyfile": None if ssl_keyfile is None else str(ssl_keyfile),
    }
    if token_file is not None:
        read_tokens(token_file)
    settings = ServerSettings.parse(apply_overrides(values, option or []), "serve")
    chosen = locate(model)
    print_choice(chosen)
    workers = workers_of(engine, address, ray)
    if workers is not None:
        refuse_engines(runtime, precision)
        if asr is not None or also or settings.job_folder is not None:
            raise UsageError("--asr, --also and --jobs are for the local engine")
        settings = _one_token(settings)
    ready = load_model(chosen.path, runtime, precision)
    words = words_for(ready, align)
    if workers is not None:
        from undertone.scale.deploy import serve as deploy

        say(f"{ready.name} on {'https' if ssl_certfile else 'http'}://{host}:{port}")
        return deploy(chosen.path, ready, settings, address=address, workers=workers, align=align)

    def load(path: Path) -> Any:
        loaded = load_model(path, runtime, precision)
        return loaded, words_for(loaded, align)

    loads = {
        name: partial(load, path) for name, path in {"default": chosen.path, **_also(also or [])}.items()
    }
    return run(
        ready,
        settings,
        words=words,
        examples=find_examples(chosen.path),
        recogniser=_recogniser(asr),
        loads=loads,
        started=lambda url: say(f"{ready.name} on {url}"),
    )


def _one_token(settings: ServerSettings) -> ServerSettings:
    """For a cluster, whose nodes may not have the file: the token itself."""
    from undertone.serving.server.tokens import read_tokens

    if settings.token_file is None:
        return settings
    callers = read_tokens(settings.token_file)
    if len(callers) > 1:
        raise UsageError("--token-file: several tokens are for the local engine")
    return settings.model_copy(update={"token": callers[0].token, "token_file": None})


def _also(given: list[str]) -> dict[str, Path]:
    """Other models by name."""
    from undertone.judging.locate import locate

    others: dict[str, Path] = {}
    for one in given:
        name, equals, place = one.partition("=")
        if not (name and equals and place) or name in others or name == "default":
            raise UsageError(f"--also {one}: NAME=MODEL is wanted, each name once, and not 'default'")
        others[name] = locate(place).path
    return others


def _recogniser(name: str | None) -> Recogniser | None:
    if name is None:
        return None
    from undertone.judging.asr import Recogniser

    return Recogniser(name)


def _token(given: str | None, file: Path | None) -> str | None:
    """The token of the command line or, without a file, of the environment; an empty one is none."""
    token = given or (os.environ.get("UNDERTONE_TOKEN") if file is None else None) or ""
    if token != token.strip():
        say("the token has white space or a line's end around it, which is left out")
    return token.strip() or None


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model folder or a run.")],
    to: Annotated[str, typer.Option("--to", help="onnx | openvino")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: beside the model.")] = None,
    encoders: Annotated[bool, typer.Option("--encoders", help="Export its pretrained encoders too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Write a model as a graph that runs without torch, and compare the results.

    Example: undertone export runs/demo/unison --to onnx
    """
    from undertone.judging.exported import FILES
    from undertone.judging.locate import locate
    from undertone.serving.export import export as run

    if to not in FILES:
        raise UsageError(no_such("format", to, FILES))
    done = run(locate(model).path, to, out, encoders=encoders)
    if as_json:
        values = {"path": str(done.path), "difference": done.difference, "tolerance": done.tolerance}
        print(json.dumps(values))
        return
    print(f"{done.path}: largest difference {done.difference:.1e} (allowed {done.tolerance:.0e})")
