"""Calibration, fusion and the abstention threshold of the starter, fitted on what was not trained on.

A fold's speech temperature, its fusion and its threshold come from the *other* folds' scores of their own
test speakers: clips of this fold's training part, scored by networks that were not trained on their speakers.
So no test clip of a fold is used for it, and every fold may train on all of its own speakers. (The other
folds' networks were trained on this fold's test speakers; what passes from there is one temperature, six
numbers of the fusion, and the distance beyond which a clip is no speech.) The text side has its own
validation sentences, taken from GoEmotions' training split.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from studies.starter import clips as recordings
from studies.starter import sentences
from studies.starter.clips import Spoken
from studies.starter.recipe import Abstaining, StarterRecipe
from studies.starter.targets import CLASSES, MEANS, kinds_of
from undertone.models.calibration import fit_temperature
from undertone.models.compact.classifiers import class_scores, reject_nonspeech

if TYPE_CHECKING:
    from studies.starter.train import Place

__all__ = ["Fusion", "SpeechScores", "calibrate", "common", "fit_fusion", "fit_speech", "pairs", "threshold"]

log = logging.getLogger(__name__)
PAIRINGS = 10
"""Sentences drawn for each clip."""
UNFITTED = 0.4
"""The threshold where there is nothing yet to choose it by."""


@dataclass(frozen=True)
class Fusion:
    """What is fitted on validation."""

    speech: float = 1.0
    lean: tuple[float, ...] = (0.0,) * len(CLASSES)
    text: float = 1.0
    balance: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, ...] = (0.0,) * len(CLASSES)
    threshold: float = UNFITTED
    limit: float | None = None
    """The distance from all speech at which a clip is as likely none; None: not fitted."""


def calibrate(place: Place, clips: Sequence[Spoken], parts: Sequence[str], seconds: float) -> None:
    """Fit and write the model folder of every part that has its speech networks."""
    text = _text_scores(place)
    data = {**recordings.digest(clips), "goemotions": sentences.digest(place.data)}
    counts = sentences.counts(sentences.read(place.data, "train"))
    per_corpus = {corpus: sum(clip.corpus == corpus for clip in clips) for corpus in recordings.CORPORA}
    names = [f"fold-{k}" for k in range(recordings.FOLDS)]
    folds = [name for name in names if (place.part(name) / "heard.npz").is_file()]
    for part in parts:
        others = [name for name in folds if name != part]
        fusion = fit(_speech_scores(place, clips, others), text, place.recipe) if others else Fusion()
        about = {
            "command": "python -m studies.starter train recipes/starter/starter.toml",
            "seed": place.recipe.seed,
            "data": data,
            "counts": {"clips": per_corpus, "sentences": counts},
            "seconds": _seconds(place, part),
            "calibrated_on": others,
            "recipe": place.recipe.plain(),
        }
        _write(place, part, fusion, about)
    log.info("calibrated %d models, %.0f s in all", len(parts), seconds)


@dataclass(frozen=True)
class SpeechScores:
    """The folds' scores of their own test clips."""

    kinds: Tensor
    """(n, K) log posteriors."""
    distance: Tensor
    """(n,): from all speech."""
    labels: Tensor
    """(n,): the class, -1 where it is none of them."""
    acted: Tensor
    """(n,) bool: no read speech."""


def fit(scores: SpeechScores, texts: tuple[Tensor, Tensor, Tensor], recipe: StarterRecipe) -> Fusion:
    """Everything that is fitted; ``texts``: scores of the sentences in both spellings (m, C), labels (m,)."""
    written, plain, classes = texts
    limit = float(scores.distance.quantile(1.0 - recipe.abstain.strange))
    known = (scores.labels >= 0) & scores.acted
    kinds = reject_nonspeech(scores.kinds, MEANS, scores.distance, limit)[known]
    labels = scores.labels[known]
    lean = common(labels, recipe.lean)
    heat = fit_speech(kinds, labels, lean)
    words = torch.cat([written, plain])
    text_heat = fit_temperature(words, classes.repeat(2))
    speech, text = class_scores(kinds, MEANS, heat, lean), (words / text_heat).log_softmax(-1)
    first, second = pairs(labels, classes.repeat(2), recipe.seed)
    balance, shift = fit_fusion(speech[first], text[second], labels[first], recipe.lean)
    both = (balance[0] * speech[first] + balance[1] * text[second] + shift).softmax(-1)
    least = threshold([speech.exp(), text.exp(), both], recipe.abstain)
    weights = float(balance[0]), float(balance[1])
    return Fusion(heat, tuple(lean.tolist()), text_heat, weights, tuple(shift.tolist()), least, limit)


