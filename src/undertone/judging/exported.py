"""What ``undertone export`` wrote: the network runs in onnxruntime or openvino, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.judging.encoders import ExportedSpeech, ExportedText
from undertone.judging.front import Front
from undertone.judging.judge import Judge
from undertone.judging.rows import Row
from undertone.judging.tensors import SIDES, arrays_of, output_name
from undertone.runtimes import open_graph

__all__ = ["FILES", "ExportedNetwork", "load_exported"]

FILES = {"onnx": "model.onnx", "openvino": "model.xml"}


class ExportedNetwork:
    """A graph and what runs it."""

    def __init__(self, path: Path, sizes: dict[str, int], sides: Sequence[str]) -> None:
        self._sizes, self._sides = sizes, tuple(sides)
        self._run = open_graph(path, [output_name(side) for side in sides])

    def run(self, rows: Sequence[Row]) -> dict[str, NDArray[np.float32]]:
        answers = self._run(arrays_of(rows, self._sizes))
        return {side: np.array(answer) for side, answer in zip(self._sides, answers, strict=True)}


def load_exported(path: Path) -> Judge:
    """The model in an exported folder."""
    try:
        card = json.loads((path / "card.json").read_text(encoding="utf-8"))
        about = card["exported"]
        name, sizes, sides = str(about["name"]), dict(about["dimensions"]), list(about["sides"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an exported model: its card.json lacks {error}") from None
    if not set(sides) <= set(SIDES):
        raise ModelError(f"{path}: gives {', '.join(sides)}; this version knows {', '.join(SIDES)}")
    graph = next((path / file for file in FILES.values() if (path / file).is_file()), None)
    if graph is None:
        raise ModelError(f"{path}: holds neither {' nor '.join(FILES.values())}")
    tokenizer = path / "tokenizer.json"
    made = about.get("encoders", {})
    front = Front(
        card,
        tokenizer if tokenizer.is_file() else None,
        speech=ExportedSpeech(path, made["speech"]) if "speech" in made else None,
        text=ExportedText(path, made["text"]) if "text" in made else None,
    )
    return Judge(name, card, front, ExportedNetwork(graph, sizes, sides), tuple(about["tiers"]))
