"""A run's final model into the distribution that ships it: small enough, complete, with its card."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.starter.assess.card import card as model_card
from studies.starter.assess.run import FILE, described
from undertone.errors import ConfigError, DataError, ModelError
from undertone.files import write_json, write_whole
from undertone.models.folder import CARD, FILES, read_card

__all__ = ["LARGEST", "Packed", "pack"]

LARGEST = 12_000_000
"""Bytes of everything in the model folder together."""
INSIDE = Path("src/undertone_starter/model")
README = "README.md"


@dataclass(frozen=True)
class Packed:
    """What was put where."""

    folder: Path
    version: str
    size: int


def pack(run: Path, package: Path, assessment: Path) -> Packed:
    """Copy ``run/final/model`` into the package, the card completed by version, licence and metrics."""
    model = run / "final" / "model"
    about = read_card(model)
    project = _project(package / "pyproject.toml")
    metrics = _metrics(assessment / FILE) | {"model": described(model)}
    folder = package / INSIDE
    fresh = folder.with_name(".model.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in FILES:
        if name != CARD and (model / name).is_file():
            shutil.copyfile(model / name, fresh / name)
    complete = {**about, "version": project["version"], "licence": project["license"]}
    complete["figures"] = {bar["what"]: round(bar["value"], 4) for bar in metrics["bars"]}
    write_json(fresh / CARD, complete, indent=2, sort_keys=True)
    write_whole(fresh / README, model_card(metrics))
    size = sum(path.stat().st_size for path in fresh.iterdir())
    if size > LARGEST:
        shutil.rmtree(fresh)
        raise ModelError(f"{model}: {size / 1e6:.1f} MB, more than the {LARGEST / 1e6:g} MB that are shipped")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return Packed(folder, str(project["version"]), size)


def _project(path: Path) -> Mapping[str, Any]:
    """What the distribution calls itself: one place for version and licence."""
    try:
        project: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not the project file of the starter's distribution ({error})") from None
    return project


def _metrics(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no metrics; run `python -m studies.starter evaluate` first") from None
    return values
