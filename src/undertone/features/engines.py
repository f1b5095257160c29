"""Other engines for a network's two parts on the CPU: OpenVINO and ONNX Runtime (extra 'export').

Each part is converted with a free time axis, and its output is then compared with torch's at another
length than it was converted with: a constant that the trace has frozen shows before it can spoil a result.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from undertone.errors import ConfigError, MissingExtra
from undertone.features.config import Runtime
from undertone.runtimes import RunGraph, import_openvino, open_onnx, open_openvino

__all__ = ["TOLERANCE", "convert", "require"]

Run = Callable[[Tensor], Tensor]

TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""How far (max |a-b| / max |b|) an engine may be from torch in fp32 on the noise it is checked with."""

INPUT, OUTPUT = "input", "output"
"""The names of a part's tensors."""

log = logging.getLogger(__name__)


def require(runtime: Runtime) -> None:
    """MissingExtra when the engine is not installed."""
    package = {"openvino": "openvino", "onnx": "onnxruntime"}.get(runtime)
    if package and importlib.util.find_spec(package) is None:
        raise MissingExtra(f"--runtime {runtime}", "export")


def convert(
    module: nn.Module, shape: tuple[int, ...], axis: int | None, runtime: Runtime, precision: str
) -> Run:
    """``module`` (fp32, a tensor in, one out) in an engine; ``axis`` of ``shape`` is free, if any is."""
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    make = {"openvino": _openvino, "onnx": _onnx}[runtime]
    with torch.inference_mode(False), torch.no_grad(), without_warnings():
        graph = make(module, example, axis, precision)

    def run(values: Tensor) -> Tensor:
        (output,) = graph({INPUT: values.float().contiguous().numpy()})
        return torch.from_numpy(np.array(output))

    _check(module, run, shape, axis, runtime, precision)
    return run


def _openvino(module: nn.Module, example: Tensor, axis: int | None, precision: str) -> RunGraph:
    openvino = import_openvino()
    shape = [(-1 if i == axis else n) for i, n in enumerate(example.shape)]
    model = openvino.convert_model(module, example_input=example, input=[openvino.PartialShape(shape)])
    model.input(0).get_tensor().set_names({INPUT})
    model.output(0).get_tensor().set_names({OUTPUT})
    return open_openvino(model, [OUTPUT], torch.get_num_threads(), precision=precision)


def _onnx(module: nn.Module, example: Tensor, axis: int | None, precision: str) -> RunGraph:
    if precision != "fp32":
        raise ConfigError("--runtime onnx computes in fp32 on a CPU; use --precision fp32 or another runtime")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=None if axis is None else ({axis: torch.export.Dim.DYNAMIC},),
            dynamo=True,
            verbose=False,
        )
        return open_onnx(path, [OUTPUT], torch.get_num_threads())


@torch.inference_mode()
def _check(
    module: nn.Module, run: Run, shape: tuple[int, ...], axis: int | None, runtime: Runtime, precision: str
) -> None:
    longer = tuple(int(n * 1.7) if i == axis else n for i, n in enumerate(shape))
    probe = torch.randn(longer, generator=torch.Generator().manual_seed(1))
    expected, actual = module(probe), run(probe)
    error = (
        float((expected - actual).abs().max() / expected.abs().max())
        if expected.shape == actual.shape
        else float("inf")
    )
    if not error <= TOLERANCE[precision]:
        raise ConfigError(
            f"--runtime {runtime} does not repeat this network: relative error {error:.2g} at another "
            "length than it was converted with; use --runtime torch"
        )
    log.info("%s repeats torch within %.2g", runtime, error)


@contextmanager
def without_warnings() -> Iterator[Any]:
    """Without the converters' warnings of what a trace may freeze: a comparison afterwards finds it."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
