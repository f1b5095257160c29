"""The model in the box: where the distribution ``undertone-starter`` keeps it, and on what terms it comes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "PACKAGE", "STARTER", "package_folder", "terms"]

STARTER = "starter"
"""The name under which it is asked for: ``undertone.load("starter")``."""
PACKAGE = "undertone_starter"
"""What the distribution is imported as; it is found, never run."""
MISSING = (
    "the starter model is not installed: pip install ./packages/undertone-starter in undertone's checkout, "
    "or name another model"
)


def package_folder() -> Path | None:
    """The folder that the installed distribution keeps its model in, whether or not there is one."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "model"


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


MEANINGS = {"-NC": "not for commercial use", "-SA": "share alike"}
