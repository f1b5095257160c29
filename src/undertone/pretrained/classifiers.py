"""Classifiers that others published, by folder or hub name: transformers' own classes, heads and pooling.

Safetensors only, and no code that comes with them. A head that the file lacks is an error, never drawn at
random. Heads for arousal, dominance and valence have no class in transformers: theirs is here.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from undertone.errors import ModelError
from undertone.pretrained import (
    FEATURE_EXTRACTOR,
    OPTIONS,
    TOKENIZER,
    Pretrained,
    determining,
    one_line,
    with_weights,
    without_messages,
)

__all__ = ["PREFIX", "ClassifierNetwork", "load_classifier", "stated_corpora"]

PREFIX = "hf:"
"""May stand before a hub name, so that it is not taken for a folder."""
RATE = 16_000
DIMENSIONS = {"arousal", "dominance", "valence"}
Task = Literal["single", "multi", "regression"]


@dataclass(frozen=True)
class ClassifierNetwork(Pretrained):
    """A network with its own head: what goes in gives ``.logits``."""

    labels: tuple[str, ...] = ()
    """Its own classes, in the order of the logits; of a regression, what each number is."""
    task: Task = "single"
    """``single``: one class is right, by softmax. ``multi``: each class by itself, by sigmoid.
    ``regression``: no classes."""


def load_classifier(
    name: str, side: Literal["speech", "text"], revision: str | None = None
) -> ClassifierNetwork:
    """A classifier of that side, in fp32, ready to run; ModelError states in one line why it is none."""
    import transformers
    from transformers import AutoFeatureExtractor, AutoTokenizer

    name = name.removeprefix(PREFIX)
    folder, commit = with_weights(name, revision)
    config = _settings(folder, name)
    kind = _kind(config, name)
    _check_side(kind, side, name)
    speech = side == "speech"
    with without_messages(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter")  # so the published extractors are
        try:
            make = AutoFeatureExtractor if speech else AutoTokenizer
            processor = make.from_pretrained(folder, **OPTIONS)
            task = "regression" if _dimensional(config) else _task(config)
            if task == "regression" and speech and _own_head(folder):
                model = _dimensions(folder)
            else:
                auto = "AutoModelForAudioClassification" if speech else "AutoModelForSequenceClassification"
                model = _loaded(getattr(transformers, auto), folder, name)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be loaded as a classifier ({one_line(error)})") from error
    _check_rate(processor, speech, name)
    model.eval().requires_grad_(False)
    labels = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
    if len(labels) < 2:
        raise ModelError(f"{name}: gives one number ('{labels[0]}'), so it is a regression and no classifier")
    files = determining(folder, FEATURE_EXTRACTOR if speech else TOKENIZER)
    return ClassifierNetwork(name, commit, files, model, processor, labels, task)


def stated_corpora(folder: Path) -> list[str]:
    """The data sets in the front matter of a folder's README, as hub pages have them."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    if not text.startswith("---"):
        return []
    front = text[3:].partition("\n---")[0]
    listed = re.search(r"^datasets:\s*\n((?:\s*-\s*.+\n?)+)", front + "\n", re.MULTILINE)
    return [line.strip(" -\t'\"") for line in listed.group(1).splitlines() if line.strip()] if listed else []


