"""What ``undertone export`` wrote: the network runs in onnxruntime or openvino, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import MissingExtra, ModelError
from undertone.serving.front import Front
from undertone.serving.judging import Judge
from undertone.serving.rows import Row
from undertone.serving.tensors import SIDES, arrays_of, output_name

__all__ = ["FILES", "ExportedNetwork", "load_exported"]

FILES = {"onnx": "model.onnx", "openvino": "model.xml"}

Run = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[np.float32]]]


class ExportedNetwork:
    """A graph and what runs it."""

    def __init__(self, path: Path, sizes: dict[str, int], sides: Sequence[str]) -> None:
        self._sizes, self._sides = sizes, tuple(sides)
        self._run = _onnx(path, self._sides) if path.suffix == ".onnx" else _openvino(path, self._sides)

    def run(self, rows: Sequence[Row]) -> dict[str, NDArray[np.float32]]:
        answers = self._run(arrays_of(rows, self._sizes))
        return {side: np.array(answer) for side, answer in zip(self._sides, answers, strict=True)}


def _onnx(path: Path, sides: Sequence[str]) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("a model exported to ONNX", "export") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {entry.name for entry in session.get_inputs()}
    names = [output_name(side) for side in sides]

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        answers: Sequence[NDArray[np.float32]] = session.run(
            names, {name: array for name, array in arrays.items() if name in wanted}
        )
        return answers

    return run


def _openvino(path: Path, sides: Sequence[str]) -> Run:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("a model exported to OpenVINO", "export") from error
    settings = {
        "INFERENCE_PRECISION_HINT": "f32"
    }  # its own choice, bf16, would not keep the stated tolerance
    compiled = openvino.compile_model(str(path), "CPU", settings)
    wanted = {name for entry in compiled.inputs for name in entry.get_names()}
    names = [output_name(side) for side in sides]

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        found = compiled({name: array for name, array in arrays.items() if name in wanted})
        return [found[compiled.output(name)] for name in names]

    return run


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
    front = Front(card, tokenizer if tokenizer.is_file() else None)
    return Judge(name, card, front, ExportedNetwork(graph, sizes, sides), tuple(about["tiers"]))
