"""Trains the two classifiers and saves them by ``save_pretrained``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import nn

from studies.starter import sentences
from undertone import pretrained
from undertone.corpora.ravdess import Ravdess
from undertone.features.subword import Subword
from undertone.features.text import token_limit
from undertone.files import one_thread, whole
from undertone.models.batch import Batch
from undertone.models.example import Dimensions, Example
from undertone.models.system import Output, System, SystemConfig
from undertone.models.towers import TextTower, TuneConfig
from undertone.models.tuned import Tuned
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import fit, seed_everything

__all__ = ["SPEECH", "TEXT", "TRAINED", "Clip", "clips", "make_speech", "make_text"]

SPEECH = {"angry": "angry", "happy": "happy", "neutral": "neutral", "sad": "sad"}
TEXT = {"joy": "happy", "sadness": "sad", "anger": "angry", "neutral": "neutral"}
"""The classes of each, in the order of its logits, and what they are in the other's words."""
TRAINED = range(1, 8)
"""Actors that the first is trained on."""
SENTENCES = 12_000
PROJECTED = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A recording of RAVDESS, calm counted as neutral."""

    id: str
    speaker: str
    path: Path
    label: str
    repetition: int

    def wave(self) -> NDArray[np.float32]:
        return np.asarray(soundfile.read(self.path, dtype="float32")[0])


def clips(data: Path, trained: bool) -> list[Clip]:
    """Those of the actors that are trained on, or of the others, in four classes."""
    chosen = []
    for one in Ravdess(data / "ravdess").read():
        label = "neutral" if one.label == "calm" else str(one.label)
        if label in SPEECH and (int(str(one.speaker)) in TRAINED) is trained:
            chosen.append(
                Clip(one.id, str(one.speaker), Path(one.audio), label, int(one.extra["repetition"]))
            )
    return chosen


class _Head(System):
    """The head of transformers' own model: of frames their projected mean, of tokens the first."""

    def __init__(self, sizes: Dimensions) -> None:
        super().__init__(SystemConfig(), sizes)
        self.sides = ("speech",) if sizes.speech else ("text",)
        width = sizes.speech or sizes.text
        self.first = nn.Linear(width, PROJECTED if sizes.speech else width)
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(self.first.out_features, sizes.classes)

    def forward(self, batch: Batch, attention: bool = False) -> Output:  # noqa: ARG002
        if self.sides == ("speech",):  # every clip fills the network's 30 s, so there is no padding
            hidden = self.first(batch.speech.mean(1))
        else:
            hidden = self.first(batch.text[:, 0]).tanh()
        return Output(self.last(self.dropout(hidden)))


def make_speech(encoder: str, data: Path, out: Path) -> Path:
    """The folder of the speech classifier; what is there is kept."""
    target = out / "whisper-ravdess"
    if (target / "model.safetensors").is_file():
        return target
    one_thread()
    seed_everything(0)
    known = [clip for clip in clips(data, trained=True) if clip.repetition == 1]
    sizes = Dimensions(len(SPEECH), speech=int(pretrained.load_speech(encoder).settings.hidden_size))
    head = _Head(sizes)
    pooled = _pooled(encoder, known, out / "pooled.npy")
    examples = [
        Example(clip.id, speech=row[None], label=list(SPEECH).index(clip.label))
        for clip, row in zip(known, pooled, strict=True)
    ]
    training = TrainingConfig(
        epochs=60, batch=32, rate=1e-3, weight_decay=0.1, smoothing=0.1, precision="fp32"
    )
    fit(head, Dataset(examples, sizes), None, training)
    _save_speech(encoder, head, target)
    return target


