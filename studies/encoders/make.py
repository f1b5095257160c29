"""Packed weights, settings and vocabularies of one encoder, from a Hugging Face folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone import packed
from undertone.errors import ModelError
from undertone.files import whole, write_json, write_whole

__all__ = ["PLANS", "Made", "Plan", "make", "source_hashes"]

PREFIXES = ("model.", "bert.")
"""Before the names of a network's weights where it was saved with a head."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """What of a network is kept, and how."""

    bits: Callable[[str], int]
    """8, 10 or 16 by the name of a matrix."""
    copied: tuple[str, ...] = ()
    """Files beside the weights, taken over without spaces between their values."""
    cut: Callable[[Arrays, dict[str, Any]], tuple[Arrays, dict[str, Any]]] = lambda weights, config: (
        weights,
        config,
    )
    """Weights and config of the part that is kept."""


@dataclass(frozen=True)
class Made:
    """What was written."""

    folder: Path
    size: int
    error: float
    """Largest difference of a weight, relative to the largest of its row."""
    hashes: Mapping[str, str]
    """sha256 of the files it was made from, by name."""


def make(name: str, source: Path, out: Path, blocks: int = 4) -> Made:
    """Write ``out/name`` from the folder ``source``; the same source gives the same bytes."""
    from safetensors.numpy import save_file

    plan = PLANS[name]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    weights, config = plan.cut(_weights(source), config | {"blocks_kept": blocks})
    config.pop("blocks_kept")
    arrays = packed.pack(weights, plan.bits)
    folder, hashes = out / name, source_hashes(source, plan)
    with whole(folder / packed.WEIGHTS) as part:
        save_file({key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}, part)
    write_json(folder / "config.json", config | {"_name_or_path": packed.BOX[name].hub, "dtype": "float32"})
    for file in plan.copied:
        values = json.loads((source / file).read_text(encoding="utf-8"))
        write_whole(folder / file, json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")
    about = {"format": packed.FORMAT, "made_from": {"hub": packed.BOX[name].hub, "sha256": hashes}}
    write_json(folder / packed.ABOUT, about | {"licence": packed.BOX[name].licence})
    for other in folder.iterdir():
        if other.name not in (packed.WEIGHTS, packed.ABOUT, "config.json", *plan.copied):
            other.unlink()
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Made(folder, size, _largest_error(weights, packed.read(folder)), hashes)


def source_hashes(source: Path, plan: Plan) -> dict[str, str]:
    """sha256 of the files that a packed folder is made from."""
    names = ["config.json", *(path.name for path in sorted(source.glob("*.safetensors"))), *plan.copied]
    return {name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in names}


def _weights(source: Path) -> Arrays:
    """All weights of a folder by their names in the network without heads."""
    from safetensors.numpy import load_file

    paths = sorted(source.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"{source}: no safetensors weights")
    loaded = {key: array for path in paths for key, array in load_file(path).items()}
    prefix = next((p for p in PREFIXES if any(key.startswith(p) for key in loaded)), "")
    kept = {key.removeprefix(prefix): array for key, array in loaded.items() if key.startswith(prefix)}
    return {key: array for key, array in kept.items() if np.issubdtype(array.dtype, np.floating)}


def _largest_error(weights: Arrays, unpacked: Mapping[str, NDArray[np.float32]]) -> float:
    errors = []
    for name, array in weights.items():
        rows = array.reshape(len(array), -1).astype(np.float64)
        reach = np.abs(rows).max(1, keepdims=True)
        difference = np.abs(rows - unpacked[name].reshape(rows.shape))
        errors.append(np.divide(difference, reach, out=np.zeros_like(rows), where=reach > 0).max())
    return float(max(errors))


# ---- the three ---------------------------------------------------------------------------------------------


def _lower_blocks(weights: Arrays, config: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Whisper's stem, positions and lower blocks; of the decoder a row each, so that the network is whole."""
    blocks = config["blocks_kept"]
    kept: Arrays = {}
    for name, array in weights.items():
        parts = name.split(".")
        block = int(parts[2]) if parts[1] == "layers" else -1
        if parts[0] == "encoder" and block < blocks and parts[1] != "layer_norm":
            kept[name] = array
        elif name in ("decoder.embed_tokens.weight", "decoder.embed_positions.weight"):
            kept[name] = array[:1]
        elif name.startswith("decoder.layer_norm."):
            kept[name] = array
    small = {
        "vocab_size": 1,
        "decoder_layers": 0,
        "max_target_positions": 1,
        "architectures": ["WhisperModel"],
    }
    ids = {f"{kind}_token_id": 0 for kind in ("pad", "bos", "eos", "decoder_start")}
    none = {"begin_suppress_tokens": None, "suppress_tokens": None}
    return kept, {**config, **small, **ids, **none, "encoder_layers": blocks, "final_norm": False}


def _whisper_bits(name: str) -> int:
    """Ten bits where frames come from; eight in the decoder, whose words do not change by it."""
    if name.startswith("decoder."):
        return 16 if name == "decoder.embed_positions.weight" else 8
    return 16 if name == "encoder.embed_positions.weight" else 10


def _bert_bits(name: str) -> int:
    return 16 if name.endswith(("position_embeddings.weight", "token_type_embeddings.weight")) else 10


PLANS: dict[str, Plan] = {
    "whisper-base": Plan(_whisper_bits, ("preprocessor_config.json",), _lower_blocks),
    "whisper-tiny.en": Plan(
        _whisper_bits,
        ("preprocessor_config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    ),
    "minilm-l6": Plan(_bert_bits, ("tokenizer.json", "tokenizer_config.json")),
}
"""By the names of ``packed.BOX``."""
