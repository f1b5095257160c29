"""The sidecar of a manifest: which schema, which labels, and what made it from what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from undertone import __version__
from undertone.errors import ManifestError

__all__ = ["SCHEMA", "Meta", "read_meta", "sidecar"]

SCHEMA = (1, 0)
"""Major: older code misreads it; minor: older code can leave out what it does not know."""


@dataclass(frozen=True)
class Meta:
    """What holds for all lines of a manifest."""

    corpus: str | None = None
    label_set: str | None = None
    """Name of the label set, None for labels of the user's own."""
    classes: tuple[str, ...] = ()
    """The label space in the order of a model's outputs; empty where nothing is labelled."""
    provenance: tuple[Mapping[str, Any], ...] = ()
    """One entry a stage, the first first: ``{"stage": "prepare", "undertone": "0.1.0", …}``."""
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By dimension (arousal, valence, dominance) the least and the largest rating; empty where unknown."""
    notes: tuple[str, ...] = ()
    """How the corpus on disk differed from its release."""
    schema: tuple[int, int] = SCHEMA

    def after(self, stage: str, **settings: Any) -> Meta:
        """This record with one more stage of processing."""
        step = {"stage": stage, "undertone": __version__, **settings}
        return replace(self, provenance=(*self.provenance, step))

    def plain(self) -> dict[str, Any]:
        """Plain JSON values, always in the present schema."""
        values = asdict(self)
        kept = {k: v for k, v in values.items() if k != "schema" and (v or k != "scales")}
        return {"schema": "{}.{}".format(*SCHEMA)} | kept


def sidecar(manifest: Path) -> Path:
    """``M.meta.json`` beside ``M.jsonl``."""
    return manifest.with_suffix(".meta.json")


def read_meta(manifest: Path) -> Meta:
    """The sidecar of a manifest; one without a sidecar counts as written by hand in the present schema."""
    path = sidecar(manifest)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Meta()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ManifestError(f"{path}: should hold one JSON object")
    schema = _schema(path, values.get("schema"))
    try:
        return Meta(
            corpus=values.get("corpus"),
            label_set=values.get("label_set"),
            classes=tuple(values.get("classes") or ()),
            provenance=tuple(values.get("provenance") or ()),
            scales={k: (float(low), float(high)) for k, (low, high) in (values.get("scales") or {}).items()},
            notes=tuple(values.get("notes") or ()),
            schema=schema,
        )
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{path}: {error}") from None


def _schema(path: Path, value: object) -> tuple[int, int]:
    try:
        major, minor = str(value).split(".")
        schema = int(major), int(minor)
    except ValueError:
        raise ManifestError(f'{path}: "schema" should be a version as "1.0", not {value!r}') from None
    if schema[0] > SCHEMA[0]:
        raise ManifestError(
            f"{path}: written in manifest schema {value}; this undertone {__version__} reads up to "
            f"{SCHEMA[0]}.x: install a newer undertone, one that reads schema {schema[0]}"
        )
    return schema
