"""Small random classifiers of many architectures, saved as the published ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig

from tests.features import checkpoints as base

CLASSES = ("neu", "hap", "ang", "sad")


def saved(folder: Path, config: Any, auto: str, classes: tuple[str, ...] = CLASSES, **more: Any) -> None:
    """A network of these settings with a head, in place of what is in the folder."""
    values = {"id2label": dict(enumerate(classes)), "label2id": {n: i for i, n in enumerate(classes)}, **more}
    for key, value in values.items():
        setattr(config, key, value)
    model = getattr(transformers, auto).from_config(config)
    for name, parameter in model.named_parameters():
        if name.startswith(("classifier", "projector")) or "out_proj" in name:
            torch.nn.init.normal_(parameter, std=0.3)  # posteriors that differ
    model.save_pretrained(folder)


def _audio(build: Callable[[Path], None], **more: Any) -> Callable[..., None]:
    def make(folder: Path, classes: tuple[str, ...] = CLASSES, **own: Any) -> None:
        build(folder)
        config = AutoConfig.from_pretrained(folder)
        saved(
            folder,
            config,
            "AutoModelForAudioClassification",
            classes,
            **{"classifier_proj_size": 24, **more, **own},
        )

    return make


def _of(config: str, **values: Any) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        made = getattr(transformers, config)(**base.SMALL, **base.CONVS, **values)
        made.save_pretrained(folder)
        base._waves(folder)

    return build


def ast(folder: Path, classes: tuple[str, ...] = CLASSES) -> None:
    config = transformers.ASTConfig(**base.SMALL, max_length=256)
    transformers.ASTFeatureExtractor(max_length=256).save_pretrained(folder)
    saved(folder, config, "AutoModelForAudioClassification", classes)


def _text(build: Callable[[Path], None] | None = None, config: Any = None) -> Callable[..., None]:
    def make(folder: Path, classes: tuple[str, ...] = CLASSES, **more: Any) -> None:
        if build is not None:
            build(folder)
            settings = AutoConfig.from_pretrained(folder)
        else:
            base._wordpieces(folder)
            settings = config()
        saved(folder, settings, "AutoModelForSequenceClassification", classes, **more)

    return make


def electra() -> Any:
    return transformers.ElectraConfig(
        **base.SMALL, embedding_size=16, vocab_size=len(base.PIECES), max_position_embeddings=64
    )


def albert() -> Any:
    return transformers.AlbertConfig(
        **base.SMALL, embedding_size=16, vocab_size=len(base.PIECES), max_position_embeddings=64
    )


SPEECH: dict[str, Callable[..., None]] = {
    "wav2vec2": _audio(base.wav2vec2_group),
    "wav2vec2, weighted layers": _audio(base.wav2vec2_layer, use_weighted_layer_sum=True),
    "hubert": _audio(base.hubert),
    "wavlm": _audio(base.wavlm),
    "data2vec-audio": _audio(base.data2vec),
    "w2v-BERT": _audio(base.w2v_bert),
    "whisper": _audio(base.whisper),
    "unispeech-sat": _audio(_of("UniSpeechSatConfig")),
    "audio spectrogram transformer": ast,
}
TEXT: dict[str, Callable[..., None]] = {
    "bert": _text(base.bert),
    "distilbert": _text(base.distilbert),
    "roberta": _text(base.roberta),
    "deberta-v2": _text(base.deberta),
    "electra": _text(config=electra),
    "albert": _text(config=albert),
}


def make(name: str, folder: Path, seed: int = 7, **more: Any) -> Path:
    """A classifier with fixed random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    (SPEECH | TEXT)[name](folder, **more)
    return folder


def dimensional(folder: Path) -> Path:
    """As audEERING's model is saved: a wav2vec 2.0, and two maps for three numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    base.wav2vec2_layer(folder)
    config = AutoConfig.from_pretrained(folder)
    config.id2label = dict(enumerate(("arousal", "dominance", "valence")))
    config.save_pretrained(folder)
    body = transformers.AutoModel.from_pretrained(folder)
    weights = {f"wav2vec2.{k}": v for k, v in body.state_dict().items()}
    for name, size in (("dense", base.WIDTH), ("out_proj", 3)):
        weights[f"classifier.{name}.weight"] = 0.3 * torch.randn(size, base.WIDTH)
        weights[f"classifier.{name}.bias"] = torch.zeros(size)
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder
