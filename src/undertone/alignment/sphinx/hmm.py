"""The English acoustic model of pocketsphinx' wheel as arrays.

A phonetically tied mixture model: one codebook of Gaussians per base phone and feature stream;
each tied state (senone) has its own weights over its phone's codebook. Three emitting states a
phone, left to right, no skips. The files are little-endian binaries with self-describing headers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.errors import MissingExtra, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STATES", "AcousticModel", "PhoneTable", "load_model", "model_folder"]

STATES = 3
POSITIONS = {"internal": 0, "begin": 1, "end": 2, "single": 3}
"""Positions of a phone in its word, as the model numbers them."""
LOG_BASE = float(np.log(1.0001)) * 1024
"""A step of the 8-bit mixture weights, in nats."""
MAGIC = 0x11223344


@dataclass(frozen=True)
class PhoneTable:
    """The three senones of each phone in its context."""

    names: tuple[str, ...]
    """Base phones by index, silence and fillers among them."""
    silence: int
    keys: NDArray[np.int64]
    """Sorted codes of (position, base, left, right), one a triphone."""
    senones: NDArray[np.int32]
    """``(triphones, 3)`` in the order of ``keys``."""
    base: NDArray[np.int32]
    """``(base phones, 3)``: the senones without context."""

    def index(self, name: str) -> int:
        return self.names.index(name)

    def lookup(self, base: int, left: int, right: int, position: int) -> NDArray[np.int32]:
        """The phone's three senones; those of another position or of no context where the model lacks it."""
        for place in (position, *(p for p in POSITIONS.values() if p != position)):
            code = self.code(place, base, left, right)
            at = int(np.searchsorted(self.keys, code))
            if at < len(self.keys) and self.keys[at] == code:
                senones: NDArray[np.int32] = self.senones[at]
                return senones
        context_free: NDArray[np.int32] = self.base[base]
        return context_free

    @staticmethod
    def code(position: Any, base: Any, left: Any, right: Any) -> Any:
        return ((position * 256 + base) * 256 + left) * 256 + right


@dataclass(frozen=True)
class AcousticModel:
    """The parameters that score frames. Streams are the cepstra, their first and second differences."""

    phones: PhoneTable
    linear: NDArray[np.float32]
    """``(streams, codebooks, 2 D, M)``: the factor of ``[x, x²]`` in M log densities."""
    constant: NDArray[np.float32]
    """``(streams, codebooks, M)``: the constant term of the log densities."""
    weights: NDArray[np.float32]
    """``(streams, M, senones)``: mixture weights, linear."""
    codebook: NDArray[np.int32]
    """``(senones,)``: the base phone whose codebook a senone mixes."""
    lasting: NDArray[np.float32]
    """``(base phones, 3)``: the mean number of frames of a state."""


def model_folder() -> Path:
    """The folder of pocketsphinx' English model; MissingExtra where it is not installed."""
    try:
        import pocketsphinx
    except ImportError:
        raise MissingExtra("alignment with the 'sphinx' aligner", "align") from None
    return Path(pocketsphinx.get_model_path()) / "en-us"


@functools.cache
def load_model(folder: Path | None = None) -> AcousticModel:
    """The model of ``folder`` (default: pocketsphinx' own), read once a process."""
    folder = folder or model_folder() / "en-us"
    try:
        phones, owner = _read_mdef(folder / "mdef")
        means, variances = _read_s3(folder / "means"), _read_s3(folder / "variances")
        weights = _read_weights(folder / "sendump", len(owner))
        loops = _read_transitions(folder / "transition_matrices")
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"{folder}: not a phonetically tied model of Sphinx: {error}") from None
    return _assemble(phones, owner, means, variances, weights, loops)


def _assemble(
    phones: PhoneTable,
    owner: NDArray[np.int32],
    means: NDArray[np.float32],
    variances: NDArray[np.float32],
    weights: NDArray[np.float32],
    transitions: NDArray[np.float32],
) -> AcousticModel:
    means, variances = means.transpose(1, 0, 3, 2), np.maximum(variances, 1e-4).transpose(1, 0, 3, 2)
    constant = -0.5 * (np.log(2 * np.pi * variances) + means**2 / variances).sum(2)
    linear = np.concatenate([means / variances, -0.5 / variances], axis=2)
    lasting = (1 / (1 - np.diagonal(transitions, axis1=1, axis2=2))).astype(np.float32)
    return AcousticModel(phones, np.ascontiguousarray(linear), constant, weights, owner, lasting)


def _read_s3(path: Path) -> NDArray[np.float32]:
    """Means or variances ``(codebooks, streams, densities, D)``."""
    sizes, data = _s3_payload(path, 3)
    codebooks, streams, densities = sizes
    dims = np.frombuffer(data, "<i4", streams)
    if len(set(dims.tolist())) != 1:
        raise ValueError(f"{path.name}: streams differ in size")
    values = np.frombuffer(data, "<f4", codebooks * streams * densities * int(dims[0]), 4 * (streams + 1))
    shaped: NDArray[np.float32] = values.reshape(codebooks, streams, densities, -1)
    return shaped


def _read_transitions(path: Path) -> NDArray[np.float32]:
    """Row-normalised ``(matrices, 3, 4)``."""
    (count, rows, columns), data = _s3_payload(path, 3)
    counts = np.frombuffer(data, "<f4", count * rows * columns, 4).reshape(count, rows, columns)
    rows_sum_to_one: NDArray[np.float32] = counts / counts.sum(2, keepdims=True)
    return rows_sum_to_one


def _s3_payload(path: Path, sizes: int) -> tuple[list[int], bytes]:
    data = path.read_bytes()
    head, _, rest = data.partition(b"endhdr\n")
    if not head.startswith(b"s3") or int.from_bytes(rest[:4], "little") != MAGIC:
        raise ValueError(f"{path.name} has no s3 header")
    return np.frombuffer(rest, "<i4", sizes, 4).tolist(), rest[4 + 4 * sizes :]


def _read_weights(path: Path, senones: int) -> NDArray[np.float32]:
    """``(streams, densities, senones)``, from 8-bit negative logarithms."""
    data = path.read_bytes()
    at, settings = 0, {}
    while size := int.from_bytes(data[at : at + 4], "little"):
        name, _, value = data[at + 4 : at + 3 + size].decode("latin-1").partition(" ")
        settings[name] = value
        at += 4 + size
    streams = int(settings.get("feature_count", "1"))
    if int(settings.get("cluster_count", "0")) or not data[at + 4 :]:
        raise ValueError(f"{path.name}: clustered mixture weights are not supported")
    rows, columns = np.frombuffer(data, "<i4", 2, at + 4).tolist()
    if columns != senones:
        raise ValueError(f"{path.name} has {columns} senones, expected {senones}")
    values = np.frombuffer(data, np.uint8, streams * rows * columns, at + 12)
    table = np.exp(-LOG_BASE * np.arange(256)).astype(np.float32)
    weights: NDArray[np.float32] = table[values.reshape(streams, rows, columns)]
    return weights


def _read_mdef(path: Path) -> tuple[PhoneTable, NDArray[np.int32]]:
    """The phones, and the base phone of every senone."""
    data = path.read_bytes()
    if data[:4] != b"BMDF":
        raise ValueError(f"{path.name} is not a binary model definition")
    at = 12 + int.from_bytes(data[8:12], "little")
    bases, phones, states, _, senones, _, sequences, _, nodes, silence = np.frombuffer(
        data, "<i4", 10, at
    ).tolist()
    if states != STATES:
        raise ValueError(f"{states} states a phone, expected {STATES}")
    at += 40
    names = []
    for _ in range(bases):
        end = data.index(b"\0", at)
        names.append(data[at:end].decode("ascii"))
        at = end + 1
    at = (at + 3) // 4 * 4 + 8 * nodes
    entry = np.dtype([("ssid", "<i4"), ("tmat", "<i4"), ("attributes", "u1", 4)])
    entries = np.frombuffer(data, entry, phones, at)
    sequence = np.frombuffer(data, "<u2", sequences * STATES, at + 12 * phones + 4).reshape(-1, STATES)
    own = sequence[entries["ssid"]].astype(np.int32)
    triphones = entries["attributes"][bases:].astype(np.int64)
    keys = PhoneTable.code(*triphones.T)
    order = np.argsort(keys)
    owner = np.zeros(senones, np.int32)
    owner[own[:bases]] = np.arange(bases)[:, None]
    owner[own[bases:]] = triphones[:, 1][:, None]
    table = PhoneTable(tuple(names), silence, keys[order], own[bases:][order], own[:bases])
    return table, owner
