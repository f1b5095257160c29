"""undertone: emotion in speech and its words."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_OPT_OUT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing phones out: the libraries below read these when they are first imported. OpenVINO's package for it
knows no variable: see ``runtimes``."""
for _name, _value in _OPT_OUT.items():
    os.environ.setdefault(_name, _value)

_WHERE = {
    "Alignment": "undertone.types",
    "Prediction": "undertone.types",
    "Segment": "undertone.types",
    "UndertoneError": "undertone.errors",
    "Utterance": "undertone.types",
    "align": "undertone.api",
    "audit": "undertone.api",
    "crossval": "undertone.api",
    "extract": "undertone.api",
    "fuse": "undertone.api",
    "fuse_posteriors": "undertone.api",
    "load": "undertone.judging.predictor",
    "predict": "undertone.api",
    "prepare": "undertone.api",
    "report": "undertone.api",
    "score": "undertone.api",
    "study": "undertone.api",
    "timeline": "undertone.api",
}
"""Public names and the modules they live in: imported on first use, so that ``import undertone`` is cheap."""

__all__ = [
    "Alignment",
    "Prediction",
    "Segment",
    "UndertoneError",
    "Utterance",
    "__version__",
    "align",
    "audit",
    "crossval",
    "extract",
    "fuse",
    "fuse_posteriors",
    "load",
    "predict",
    "prepare",
    "report",
    "score",
    "study",
    "timeline",
]

if TYPE_CHECKING:
    from undertone.api import (
        align,
        audit,
        crossval,
        extract,
        fuse,
        fuse_posteriors,
        predict,
        prepare,
        report,
        score,
        study,
        timeline,
    )
    from undertone.errors import UndertoneError
    from undertone.judging.predictor import load
    from undertone.types import Alignment, Prediction, Segment, Utterance


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'undertone' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
