"""The doors to onnxruntime and openvino for graphs that were exported: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from undertone.errors import MissingExtra

__all__ = ["Run", "open_graph"]

Run = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""Named inputs (those that the graph does not have are left aside) to the outputs asked for."""


def open_graph(path: Path, outputs: Sequence[str]) -> Run:
    """A graph file ready to run, by what its name ends in: ``.onnx``, or openvino's ``.xml``."""
    return _onnx(path, list(outputs)) if path.suffix == ".onnx" else _openvino(path, list(outputs))


def _onnx(path: Path, outputs: list[str]) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("a model exported to ONNX", "export") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {entry.name for entry in session.get_inputs()}

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        given = {name: array for name, array in arrays.items() if name in wanted}
        answers: Sequence[NDArray[Any]] = session.run(outputs, given)
        return answers

    return run


def _openvino(path: Path, outputs: list[str]) -> Run:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("a model exported to OpenVINO", "export") from error
    settings = {
        "INFERENCE_PRECISION_HINT": "f32"
    }  # its own choice, bf16, would not keep the stated tolerance
    compiled = openvino.compile_model(str(path), "CPU", settings)
    wanted = {name for entry in compiled.inputs for name in entry.get_names()}

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        found = compiled({name: array for name, array in arrays.items() if name in wanted})
        return [found[compiled.output(name)] for name in outputs]

    return run