def make_text(encoder: str, data: Path, out: Path) -> Path:
    """The folder of the text classifier; what is there is kept."""
    target = out / "minilm-goemotions"
    if (target / "model.safetensors").is_file():
        return target
    one_thread()
    seed_everything(0)
    rows = sentences.four(sentences.read(data, "train"))
    order = np.random.default_rng(0).permutation(len(rows))[:SENTENCES]
    source = pretrained.load_text(encoder)
    pieces = Subword.of(source.processor, token_limit(source.processor, source.settings))
    names = list(TEXT.values())
    examples = [
        Example(str(i), text=pieces.encode(rows[i].text)[0], label=names.index(str(rows[i].label)))
        for i in order
    ]
    tower = TextTower(source.model, TuneConfig(tune="top-k", top=3))
    head = _Head(Dimensions(len(names), text=int(source.settings.hidden_size)))
    system = Tuned(head, text=tower)
    training = TrainingConfig(
        epochs=1, batch=32, rate=5e-4, encoder_rate=2e-4, layer_decay=0.85, smoothing=0.05, standardise=False,
        precision="fp32",
    )  # fmt: skip
    fit(system, Dataset(examples, system.layout), None, training, watch=_Watch("text"))
    _save_text(encoder, system, target)
    return target


class _Watch:
    """Logs how far a fit is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, done: int, total: int, loss: float) -> None:
        if done % 10 == 0:
            log.info("%s: %d of %d, loss %.3f", self.name, done, total, loss)

    def epoch(self, record: dict[str, Any]) -> None:
        log.info("%s: %s", self.name, record)


def _pooled(encoder: str, known: Sequence[Clip], path: Path) -> NDArray[np.float32]:
    """(n, D): the mean over 30 s of the last hidden state of each clip, which is all that the head takes."""
    from transformers import AutoFeatureExtractor, WhisperModel

    rows = list(np.load(path)) if path.is_file() else []
    with pretrained.ordinary(encoder) as folder:
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        body = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()
    with torch.inference_mode():
        for number, clip in enumerate(known[len(rows) :], len(rows) + 1):
            spectra = extractor(clip.wave(), sampling_rate=16_000, return_tensors="pt").input_features
            rows.append(body(spectra)[0].mean(1)[0].numpy())
            if number % 10 == 0 or number == len(known):
                log.info("speech: %d of %d", number, len(known))
                with whole(path) as part, part.open("wb") as file:
                    np.save(file, np.stack(rows))
    return np.stack(rows)


def _save_speech(encoder: str, head: _Head, target: Path) -> None:
    from transformers import AutoFeatureExtractor, WhisperForAudioClassification

    names = dict(enumerate(SPEECH))
    with pretrained.ordinary(encoder) as folder:
        model = WhisperForAudioClassification.from_pretrained(
            folder, id2label=names, label2id={n: i for i, n in names.items()}, num_labels=len(names),
            classifier_proj_size=PROJECTED, dtype=torch.float32,
        )  # fmt: skip
        extractor = AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():  # the head's own standardisation becomes part of its first map
        weight = head.first.weight / head.speech_std
        model.projector.weight.copy_(weight)
        model.projector.bias.copy_(head.first.bias - weight @ head.speech_mean)
    model.classifier.load_state_dict(head.last.state_dict())
    model.save_pretrained(target)
    extractor.save_pretrained(target)


def _save_text(encoder: str, system: Tuned, target: Path) -> None:
    from transformers import AutoTokenizer, BertForSequenceClassification

    names = dict(enumerate(TEXT))
    with pretrained.ordinary(encoder) as folder:
        model = BertForSequenceClassification.from_pretrained(
            folder, id2label=names, label2id={n: i for i, n in names.items()}, num_labels=len(names),
            dtype=torch.float32,
        )  # fmt: skip
        tokens = AutoTokenizer.from_pretrained(folder)
    tower, head = system.text_tower, system.head
    assert tower is not None
    assert isinstance(head, _Head)
    weights = {k: v for k, v in tower.model.state_dict().items() if not k.startswith("pooler.")}
    model.bert.load_state_dict(weights, strict=False)
    model.bert.pooler.dense.load_state_dict(head.first.state_dict())
    model.classifier.load_state_dict(head.last.state_dict())
    model.save_pretrained(target)
    tokens.save_pretrained(target)
