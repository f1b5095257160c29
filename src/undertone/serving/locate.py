"""Which model: a folder, a run (its ``final``), a shipped name; or, unasked, the best that is at hand."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import ModelError

__all__ = ["Found", "locate"]

STARTER = "starter"
CARD = "card.json"
DEMOS = ("runs/demo", "runs/demo-quick")
"""Where ``undertone demo`` leaves its runs."""
PREFERRED = ("unison", "multilevel", "mgcma", "perspective")
"""Of the demo's systems, in this order."""


@dataclass(frozen=True)
class Found:
    """A model folder, and how it was come by."""

    path: Path
    chosen: str | None = None
    """Where it was not asked for by name: what to tell the user, in one line."""


def locate(wanted: str | Path | None = None, root: Path | None = None) -> Found:
    """The folder of the wanted model; without a wish, the starter or the newest demo model below ``root``."""
    if wanted is not None:
        return Found(_named(wanted))
    starter = _starter()
    if starter is not None:
        return Found(starter, f"using the starter model{_caution(starter)}")
    demo = _newest_demo(root or Path())
    if demo is not None:
        return Found(demo, f"using {demo.as_posix()}{_caution(demo)}")
    raise ModelError(
        "no model here: `undertone demo --quick` makes one in two minutes, or name one by --model"
    )


def _named(wanted: str | Path) -> Path:
    path = Path(wanted)
    if is_model(path):
        return path
    if is_model(path / "final"):
        return path / "final"
    if str(wanted) == STARTER:
        starter = _starter()
        if starter is None:
            raise ModelError("the starter model is not installed: pip install undertone-starter")
        return starter
    if path.is_dir():
        raise ModelError(f"{path}: holds no model (neither it nor its 'final' has config.toml and {CARD})")
    raise ModelError(f"{wanted}: no such model folder or run, and not a shipped name ('{STARTER}')")


def is_model(path: Path) -> bool:
    """Whether the folder is a trained or an exported model; a run's own folder has but a card."""
    network = any((path / name).is_file() for name in ("model.safetensors", "model.onnx", "model.xml"))
    return network and (path / CARD).is_file()


def _starter() -> Path | None:
    spec = importlib.util.find_spec("undertone_starter")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    return next((path for path in (package / "model", package) if is_model(path)), None)


def _newest_demo(root: Path) -> Path | None:
    """The preferred system of the demo that was run last."""
    demos = [root / demo for demo in DEMOS if (root / demo).is_dir()]
    for demo in sorted(demos, key=lambda path: path.stat().st_mtime, reverse=True):
        models = [card.parent for card in demo.glob(f"**/final/{CARD}") if is_model(card.parent)]
        if models:
            return min(models, key=_preference)
    return None


def _preference(model: Path) -> tuple[int, str]:
    system = str(read(model).get("system", model.parent.name))
    return (PREFERRED.index(system) if system in PREFERRED else len(PREFERRED), model.as_posix())


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