def common(labels: Tensor, lean: float) -> Tensor:
    """(C,): ``lean`` times the logarithm of how common each class is among ``labels (n,)``."""
    counts = torch.bincount(labels, minlength=len(CLASSES)).clamp(min=1).float()
    return lean * (counts / counts.mean()).log()


def fit_speech(kinds: Tensor, labels: Tensor, lean: Tensor) -> float:
    """The temperature of the classes under which ``labels (n,)`` are likeliest."""
    heat = torch.zeros((), requires_grad=True)
    _least([heat], lambda: F.nll_loss(class_scores(kinds, MEANS, heat.exp(), lean), labels))
    return float(heat.detach().exp())


def _least(free: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    """Set the ``free`` tensors to where the loss is least."""
    solver = torch.optim.LBFGS(list(free), max_iter=100, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        solver.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    solver.step(step)  # type: ignore[no-untyped-call]


def pairs(spoken: Tensor, written: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """For each clip ``PAIRINGS`` sentences of its class: indices of clips and of sentences."""
    rng = np.random.default_rng([seed, 17])
    by_class = [np.flatnonzero(written.numpy() == c) for c in range(len(CLASSES))]
    first = np.repeat(np.arange(len(spoken)), PAIRINGS)
    second = np.array([rng.choice(by_class[int(spoken[i])]) for i in first])
    return torch.from_numpy(first), torch.from_numpy(second)


def fit_fusion(
    speech: Tensor, text: Tensor, labels: Tensor, lean: float = 1.0, pull: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """The weights of both sides (2,) and the shift of each class (C,), from log posteriors (n, C); a class
    counts by how common it is, to the power of ``lean``."""
    balance = torch.ones(2, requires_grad=True)
    shift = torch.zeros(speech.shape[1], requires_grad=True)
    weight = common(labels, lean - 1.0).exp()

    def loss() -> Tensor:
        scores = balance[0] * speech + balance[1] * text + shift
        rest = (balance - 1).square().sum() + shift.square().sum()
        return F.cross_entropy(scores, labels, weight) + pull * rest

    _least([balance, shift], loss)
    return balance.detach(), shift.detach()


def threshold(posteriors: Sequence[Tensor], abstain: Abstaining) -> float:
    """The highest confidence below which, of each kind of input, no more than the wanted share abstains."""
    limits = [float(p.max(-1).values.quantile(abstain.share)) for p in posteriors]
    return round(min([*limits, abstain.highest]), 4)


def _text_scores(place: Place) -> tuple[Tensor, Tensor, Tensor]:
    with np.load(place.text_file("read", ".npz")) as kept:
        written, plain, classes = (torch.from_numpy(kept[name]) for name in ("written", "plain", "classes"))
    return written, plain, classes


def _speech_scores(place: Place, clips: Sequence[Spoken], folds: Sequence[str]) -> SpeechScores:
    kinds, distance = [], []
    index: list[int] = []
    for name in folds:
        with np.load(place.part(name) / "heard.npz") as kept:
            kinds.append(torch.from_numpy(kept["kinds"]))
            distance.append(torch.from_numpy(kept["distance"]))
            index += kept["clips"].tolist()
    labels = torch.tensor([kinds_of(clips[i])[1] for i in index])
    acted = torch.tensor([clips[i].corpus != "timit" for i in index])
    return SpeechScores(torch.cat(kinds), torch.cat(distance), labels, acted)


def _seconds(place: Place, part: str) -> float | None:
    path = place.part(part) / "seconds.json"
    if not path.is_file():
        return None
    return round(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]))


def _write(place: Place, part: str, fusion: Fusion, about: dict[str, Any]) -> None:
    from safetensors.torch import load_file

    from studies.starter.build import card, save, system
    from studies.starter.train import weights_of
    from undertone.features.subword import Subword

    pieces = Subword.load(place.text_file("tokenizer", ".json"))
    model = system(place.recipe, pieces.size)
    words = {f"text_nets.{k}": v for k, v in load_file(place.text_file("text", ".safetensors")).items()}
    missing = model.load_state_dict({**weights_of(place.part(part)), **words}, strict=False)
    networks = ("judges.", "known.", "text_nets.")
    assert not missing.unexpected_keys and not any(k.startswith(networks) for k in missing.missing_keys), (
        missing
    )
    if fusion.limit is not None:
        model.limit.fill_(fusion.limit)
    model.speech_temperature.fill_(fusion.speech)
    model.lean.copy_(torch.tensor(fusion.lean))
    model.text_temperature.fill_(fusion.text)
    model.balance.copy_(torch.tensor(fusion.balance))
    model.shift.copy_(torch.tensor(fusion.shift))
    values = card(place.recipe, {**about, "part": part}) | {"abstain": {"threshold": fusion.threshold}}
    save(place.part(part) / "model", model.eval(), pieces, values)
