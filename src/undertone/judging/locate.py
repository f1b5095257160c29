"""Which model: a folder, a run (its ``final``), a shipped name; or, unasked, the best that is at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import ModelError
from undertone.files import package_folder

__all__ = ["OPEN", "STARTER", "Located", "is_model", "locate", "read", "starter", "terms"]

STARTER = "starter"
"""The name of the model in the box: ``undertone.load("starter")``."""
OPEN = "starter-open"
"""The one whose weights may be used in products."""
PACKAGE = "undertone_starter"
"""What its distribution is imported as; it is looked up, never run. That of the other ends with ``_open``."""
MISSING = (
    "the {name} model is not installed: pip install ./packages/undertone-{name} in undertone's checkout, "
    "or name another model"
)
MEANINGS = {"-NC": "not for commercial use", "-SA": "share alike"}
CARD = "card.json"
DEMOS = ("runs/demo", "runs/demo-quick")
"""Where ``undertone demo`` leaves its runs."""


@dataclass(frozen=True)
class Located:
    """A model folder, and why it was chosen."""

    path: Path
    chosen: str | None = None
    """Where it was not named by the user: a line for them."""

    @property
    def terms(self) -> str | None:
        """The licence of its weights in one line, where its card names one."""
        return terms(read(self.path))


def locate(wanted: str | Path | None = None, root: Path | None = None) -> Located:
    """The folder of the wanted model; without a wish, the starter or the newest demo model below ``root``."""
    if wanted is not None:
        return Located(_named(wanted))
    shipped = starter()
    if shipped is not None:
        return Located(shipped, f"using the starter model{_caution(shipped)}")
    demo = _newest_demo(root or Path())
    if demo is not None:
        return Located(demo, f"using {demo.as_posix()}{_caution(demo)}")
    raise ModelError(
        "no model here: `undertone demo --quick` makes one in two minutes, or name one by --model"
    )


def _named(wanted: str | Path) -> Path:
    path = Path(wanted)
    if is_model(path):
        return path
    for inside in ("final", "model", "final/model"):
        if is_model(path / inside):
            return path / inside
    if str(wanted) in (STARTER, OPEN):
        shipped = starter(str(wanted))
        if shipped is None:
            raise ModelError(MISSING.format(name=wanted))
        return shipped
    if path.is_dir():
        raise ModelError(f"{path}: holds no model (neither it nor its 'final' has config.toml and {CARD})")
    raise ModelError(f"{wanted}: no such model folder or run, and not a shipped name ('{STARTER}', '{OPEN}')")


def is_model(path: Path) -> bool:
    """Whether the folder is a trained or an exported model; a run's own folder has but a card."""
    network = any((path / name).is_file() for name in ("model.safetensors", "model.onnx", "model.xml"))
    return network and (path / CARD).is_file()


def starter(name: str = STARTER) -> Path | None:
    """A shipped model, if its distribution is installed and holds one."""
    package = package_folder(PACKAGE + name.removeprefix(STARTER).replace("-", "_"))
    return package / "model" if package is not None and is_model(package / "model") else None


def _newest_demo(root: Path) -> Path | None:
    """The preferred system of the demo that was run last."""
    demos = [root / demo for demo in DEMOS if (root / demo).is_dir()]
    for demo in sorted(demos, key=lambda path: path.stat().st_mtime, reverse=True):
        models = [card.parent for card in demo.glob(f"**/final/{CARD}") if is_model(card.parent)]
        if models:
            return min(models, key=_preference)
    return None


def _preference(model: Path) -> tuple[int, str]:
    from undertone.models.table import SYSTEMS  # it imports torch

    system = str(read(model).get("system", model.parent.name))
    rank = SYSTEMS[system][0].rank if system in SYSTEMS else 0
    return -rank, model.as_posix()


def _caution(model: Path) -> str:
    card = read(model)
    if card.get("synthesised"):
        return " (trained on synthesised speech only: a demonstration; name another by --model)"
    return f" (trained on {card['corpus']})" if card.get("corpus") else ""


def read(model: Path) -> dict[str, Any]:
    """The card of a model folder."""
    try:
        card = json.loads((model / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{model / CARD}: cannot be read: {error}") from None
    if not isinstance(card, dict) or not card.get("labels"):
        raise ModelError(f"{model / CARD}: names no labels")
    return card


def terms(card: Mapping[str, Any]) -> str | None:
    """One line on the weights' licence, for models whose card names one.

    >>> terms({"version": "0.1.0", "licence": "CC-BY-NC-SA-4.0"})
    'weights 0.1.0 under CC-BY-NC-SA-4.0: not for commercial use, share alike'
    """
    licence = card.get("licence")
    if not licence:
        return None
    meaning = [text for mark, text in MEANINGS.items() if mark in str(licence)]
    version = f" {card['version']}" if card.get("version") else ""
    return f"weights{version} under {licence}" + (f": {', '.join(meaning)}" if meaning else "")
