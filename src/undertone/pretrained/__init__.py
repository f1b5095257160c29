"""The only door to transformers: pretrained weights in the box, from a folder or the hub; safetensors only.

Nothing is imported before something is loaded, and code that comes with weights is never run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from undertone import packed
from undertone.errors import ModelError

__all__ = [
    "Pretrained",
    "architecture",
    "cached",
    "determining",
    "fill",
    "fresh",
    "in_plain_torch",
    "load_recogniser",
    "load_speech",
    "load_text",
    "locate",
    "one_line",
    "ordinary",
    "with_weights",
    "without_messages",
]

OPTIONS = {"trust_remote_code": False, "local_files_only": True}
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
"""The files fetched from a repository: settings, safetensors, vocabularies; no pickles, no code."""
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt")
FEATURE_EXTRACTOR = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "*.model"),
    *VOCABULARIES,
)
"""Patterns of what a feature extractor and a tokenizer are made from."""
SETTINGS = ("config.json", "adapter_config.json", "tokenizer_config.json", *FEATURE_EXTRACTOR)
IDLE = frozenset(
    "_commit_hash _name_or_path architectures auto_map chat_template dtype feature_extractor_type"
    " finetuning_task gradient_checkpointing id2label label2id name_or_path problem_type processor_class"
    " special_tokens_map_file task_specific_params tokenizer_file torch_dtype torchscript use_cache"
    " transformers_version".split()
)
"""Keys of these settings that change no number: weights are always read as fp32, and no head is loaded."""


@dataclass(frozen=True)
class Pretrained:
    """A network with its feature extractor or tokenizer, and where both came from."""

    name: str
    revision: str | None
    """The commit of the hub's repository; None for a folder."""
    files: Mapping[str, str]
    """Hash of each file that determines the numbers, by its name: see ``determining``."""
    model: Any
    """A ``torch.nn.Module``, typed loosely: each architecture names its parts in its own way."""
    processor: Any
    """A feature extractor (speech) or a fast tokenizer (text)."""

    @property
    def kind(self) -> str:
        """The architecture, as its config calls it: ``wav2vec2``, ``bert`` …"""
        return str(self.settings.model_type)

    @property
    def weights(self) -> str:
        """One hash of all its files."""
        return _hash_of(self.files)

    @property
    def settings(self) -> Any:
        """The architecture's own config."""
        return self.model.config


def load_speech(name: str, revision: str | None = None) -> Pretrained:
    """A speech network and its feature extractor, by name (see ``locate``), in fp32, ready to run."""
    from transformers import AutoFeatureExtractor

    return _load(name, revision, AutoFeatureExtractor.from_pretrained, FEATURE_EXTRACTOR)


def in_plain_torch(name: str, revision: str | None = None, filled: bool = True) -> Pretrained | None:
    """A network of the box for prediction, without importing transformers; None where it is of another kind.

    One of text comes without a tokenizer. Unless ``filled`` it is without its weights, which ``fill`` reads.
    """
    folder, commit = locate(name, revision)
    if not packed.is_packed(folder):
        return None
    from undertone.pretrained import plain

    model = plain.network(folder)
    if model is None:
        return None
    speech = isinstance(model, plain.WhisperBody)
    files = determining(folder, FEATURE_EXTRACTOR if speech else TOKENIZER)
    if filled:
        plain.fill(model, folder)
    model.eval().requires_grad_(False)
    return Pretrained(name, commit, files, model, plain.LogMel(folder) if speech else None)


def fill(name: str, model: Any) -> None:
    """Read the weights that a network of the box is still without."""
    from undertone.pretrained import plain

    plain.fill(model, locate(name)[0])


