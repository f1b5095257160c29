"""``list`` and ``doctor``: what there is to choose from, and what this machine has."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from undertone import __version__
from undertone.cli.app import app
from undertone.cli.progress import say
from undertone.errors import UsageError, install_line, no_such

EXTRAS: dict[str, tuple[str, ...]] = {
    "starter": ("undertone_starter", "undertone_encoders"),
    "starter-open": ("undertone_starter_open", "undertone_encoders"),
    "encoders": ("undertone_encoders",),
    "espeak": ("espeakng_loader",),
    "align": ("pocketsphinx", "espeakng_loader"),
    "demo": ("espeakng_loader",),
    "report": ("jinja2",),
    "asr": ("faster_whisper",),
    "vad": ("silero_vad", "onnxruntime"),
    "serve": ("fastapi", "uvicorn", "multipart", "websockets", "prometheus_client"),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "parquet": ("pyarrow",),
    "search": ("optuna",),
    "scale": ("ray", "pyarrow", "fsspec"),
    "export": ("onnx", "onnxscript", "onnxruntime", "openvino"),
    "track": ("tensorboard", "mlflow", "wandb"),
    "smile": ("opensmile",),
    "frames": ("pandas",),
}
"""The modules that each extra installs, as they are imported."""
PURPOSES = {
    "starter": "the model in the box; its weights are not for commercial use",
    "starter-open": "the model in the box that may be used in products",
    "encoders": "pretrained encoders and a recogniser of English, without a download",
    "espeak": "pronunciations of words that no dictionary has",
    "align": "boundaries of English words, syllables and phones",
    "demo": "the synthesised corpus of `undertone demo`",
    "report": "reports of runs as one page",
    "asr": "recognised words, four times faster",
    "vad": "speech and pauses separated by silero-vad",
    "serve": "the server and its page",
    "otel": "traces of the server's requests for OpenTelemetry",
    "parquet": "manifests and tables in Parquet",
    "search": "search for settings inside each fold",
    "scale": "the same work on a Ray cluster",
    "export": "models as ONNX and OpenVINO, faster engines",
    "track": "TensorBoard, MLflow, Weights & Biases",
    "smile": "openSMILE's functionals; non-commercial",
    "frames": "results as pandas DataFrames",
}
"""What each extra is for, in a few words."""

CORE = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy", "soundfile", "soxr")


def _corpora() -> list[dict[str, Any]]:
    from undertone.corpora import CORPORA

    return [{"name": name, "about": about} for name, (_, about) in CORPORA.items()]


def _encoders() -> list[dict[str, Any]]:
    """The encoders in the box, then the architectures: what is cached of each, what a name would download."""
    from undertone.features import DOWNLOADS, ENCODERS
    from undertone.packed import BOX, INSTALL
    from undertone.pretrained import cached

    in_cache = cached()
    rows: list[dict[str, Any]] = []
    for name, boxed in BOX.items():
        size = _boxed_size(name)
        where = f"in the box, {size / 1e6:.0f} MB" if size else f"not installed: {INSTALL}"
        row = {"name": name, "about": boxed.about, "where": where, "licence": boxed.licence}
        rows.append(row | ({"bytes": size} if size else {}))
    for name, about in ENCODERS.items():
        local = {model: size for model, (kind, size) in in_cache.items() if kind == name}
        where = ", ".join(f"cached: {model}, {size / 1e6:.0f} MB" for model, size in local.items())
        if name in DOWNLOADS and not local:
            model, millions = DOWNLOADS[name]
            where = f"download: {model}, about {millions * 4} MB"
        rows.append({"name": name, "about": about, "where": where, "cached": local})
    return rows


def _boxed_size(name: str) -> int:
    """Bytes of an encoder in the box; 0 where the package is not installed."""
    from undertone.packed import find

    return sum(file.stat().st_size for file in folder.iterdir()) if (folder := find(name)) else 0


def _systems() -> list[dict[str, Any]]:
    from undertone.models.table import SYSTEMS

    return [
        {"name": name, "about": (system.__doc__ or "").strip().splitlines()[0]}
        for name, (system, _) in SYSTEMS.items()
    ]


def _models() -> list[dict[str, Any]]:
    """Shipped models that are installed, then the runs below ``runs/`` that have a final model."""
    from undertone.judging.locate import OPEN, STARTER, read, starter

    rows: list[dict[str, Any]] = []
    for name in (STARTER, OPEN):
        if (shipped := starter(name)) is not None:
            about = read(shipped)
            row: dict[str, Any] = {"name": name, "about": about.get("corpus", "")}
            rows.append(row | {key: about[key] for key in ("version", "licence") if key in about})
    for card in sorted(Path("runs").glob("**/final/card.json")):
        values = json.loads(card.read_text(encoding="utf-8"))
        rows.append({"name": card.parent.parent.as_posix(), "about": values.get("corpus", "")})
    return rows


def _public() -> list[dict[str, Any]]:
    """Published classifiers by what their pages state; none of them was run here."""
    from undertone.labels.published import PUBLISHED

    rows = []
    for name, one in PUBLISHED.items():
        trained = ", ".join(one.trained)
        notes = [f"never score it on {trained}", *([one.note] if one.note else []), "not run here"]
        rows.append(
            {
                "name": name,
                "about": f"{one.side}: {one.classes}",
                "where": "; ".join(notes),
                "licence": one.licence,
                "side": one.side,
                "trained_on": list(one.trained),
                "usable": one.usable,
            }
        )
    return rows


def _recipes() -> list[dict[str, Any]]:
    from undertone.config import load_toml
    from undertone.experiment.recipe import recipes_folder, shipped_recipes

    values = {name: load_toml(recipes_folder() / f"{name}.toml") for name in shipped_recipes()}
    return [
        {"name": name, "about": f"{one['system']} on {one.get('manifest', 'any manifest')}"}
        for name, one in values.items()
    ]


def _labels() -> list[dict[str, Any]]:
    from undertone.labels import LABEL_SETS

    return [
        {"name": name, "about": ", ".join(one.classes), "classes": list(one.classes)}
        for name, one in LABEL_SETS.items()
    ]


def _protocols() -> list[dict[str, Any]]:
    from undertone.splits import PROTOCOLS

    return [
        {"name": name, "about": (make.__doc__ or "").strip().splitlines()[0]}
        for name, make in PROTOCOLS.items()
    ]


def _aligners() -> list[dict[str, Any]]:
    from undertone.experiment.align import ALIGNERS

    missing = [m for m in EXTRAS["align"] if importlib.util.find_spec(m) is None]
    where = {"sphinx": f"not installed: {install_line('align')}" if missing else "installed"}
    return [{"name": name, "about": about, "where": where.get(name, "")} for name, about in ALIGNERS.items()]


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "corpora": _corpora,
    "encoders": _encoders,
    "systems": _systems,
    "recipes": _recipes,
    "models": _models,
    "labels": _labels,
    "protocols": _protocols,
    "aligners": _aligners,
}


@app.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            help="corpora | encoders | systems | recipes | models | labels | protocols | aligners",
            autocompletion=lambda: list(LISTS),
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="Of models: well-known published classifiers, for `undertone fuse`."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """List what there is to choose from.

    Example: undertone list systems

    Example: undertone list models --public
    """
    if what is None:
        raise UsageError(f"list what? There are {', '.join(LISTS)}")
    if what not in LISTS:
        raise UsageError(no_such("list", what, LISTS))
    if public and what != "models":
        raise UsageError("--public is for models")
    rows = _public() if public else LISTS[what]()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        print("none yet: `undertone demo` makes some" if what == "models" else "none")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        more = row.get("where", row.get("version", ""))
        table.add_row(f"[bold]{row['name']}[/]", row["about"], more, row.get("licence", ""))
    Console().print(table)


def _version_of(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _cpu_abilities() -> list[str]:
    """The CPU's instruction sets that matter to speed, as torch names them."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return [capability, *(["bf16"] if bf16 else [])]


