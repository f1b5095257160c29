"""The one door to onnxruntime and to OpenVINO: a graph becomes a function over arrays, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

from numpy.typing import NDArray

from undertone.errors import MissingExtra

__all__ = ["RunGraph", "import_openvino", "open_graph", "open_onnx", "open_openvino"]

RunGraph: TypeAlias = "Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]"
"""Named inputs (those that the graph does not have are ignored) to the wanted outputs."""


def open_graph(path: Path, outputs: Sequence[str], feature: str = "an exported model") -> RunGraph:
    """A graph file ready to run, by what its name ends in: ``.onnx``, or OpenVINO's ``.xml``."""
    open_file = open_onnx if path.suffix == ".onnx" else open_openvino
    return open_file(path, outputs, feature=feature)


def open_onnx(
    graph: Path, outputs: Sequence[str] | None = None, threads: int = 0, feature: str = "onnxruntime"
) -> RunGraph:
    """A graph in onnxruntime; ``outputs`` None: all of them. ``threads`` 0 leaves their number to it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(feature, "export") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    inputs = {entry.name for entry in session.get_inputs()}
    wanted = None if outputs is None else list(outputs)

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        known = {name: array for name, array in arrays.items() if name in inputs}
        values: Sequence[NDArray[Any]] = session.run(wanted, known)
        return values

    return run


def import_openvino(feature: str = "OpenVINO") -> Any:
    """The library, without the package by which it would report its import and use to an outside host."""
    # None: importing it fails, as if it were not installed
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra(feature, "export") from error
    return openvino


def open_openvino(
    graph: Any, outputs: Sequence[str], threads: int = 0, feature: str = "OpenVINO", precision: str = "fp32"
) -> RunGraph:
    """A graph (a file, or a converted model) in OpenVINO.

    The precision is always set: OpenVINO's own choice, bf16, would not keep the stated tolerance.
    """
    openvino = import_openvino(feature)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    model = str(graph) if isinstance(graph, Path) else graph
    compiled = openvino.compile_model(model, "CPU", settings)
    inputs = {name for entry in compiled.inputs for name in entry.get_names()}

    def run(arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        values = compiled({name: array for name, array in arrays.items() if name in inputs})
        return [values[compiled.output(name)] for name in outputs]

    return run