def load_text(name: str, revision: str | None = None) -> Pretrained:
    """A text network and its fast tokenizer, by name (see ``locate``), in fp32, ready to run."""
    from transformers import AutoTokenizer

    pretrained = _load(name, revision, AutoTokenizer.from_pretrained, TOKENIZER)
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
    """The folder of a model, and its commit when it comes from the hub.

    A folder comes first, then the names of the box (``packed.BOX``), then the hub's.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name}: has no config.json, so this is not a pretrained model's folder")
        return folder.resolve(), None
    if name in packed.BOX:
        return packed.boxed_folder(name), None
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or os.sep in name.replace("/", ""):
        raise ModelError(f"{name}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
    except Exception as error:  # a dozen kinds: offline, unknown, gated, no space …
        raise ModelError(f"{name}: {_why_not_fetched(name, revision, error)}") from error
    return folder, folder.name


def cached() -> dict[str, tuple[str, int]]:
    """Kind and bytes of each model in the hub's cache on this machine, by its name."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    models = {}
    for repository in sorted(repositories, key=lambda one: one.repo_id):
        configs = [f for r in repository.revisions for f in r.files if f.file_name == "config.json"]
        if repository.repo_type == "model" and configs:
            try:
                settings = json.loads(configs[0].file_path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            models[repository.repo_id] = (str(settings.get("model_type", "")), repository.size_on_disk)
    return models


def _why_not_fetched(name: str, revision: str | None, error: Exception) -> str:
    """What went wrong at the hub, and the way out."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):  # a kind of RepositoryNotFoundError
        page = f"https://huggingface.co/{name}"
        return f"is gated: accept its terms at {page}, then `hf auth login` (or set HF_TOKEN)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "neither a folder here nor a public model of the hub: check the name; "
            "for a private one `hf auth login` (or set HF_TOKEN)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the hub has this model, but no branch, tag or commit '{revision}' of it"
    elsewhere = f"`hf download {name}` where there is a network and give the folder it prints"
    if isinstance(error.__cause__, errors.OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE=1 forbids fetching: unset it"
        return f"no folder here, not in the hub's cache on this machine, and {why}, or {elsewhere}"
    if isinstance(error, errors.LocalEntryNotFoundError):
        why = f"the hub cannot be reached ({one_line(error.__cause__ or error)})"
        return f"no folder here, not in the hub's cache on this machine, and {why}: {elsewhere}"
    return f"cannot be fetched from the hub: {one_line(error)}"


def fresh(settings: Mapping[str, Any]) -> Any:
    """A network of these settings (its config as plain values) with random weights, to be overwritten."""
    from transformers import AutoConfig, AutoModel

    values = {k: v for k, v in settings.items() if k not in ("model_type", "transformers_version")}
    try:
        model = AutoModel.from_config(AutoConfig.for_model(str(settings["model_type"]), **values))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the settings of an encoder make no network: {one_line(error)}") from error
    return _cut(model)


def determining(folder: Path, processor: Sequence[str]) -> dict[str, str]:
    """Hash of each file that determines a model's numbers: weights, settings, and what its processor reads.

    Of settings, ``IDLE`` are left out. Nothing else that lies in the folder counts: no card, no licence, no
    settings of text generation, no vocabulary that ``tokenizer.json`` already holds.
    """
    paths = [
        p for pattern in (*_weight_files(folder), "config.json", *processor) for p in folder.glob(pattern)
    ]
    if (folder / "tokenizer.json").is_file():
        paths = [p for p in paths if p.name not in VOCABULARIES and p.suffix != ".model"]
    stamps = ((p, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(set(paths)))
    return {path.name: _file_hash(path, size, changed) for path, size, changed in stamps}


def _weight_files(folder: Path) -> tuple[str, ...]:
    """Patterns of the weights that transformers loads: one file, or the parts that an index names."""
    adapter = ("adapter_config.json", "adapter_model.safetensors")
    whole = next(
        (n for n in (packed.WEIGHTS, "model.safetensors") if (folder / n).is_file()), "*.safetensors"
    )
    return (whole, *adapter)


@lru_cache(maxsize=256)
def _file_hash(path: Path, _size: int, _changed: int) -> str:
    if path.name in SETTINGS:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{path}: not valid JSON: {error}") from None
        return _hash_of({key: value for key, value in values.items() if key not in IDLE})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _hash_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _load(name: str, revision: str | None, make_processor: Any, files: Sequence[str]) -> Pretrained:
    folder, commit = with_weights(name, revision)
    with without_messages():
        try:
            processor = make_processor(folder, **OPTIONS)
            model = _network(folder)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be loaded ({one_line(error)})") from error
    model.eval().requires_grad_(False)
    return Pretrained(name, commit, determining(folder, files), model, processor)


def with_weights(name: str, revision: str | None) -> tuple[Path, str | None]:
    folder, commit = locate(name, revision)
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{name}: no safetensors weights (pickled weights are never loaded; convert them)")
    return folder, commit


def _network(folder: Path) -> Any:
    """The network of a folder, without heads, in fp32."""
    import torch
    from transformers import MODEL_MAPPING, AutoConfig, AutoModel

    if not packed.is_packed(folder):
        return AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **OPTIONS)
    config = AutoConfig.from_pretrained(folder, **OPTIONS)
    weights = {name: torch.from_numpy(values) for name, values in packed.read(folder).items()}
    build = MODEL_MAPPING[type(config)].from_pretrained
    return _cut(build(None, config=config, state_dict=weights, dtype=torch.float32))


def _cut(model: Any) -> Any:
    """The network, without the encoder's final norm where the config has ``final_norm`` false.

    So it is with the lower blocks of a network: the norm belongs after the last block of the whole.
    """
    from torch.nn import Identity

    if getattr(model.config, "final_norm", True) is False:
        model.get_encoder().layer_norm = Identity()
    return model


@contextmanager
def ordinary(name: str, revision: str | None = None) -> Iterator[Path]:
    """A folder as transformers reads it: the model's own, or a copy of a packed one while the block runs."""
    folder, _ = with_weights(name, revision)
    if not packed.is_packed(folder):
        yield folder
        return
    from safetensors.numpy import save_file

    with TemporaryDirectory() as place:
        for file in folder.glob("*.json"):
            shutil.copyfile(file, Path(place) / file.name)
        save_file(packed.read(folder), Path(place) / "model.safetensors", {"format": "pt"})
        yield Path(place)


def one_line(error: BaseException) -> str:
    """The whole message of another library in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def without_messages() -> Iterator[None]:
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
    import torch
    from transformers import pipeline

    with ordinary(name, revision) as folder, without_messages():
        try:
            return pipeline(
                "automatic-speech-recognition",
                str(folder),
                trust_remote_code=False,
                device="cpu",
                dtype=torch.float32,  # a CPU computes fp16, as many are stored, several times slower
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be loaded as a recogniser ({one_line(error)})") from error