def _facts() -> dict[str, Any]:
    import torch

    from undertone.packed import BOX
    from undertone.store import default_root

    missing = {extra: [m for m in modules if not _installed(m)] for extra, modules in EXTRAS.items()}
    return {
        "undertone": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version_of(name) for name in CORE},
        "cores": os.cpu_count(),
        "cpu": _cpu_abilities(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "store": str(default_root()),
        "extras": {extra: not modules for extra, modules in missing.items()},
        "models": [row["name"] for row in _models()],
        "encoders": [name for name in BOX if _boxed_size(name)],
        "ffmpeg": shutil.which("ffmpeg"),
        "free_bytes": shutil.disk_usage(_standing(default_root())).free,
    } | {"lacking": _lacking(missing)}


def _standing(path: Path) -> Path:
    """The path, or the folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


SMALL = 5_000_000_000
"""Bytes of free disk below which an extraction of some hours of speech may not fit."""


def _lacking(missing: dict[str, list[str]]) -> list[dict[str, str]]:
    """What this machine does not have: what it is for, and how to get it."""
    from undertone.store import default_root

    rows = [
        {"what": extra, "for": PURPOSES[extra], "how": install_line(extra)}
        for extra, modules in missing.items()
        if modules
    ]
    if shutil.which("ffmpeg") is None:
        use = "m4a, mp4, aac, webm, wma, amr; wav, flac, ogg, opus and mp3 need none"
        rows.append({"what": "ffmpeg", "for": use, "how": "apt install ffmpeg, brew install ffmpeg, …"})
    if shutil.disk_usage(_standing(default_root())).free < SMALL:
        way = "UNDERTONE_CACHE names another disk; `undertone store gc`"
        rows.append({"what": "disk space", "for": "features: about 1 GB an hour of speech", "how": way})
    return rows


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Show what this machine has, and what it lacks: for what, and how to get it.

    Example: undertone doctor
    """
    facts = _facts()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"undertone {facts['undertone']} · Python {facts['python']} · {facts['system']}")
    console.print(" · ".join(f"{name} {version or 'missing'}" for name, version in facts["packages"].items()))
    console.print(
        f"{facts['cores']} cores ({', '.join(facts['cpu'])}) · GPUs: {', '.join(facts['gpus']) or 'none'}"
    )
    console.print(f"feature store: {facts['store']}")
    console.print(f"models: {', '.join(facts['models']) or 'none: `undertone demo` makes some'}")
    console.print(f"encoders in the box: {', '.join(facts['encoders']) or 'none: `undertone list encoders`'}")
    console.print(f"ffmpeg: {facts['ffmpeg'] or 'none'} · free disk: {facts['free_bytes'] / 1e9:.0f} GB")
    console.print("extras: " + " ".join(extra for extra, there in facts["extras"].items() if there))
    for row in facts["lacking"]:
        console.print(f"  [yellow]–[/] {row['what']}: for {escape(row['for'])}")
        console.print(f"      [dim]{escape(row['how'])}[/]")
    if not facts["lacking"]:
        console.print("  [green]✓[/] nothing is lacking")
    if any(version is None for version in facts["packages"].values()):
        say("a required package is missing; reinstall undertone")
        raise typer.Exit(1)
