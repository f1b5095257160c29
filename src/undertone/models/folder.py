"""A trained system as a folder: weights, settings, and a card that describes it. Nothing is unpickled.

    config.toml         the system's name, its settings and the sizes it was built for
    model.safetensors   parameters, normalisation, temperature
    card.json           labels, encoders with their identities, metrics, versions
    tokenizer.json      where the text tokenizer was fitted on the training part
    encoders.json       where encoders learned with the system: the settings of their blocks

Weights that learned are among the others in ``model.safetensors``; those that did not are there too, or
``encoders.json`` names the encoder that holds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import Field

from undertone import pretrained
from undertone.config import Config, dump_toml, load_toml
from undertone.errors import ModelError
from undertone.files import whole, write_json, write_whole
from undertone.models.example import Dimensions
from undertone.models.system import System, SystemConfig
from undertone.models.table import ASSEMBLED, SYSTEMS, build
from undertone.models.targets import Target
from undertone.models.tuned import Tuned

__all__ = ["FILES", "SCHEMA", "LoadedModel", "Tokenizer", "load", "name_of", "read_card", "save"]

SCHEMA = 2
"""Of the folder; a newer one is refused, an older one is upgraded on reading. Since 2 the settings of
``perspective`` and ``mgcma`` have more keys, with other defaults than these systems had."""
CONFIG, WEIGHTS, CARD, TOKENIZER = "config.toml", "model.safetensors", "card.json", "tokenizer.json"
ENCODERS = "encoders.json"
FILES = (CONFIG, WEIGHTS, CARD, TOKENIZER, ENCODERS)
"""Everything a model folder is made of."""


class Tokenizer(Protocol):
    """A fitted tokenizer that can be saved."""

    def save(self, path: Path) -> object: ...


class _Sizes(Config):
    classes: int
    speech: int = 0
    speech_layers: int = 0
    text: int = 0
    vocabulary: int = 0
    hop: float = 0.0


class _Folder(Config):
    schema_version: int
    system: str
    dimensions: _Sizes
    settings: dict[str, Any] = Field(default_factory=dict)
    target: Target = Target()


@dataclass(frozen=True)
class LoadedModel:
    """A model folder, read."""

    path: Path
    name: str
    """The system's name in ``SYSTEMS``."""
    system: System
    """In evaluation mode."""
    config: SystemConfig
    dimensions: Dimensions
    card: dict[str, Any]
    tokenizer: Path | None
    """The fitted tokenizer's file, if the folder holds one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""
        return tuple(self.card["labels"])


def name_of(system: System) -> str:
    """The system's name in ``SYSTEMS``; of a tuned one, its head's."""
    if isinstance(system, Tuned):
        system = system.head
    return next(name for name, (kind, _) in (SYSTEMS | ASSEMBLED).items() if kind is type(system))


def save(path: Path, system: System, card: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> None:
    """Write the folder; ``card`` must hold ``labels``, one a class. The card comes last: with it the
    folder is whole."""
    from safetensors.torch import save_file

    labels = card.get("labels")
    if not isinstance(labels, list | tuple) or len(labels) != system.dimensions.classes:
        raise ModelError(f"{path}: the card must name {system.dimensions.classes} labels, not {labels!r}")
    path.mkdir(parents=True, exist_ok=True)
    (path / CARD).unlink(missing_ok=True)
    values = {
        "schema_version": SCHEMA,
        "system": name_of(system),
        "dimensions": asdict(system.dimensions),
        "settings": system.config.plain(),
    }
    if system.target != Target():
        values["target"] = system.target.plain()
    write_whole(path / CONFIG, dump_toml(values))
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in system.state_dict().items()}
    if isinstance(system, Tuned):
        for name in system.borrowed():
            del tensors[name]
        write_json(path / ENCODERS, system.settings(), indent=2, sort_keys=True)
    with whole(path / WEIGHTS) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    if tokenizer is not None:
        tokenizer.save(path / TOKENIZER)
    plain = {**card, "labels": list(labels), "system": name_of(system)}
    write_json(path / CARD, plain, indent=2, sort_keys=True)


def load(path: Path, device: torch.device | str = "cpu", *, text_later: bool = False) -> LoadedModel:
    """The model in a folder, ready to predict; ``text_later``: see ``Tuned.rebuild``, on a CPU."""
    card = read_card(path)
    folder = _Folder.parse(load_toml(path / CONFIG), str(path / CONFIG))
    _check_schema(folder.schema_version, path)
    dimensions = Dimensions(**folder.dimensions.model_dump())
    system = build(folder.system, _settings(folder), dimensions, str(path / CONFIG))
    if folder.target != Target():
        system.aim(folder.target)
    if (path / ENCODERS).is_file():
        settings = json.loads((path / ENCODERS).read_text(encoding="utf-8"))
        system = Tuned.rebuild(system, settings, str(path), text_later)
    _load_weights(system, path / WEIGHTS)
    if len(card["labels"]) != dimensions.classes:
        raise ModelError(f"{path}: {len(card['labels'])} labels for {dimensions.classes} classes")
    tokenizer = path / TOKENIZER
    return LoadedModel(
        path=path,
        name=folder.system,
        system=(system if text_later else system.to(device)).eval(),
        config=system.config,
        dimensions=dimensions,
        card=card,
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def read_card(path: Path) -> dict[str, Any]:
    """The card of a model folder, without loading the model."""
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: not a model folder (no {CARD})") from None
    except ValueError as error:
        raise ModelError(f"{path / CARD}: not valid JSON: {error}") from None
    if not isinstance(card, dict) or not isinstance(card.get("labels"), list):
        raise ModelError(f"{path / CARD}: names no labels")
    return card


def _check_schema(version: int, path: Path) -> None:
    if version > SCHEMA:
        raise ModelError(
            f"{path}: written by a newer undertone (schema {version}, this one knows {SCHEMA}): update"
        )


def _settings(folder: _Folder) -> dict[str, Any]:
    old = folder.schema_version < SCHEMA and folder.system in SYSTEMS
    return SYSTEMS[folder.system][1].upgraded(folder.settings) if old else folder.settings


def _load_weights(system: System, path: Path, rest: bool = False) -> None:
    """Read the weights; those of a tower that takes no memory yet only as the ``rest``."""
    from safetensors import SafetensorError, safe_open

    own = system.state_dict()
    empty = {name for name, tensor in own.items() if tensor.is_meta}
    borrowed = system.borrowed() if isinstance(system, Tuned) else set()
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            tensors = {name: file.get_tensor(name) for name in names - empty}
            if rest:
                _fill(system, {name: file.get_tensor(name).to(own[name].dtype) for name in names & empty})
                return
        tensors |= {name: own[name] for name in (names & empty) | borrowed}
        for name, buffer in system.named_buffers():  # of layers that share one standardisation
            if name.endswith(("speech_mean", "speech_std")) and name in tensors:
                tensors[name] = tensors[name].expand_as(buffer)
        system.load_state_dict(tensors)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ModelError(f"{path}: does not fit {CONFIG} beside it: {first}") from None
    if empty and isinstance(system, Tuned):
        system.rest = partial(_load_weights, system, path, rest=True)


def _fill(system: System, learned: Mapping[str, torch.Tensor]) -> None:
    """Give the text tower the weights that learned, and those of the encoder that it was made from."""
    assert isinstance(system, Tuned) and system.text_tower is not None
    system.load_state_dict(learned, strict=False, assign=True)
    pretrained.fill(system.base["text"], system.text_tower.model)
