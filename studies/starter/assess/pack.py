"""A run's models into the distributions that ship them: small enough, complete, with their card."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.starter.assess.pages import card as model_card
from studies.starter.targets import CLASSES
from undertone import manifest as manifests
from undertone.errors import ConfigError, DataError, ModelError
from undertone.files import write_json, write_whole
from undertone.models.folder import CARD, FILES, read_card
from undertone.types import Utterance

__all__ = ["EXAMPLES", "LARGEST", "MODELS", "Packed", "add_examples", "pack"]

LARGEST = 20_000_000
"""Bytes of everything in the model folder together: three blocks of MiniLM in fp16 are 10.6 million, twelve
classifiers 5.9."""
MODELS = {"starter": "final", "starter-open": "open"}
"""The part of a run that each distribution ships."""
README = "README.md"


EXAMPLES = (
    ("ravdess/Actor_05/03-01-05-02-01-01-05.flac", "Kids are talking by the door.", "angry"),
    ("ravdess/Actor_08/03-01-04-01-02-01-08.flac", "Dogs are sitting by the door.", "sad"),
    ("emodb/wav/03a01Fa.flac", None, "happy"),  # its words are German
)
"""Clips to try on the page, of what it learned from: place, words, label. Only in the package that is not for
commercial use; ``examples/NOTICE`` says whose they are."""
WHOSE = {
    "ravdess": "RAVDESS, S. R. Livingstone and F. A. Russo, 2018, CC BY-NC-SA 4.0",
    "emodb": "EmoDB, F. Burkhardt and others, 2005, CC BY 4.0",
}
"""In a line, for the page."""
NOTICE = """\
RAVDESS: S. R. Livingstone and F. A. Russo, 2018, https://doi.org/10.5281/zenodo.1188976, CC BY-NC-SA 4.0;
resampled to 16 kHz: {ravdess}
EmoDB: F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier and B. Weiss, 2005, CC BY 4.0: {emodb}
"""


@dataclass(frozen=True)
class Packed:
    """What was put where."""

    folder: Path
    version: str
    size: int


def pack(run: Path, part: str, package: Path) -> Packed:
    """Copy a part's model into the package, the card completed by version, licence and figures."""
    model = run / part / "model"
    about = read_card(model)
    project = _project(package / "pyproject.toml")
    values = _figures(run / "assessment" / "results" / "starter.json")
    folder = package / "src" / package.name.replace("-", "_") / "model"
    fresh = folder.with_name(".model.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in FILES:
        if name != CARD and (model / name).is_file():
            shutil.copyfile(model / name, fresh / name)
    complete = {**about, "version": project["version"], "licence": project["license"]}
    shown = [f for f in values["figures"] if (f["group"] == "open") == (part == "open")]
    complete["figures"] = {f["what"]: round(f["value"], 2) for f in shown if f["bar"] is not None}
    write_json(fresh / CARD, complete, indent=2, sort_keys=True)
    write_whole(fresh / README, model_card(values, package.name.removeprefix("undertone-")))
    size = sum(path.stat().st_size for path in fresh.iterdir())
    if size > LARGEST:
        shutil.rmtree(fresh)
        raise ModelError(f"{model}: {size / 1e6:.1f} MB, more than the {LARGEST / 1e6:g} MB that are shipped")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return Packed(folder, str(project["version"]), size)


def add_examples(package: Path, data: Path) -> None:
    """Put the example clips beside the model, with a manifest and whose they are."""
    folder = package.absolute() / "src" / package.name.replace("-", "_")
    clips = folder / "examples"
    shutil.rmtree(clips, ignore_errors=True)
    clips.mkdir(parents=True)
    rows = []
    for place, text, label in EXAMPLES:
        name = Path(place).name
        shutil.copyfile(data / place, clips / name)
        corpus = place.partition("/")[0]
        whose = {"attribution": WHOSE[corpus]}
        named = f"{corpus}-{label}"
        rows.append(Utterance(named, str(clips / name), speaker=corpus, text=text, label=label, extra=whose))
    manifests.write(folder / "examples.jsonl", rows, manifests.Meta("examples", None, CLASSES))
    names = {
        corpus: ", ".join(Path(place).name for place, *_ in EXAMPLES if place.startswith(corpus))
        for corpus in ("ravdess", "emodb")
    }
    write_whole(clips / "NOTICE", NOTICE.format(**names))


def _project(path: Path) -> Mapping[str, Any]:
    """What the distribution calls itself: one place for version and licence."""
    try:
        project: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not the project file of the starter's distribution ({error})") from None
    return project


def _figures(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no figures; run `python -m studies.starter evaluate` first") from None
    return values
