"""Weights in a quarter to a third of their size: matrices in 8 or 10 bits a number, the rest as fp16.

    8 bits     value = scale · q,             q in -127 … 127, one byte
    10 bits    value = scale · (4 · q + r),   q one byte, r in 0 … 3, four of them a byte

A row's scale is its largest magnitude over the largest number (127 or 511), so no weight is off by more than
half a scale. Also where the packages of such weights are, and which names they have. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.files import package_folder

__all__ = ["BOX", "INSTALL", "WEIGHTS", "boxed_folder", "find", "is_packed", "pack", "read", "unpack"]

PACKAGE = "undertone_encoders"
"""What the distribution is imported as; it is looked up, never run."""
INSTALL = "pip install ./packages/undertone-encoders"
"""In undertone's checkout."""
WEIGHTS, ABOUT = "packed.safetensors", "packing.json"
FORMAT = 1
ROWS, FINE, SCALE = ":rows", ":fine", ":scale"
"""What is added to a matrix' name: its bytes, its two further bits a number, its scales."""


@dataclass(frozen=True)
class Boxed:
    """What an encoder of the package is, the name of the whole network at the hub, and its licence."""

    about: str
    hub: str
    licence: str


BOX: dict[str, Boxed] = {
    "whisper-base": Boxed("speech · Whisper base's lower blocks, any language", "openai/whisper-base", "MIT"),
    "whisper-tiny.en": Boxed("speech · Whisper tiny.en; --asr's recogniser", "openai/whisper-tiny.en", "MIT"),
    "minilm-l6": Boxed("text · a small BERT", "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
}
"""The names of the encoders in the box."""


def find(name: str) -> Path | None:
    """The folder of an encoder in the box; None where the package is not installed."""
    package = package_folder(PACKAGE)
    return package / name if package is not None and is_packed(package / name) else None


def boxed_folder(name: str) -> Path:
    """The folder of an encoder in the box; ModelError where the package is not installed."""
    if (folder := find(name)) is None:
        raise ModelError(
            f"{name}: undertone-encoders is not installed: {INSTALL} in undertone's checkout, "
            f"or name {BOX[name].hub}, which is downloaded"
        )
    return folder


def is_packed(folder: Path) -> bool:
    """Whether a folder holds packed weights."""
    return (folder / WEIGHTS).is_file()


def pack(values: Mapping[str, NDArray[Any]], bits: Callable[[str], int]) -> dict[str, NDArray[Any]]:
    """Arrays to store, of arrays by name; ``bits`` gives 8, 10 or 16 (fp16) by a matrix' name."""
    packed: dict[str, NDArray[Any]] = {}
    for name, array in values.items():
        count = bits(name) if array.ndim == 2 else 16
        if count == 16:
            packed[name] = array.astype(np.float16)
            continue
        largest = 2 ** (count - 1) - 1
        exact = array.astype(np.float64)
        scale = (np.abs(exact).max(1, keepdims=True) / largest).astype(np.float32)
        steps = np.divide(exact, scale, out=np.zeros_like(exact), where=scale > 0)
        numbers = np.clip(np.rint(steps), -largest, largest).astype(np.int16)
        packed[name + SCALE] = scale[:, 0]
        packed[name + ROWS] = (numbers >> (count - 8)).astype(np.int8)
        if count == 10:
            rest = np.pad((numbers & 3).astype(np.uint8), ((0, 0), (0, -array.shape[1] % 4)))
            shifted = rest.reshape(len(rest), -1, 4) << np.array([0, 2, 4, 6], np.uint8)
            packed[name + FINE] = np.bitwise_or.reduce(shifted, axis=2)
    return packed


def unpack(packed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The arrays as fp32, by their own names."""
    return dict(_unpacked(packed))


def _unpacked(packed: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for key in packed:
        name = key.removesuffix(ROWS)
        if key.endswith((SCALE, FINE)):
            continue
        numbers = packed[key].astype(np.float32)
        if name != key:
            if (fine := packed.get(name + FINE)) is not None:
                rest = np.empty((*fine.shape, 4), np.float32)
                for place in range(4):
                    rest[..., place] = (fine >> (2 * place)) & 3
                numbers *= 4
                numbers += rest.reshape(len(rest), -1)[:, : numbers.shape[1]]
            numbers *= packed[name + SCALE][:, None]
        yield name, numbers


class _Opened(Mapping[str, NDArray[Any]]):
    """The arrays of an open safetensors file, each read when it is wanted: memory stays small."""

    def __init__(self, file: Any, names: Collection[str] | None) -> None:
        self._file = file
        self._keys = [k for k in sorted(file.keys()) if names is None or _name(k) in names]

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._keys:
            raise KeyError(key)
        array: NDArray[Any] = self._file.get_tensor(key)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _name(key: str) -> str:
    return key.removesuffix(ROWS).removesuffix(FINE).removesuffix(SCALE)


def read(folder: Path, names: Collection[str] | None = None) -> dict[str, NDArray[np.float32]]:
    """The weights of a folder as fp32, or those of them with these names."""
    from safetensors import SafetensorError, safe_open

    try:
        number = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["format"]
        if number != FORMAT:
            raise ModelError(f"{folder / ABOUT}: format {number!r}, this undertone reads {FORMAT}")
        with safe_open(folder / WEIGHTS, "numpy") as file:
            return unpack(_Opened(file, names))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the packed weights cannot be read ({error})") from error