def _settings(folder: Path, name: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: its config.json cannot be read ({error})") from None
    return values


def _kind(config: Mapping[str, Any], name: str) -> str:
    """The architecture; ModelError where its code would have to come with it."""
    from transformers import CONFIG_MAPPING

    kind = str(config.get("model_type", ""))
    wanted = [
        value
        for key, value in config.get("auto_map", {}).items()
        if "Classification" in key or key == "AutoModel"
    ]
    if kind not in CONFIG_MAPPING or wanted:
        what = (
            f"code of its own ({wanted[0]})"
            if wanted
            else f"an architecture that is not transformers' own ('{kind}')"
        )
        raise ModelError(f"{name}: wants {what}, and code that comes with weights is never run")
    return kind


def _check_side(kind: str, side: str, name: str) -> None:
    from transformers.models.auto import modeling_auto

    audio = modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES
    text = modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    known, other = (audio, text) if side == "speech" else (text, audio)
    if kind in known:
        return
    if kind in other:
        right = "text" if side == "speech" else "speech"
        raise ModelError(f"{name}: is a {right} model ({kind}): give it by --{right}")
    raise ModelError(f"{name}: transformers has no classifier of {side} on '{kind}'")


def _check_rate(processor: Any, speech: bool, name: str) -> None:
    rate = int(getattr(processor, "sampling_rate", RATE))
    if speech and rate != RATE:
        raise ModelError(
            f"{name}: takes {rate:,} samples a second; recordings are judged at {RATE:,}, and speech at"
            " another rate would be another input than it was trained on"
        )
    if not speech and not getattr(processor, "is_fast", False):
        raise ModelError(f"{name}: its tokenizer is not a fast one, so tokens cannot be matched with words")


def _task(config: Mapping[str, Any]) -> Task:
    """As transformers' pipelines decide it."""
    problem = config.get("problem_type")
    if problem == "multi_label_classification":
        return "multi"
    return "regression" if problem == "regression" else "single"


def _loaded(auto: Any, folder: Path, name: str) -> Any:
    """The network with the head of the file; a head that is not there is an error."""
    import torch

    model, info = auto.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **OPTIONS
    )
    missing = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
    wrong = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing or wrong:
        raise ModelError(
            f"{name}: has no weights for {', '.join([*missing, *wrong][:3])} of {type(model).__name__}: an"
            " encoder without a head, or a head that is not transformers' own"
        )
    return model


# ---- arousal, dominance, valence -------------------------------------------------------------------------


def _dimensional(config: Mapping[str, Any]) -> bool:
    """Whether the numbers are dimensions, by their names."""
    names = {str(name).casefold() for name in config.get("id2label", {}).values()}
    return bool(names) and names <= DIMENSIONS


def _own_head(folder: Path) -> bool:
    """Whether the head is the one below, which no class of transformers has."""
    from safetensors import safe_open

    with safe_open(next(folder.glob("*.safetensors")), "pt") as file:
        return "classifier.out_proj.weight" in file.keys()  # noqa: SIM118


def _dimensions(folder: Path) -> Any:
    """Frames' mean over a wav2vec 2.0 (or kin), two maps with tanh between: a number each, about 0 to 1.

    The layout of weights is ``NAME.… classifier.dense.… classifier.out_proj.…``, as public models have it.
    """
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from transformers import AutoConfig, AutoModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    config = AutoConfig.from_pretrained(folder, **OPTIONS)
    weights = load_file(folder / "model.safetensors")
    head = {k.removeprefix("classifier."): v for k, v in weights.items() if k.startswith("classifier.")}

    class Dimensional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config
            self.body = AutoModel.from_config(config)
            self.dense = nn.Linear(*reversed(head["dense.weight"].shape))
            self.out_proj = nn.Linear(*reversed(head["out_proj.weight"].shape))

        def forward(self, input_values: torch.Tensor, **more: Any) -> Any:
            hidden = self.body(input_values, **more).last_hidden_state.mean(1)
            return SequenceClassifierOutput(logits=self.out_proj(self.dense(hidden).tanh()))

    model = Dimensional()
    prefix = f"{model.body.base_model_prefix}."
    body = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    left = model.body.load_state_dict(_renamed(body, model.body.state_dict()), strict=False)
    missing = [key for key in left.missing_keys if key != "masked_spec_embed"]
    if missing:
        raise ModelError(f"{folder}: has no weights for {', '.join(missing[:3])}")
    model.load_state_dict(head | {f"body.{k}": v for k, v in model.body.state_dict().items()})
    return model.float()


def _renamed(weights: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of a weight norm by its present names, where a file has the old ones."""
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    renamed = {}
    for key, value in weights.items():
        stem, _, last = key.rpartition(".")
        new = f"{stem}.{names.get(last, last)}"
        renamed[new if new in wanted else key] = value
    return renamed
