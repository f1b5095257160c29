"""The only door to transformers: pretrained weights from a folder or the hub, safetensors only.

Nothing is imported before something is loaded, and code that comes with weights is never run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from undertone.errors import ModelError

__all__ = [
    "Pretrained",
    "architecture",
    "fresh",
    "load_recogniser",
    "load_speech",
    "load_text",
    "locate",
    "weights_hash",
]

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
"""The files fetched from a repository: settings, safetensors, vocabularies; no pickles, no code."""


@dataclass(frozen=True)
class Pretrained:
    """A network with its feature extractor or tokenizer, and where both came from."""

    name: str
    revision: str | None
    """The commit of the hub's repository; None for a folder."""
    weights: str
    """Hash of the weights and every setting beside them."""
    model: Any
    """A ``torch.nn.Module``, typed loosely: each architecture names its parts in its own way."""
    processor: Any
    """A feature extractor (speech) or a fast tokenizer (text)."""

    @property
    def kind(self) -> str:
        """The architecture, as its config calls it: ``wav2vec2``, ``bert`` …"""
        return str(self.settings.model_type)

    @property
    def settings(self) -> Any:
        """The architecture's own config."""
        return self.model.config


def load_speech(name: str, revision: str | None = None) -> Pretrained:
    """A speech network and its feature extractor, by folder or hub name, in fp32, ready to run."""
    from transformers import AutoFeatureExtractor

    return _load(name, revision, AutoFeatureExtractor.from_pretrained)


def load_text(name: str, revision: str | None = None) -> Pretrained:
    """A text network and its fast tokenizer, by folder or hub name, in fp32, ready to run."""
    from transformers import AutoTokenizer

    pretrained = _load(name, revision, AutoTokenizer.from_pretrained)
    if not getattr(pretrained.processor, "is_fast", False):
        raise ModelError(f"{name}: its tokenizer is not a fast one, so tokens cannot be matched with words")
    return pretrained


def architecture(name: str, revision: str | None = None) -> str:
    """The kind of network in a folder or under a hub name, by its config: ``wav2vec2``, ``bert`` …"""
    path = locate(name, revision)[0] / "config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: does not name the kind of network (model_type)") from None


def locate(name: str, revision: str | None = None) -> tuple[Path, str | None]:
    """The folder of a model, and its commit when it comes from the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name}: has no config.json, so this is not a pretrained model's folder")
        return folder.resolve(), None
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or os.sep in name.replace("/", ""):
        raise ModelError(f"{name}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
    except Exception as error:  # a dozen kinds: offline, unknown, gated, no space …
        raise ModelError(f"{name}: cannot be fetched from the hub ({_first_line(error)})") from error
    return folder, folder.name


def fresh(settings: Mapping[str, Any]) -> Any:
    """A network of these settings (its config as plain values) with random weights, to be overwritten."""
    from transformers import AutoConfig, AutoModel

    values = {k: v for k, v in settings.items() if k not in ("model_type", "transformers_version")}
    try:
        return AutoModel.from_config(AutoConfig.for_model(str(settings["model_type"]), **values))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the settings of an encoder make no network: {_first_line(error)}") from error


def weights_hash(folder: Path) -> str:
    """A hash of everything that makes a pretrained model what it is: weights, settings, vocabulary."""
    stamps = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _determining(folder))
    return _weights_hash(folder, stamps)


@lru_cache(maxsize=32)
def _weights_hash(folder: Path, _stamps: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for path in _determining(folder):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:32]


def _determining(folder: Path) -> list[Path]:
    paths: Iterable[Path] = (path for pattern in WANTED for path in folder.glob(pattern))
    return sorted(path for path in paths if path.name != "README.md")


def _load(name: str, revision: str | None, make_processor: Any) -> Pretrained:
    import torch
    from transformers import AutoModel

    folder, commit = locate(name, revision)
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{name}: no safetensors weights (pickled weights are never loaded; convert them)")
    options = {"trust_remote_code": False, "local_files_only": True}
    with _without_messages():
        try:
            processor = make_processor(folder, **options)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be loaded ({_first_line(error)})") from error
    model.eval().requires_grad_(False)
    return Pretrained(name, commit, weights_hash(folder), model, processor)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


@contextmanager
def _without_messages() -> Iterator[None]:
    """Without transformers' progress bars and its notes on heads that are not used."""
    from transformers.utils import logging as hub_logging

    level, bars = hub_logging.get_verbosity(), hub_logging.is_progress_bar_enabled()
    hub_logging.set_verbosity(logging.ERROR)
    hub_logging.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)
        if bars:
            hub_logging.enable_progress_bar()


def load_recogniser(name: str, revision: str | None = None) -> Any:
    """A speech recogniser, by folder or hub name: transformers' pipeline, no pickles, no remote code."""
    from transformers import pipeline

    folder, _ = locate(name, revision)
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{name}: no safetensors weights (pickled weights are never loaded; convert them)")
    with _without_messages():
        try:
            return pipeline(
                "automatic-speech-recognition",
                str(folder),
                trust_remote_code=False,
                device="cpu",
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be loaded as a recogniser ({_first_line(error)})") from error
