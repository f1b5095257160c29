"""Calibration, fusion and the abstention threshold of the starter, fitted on what was not trained on.

Speech has scores of two kinds: *near*, of speakers kept aside from corpora that were learned from, and *far*,
of a corpus that was not. Both together give the temperature and how it grows with the distance from all
known speech, so that a confidence holds for both.

    fold-k, final     near: the other folds' test speakers; far: each corpus by the model without it
    without-C         far alone: each of its two corpora by the model of the other
    open, open-k      near alone: the other folds' speakers of EmoDB

No test clip of a fold takes part, nor any clip of a corpus that is left out. (The other folds' networks were
trained on this fold's test speakers; what passes from there are a few numbers.) The words have validation
sentences of their own, kept aside from the training splits.
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
from studies.starter.clips import ACTED, Spoken
from studies.starter.recipe import Abstaining, StarterRecipe
from studies.starter.targets import CLASSES, MEANS, class_of
from undertone.models.calibration import fit_temperature
from undertone.models.kinds import class_scores, reject_nonspeech

if TYPE_CHECKING:
    from studies.starter.train import Place

__all__ = [
    "Fusion",
    "SpeechScores",
    "calibrate",
    "fit_fusion",
    "fit_speech",
    "levelled",
    "pairs",
    "threshold",
]

log = logging.getLogger(__name__)
PAIRINGS = 10
"""Sentences drawn for each clip."""
UNFITTED = 0.4
"""The threshold where there is nothing yet to choose it by."""
NEAR = 2.0
"""Weight of speech like that learned from, beside speech of a corpus that was not, in the temperature."""
STEEPEST = 3.0
"""Largest power of the distance in the temperature."""
LICENCES = {"open": "CC-BY-4.0"}
CORPORA = {
    "open": ("EmoDB", "GoEmotions"),
    "final": ("RAVDESS", "EmoDB", "nEMO", "TIMIT", "GoEmotions", "DailyDialog"),
}


@dataclass(frozen=True)
class Fusion:
    """What is fitted on validation."""

    speech: float = 1.0
    strangeness: float = 0.0
    text: float = 1.0
    balance: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, ...] = (0.0,) * len(CLASSES)
    threshold: float = UNFITTED
    limit: float | None = None
    """The distance from all speech at which a clip is as likely none; None: not fitted."""
    usual: float | None = None
    """The distance that a twentieth of the near speech is beyond."""


@dataclass(frozen=True)
class SpeechScores:
    """Scores of regions whose clip has a class, by models that were not trained on their speakers."""

    kinds: Tensor
    """(n, K) log posteriors."""
    distance: Tensor
    """(n,): from all speech."""
    labels: Tensor
    """(n,): the class."""
    far: Tensor
    """(n,) bool: of a corpus that was not learned from."""
    corpus: Tensor
    """(n,): which corpus."""

    @property
    def weight(self) -> Tensor:
        """(n,): the corpora of the near ones count the same, as in training, and together ``NEAR`` times as
        much as all far ones."""
        own = torch.bincount(self.corpus[~self.far], minlength=len(ACTED)).clamp(min=1)[self.corpus]
        near = torch.where(self.far, 0.0, 1.0 / own)
        return NEAR * near / near.sum().clamp(min=1e-9) + self.far / self.far.sum().clamp(min=1)


def calibrate(place: Place, known: Sequence[Spoken], parts: Sequence[str], seconds: float) -> None:
    """Fit and write the model folder of every part whose networks are there."""
    data = {**recordings.digest(known), **sentences.digest(place.data)}
    counts = {corpus: sum(clip.corpus == corpus for clip in known) for corpus in recordings.CORPORA}
    for part in parts:
        kind = part.partition("-")[0]
        others = _others(part)
        there = [name for name in others if (place.part(name) / "heard.npz").is_file()]
        text = _text_scores(place, "written" if kind == "open" else "spoken")
        scores = _speech_scores(place, known, part, there) if there else None
        fusion = fit(scores, text, place.recipe) if scores else Fusion()
        about = {
            "command": "python -m studies.starter train recipes/starter/starter.toml",
            "seed": place.recipe.seed,
            "data": data,
            "counts": counts,
            "seconds": _seconds(place, part),
            "calibrated_on": there,
            "recipe": place.recipe.plain(),
        }
        _write(place, part, fusion, about)
    log.info("calibrated %d models, %.0f s in all", len(parts), seconds)


def _others(part: str) -> list[str]:
    """The parts whose scores of their own test clips calibrate this one."""
    kind, _, which = part.partition("-")
    folds = range(recordings.FOLDS)
    if kind == "open":
        return [name for k in folds if (name := f"open-{k}") != part]
    if kind == "without":
        return [f"only-{corpus}" for corpus in ACTED if corpus != which]
    if kind == "only":
        return []
    return [*(name for k in folds if (name := f"fold-{k}") != part), *(f"without-{c}" for c in ACTED)]


def _speech_scores(
    place: Place, known: Sequence[Spoken], part: str, names: Sequence[str]
) -> SpeechScores | None:
    """What the named parts scored, but for the test clips of ``part`` and for the corpus that it lacks."""
    from studies.starter.train import chosen

    kind, _, which = part.partition("-")
    mine = set(chosen(part, known)[1]) if kind == "fold" or (kind == "open" and which) else set()
    rows: list[tuple[Tensor, float, int, bool, int]] = []
    for name in names:
        with np.load(place.part(name) / "heard.npz") as kept:
            for i, kinds, distance in zip(kept["clips"], kept["kinds"], kept["distance"], strict=True):
                clip = known[int(i)]
                if int(i) in mine or class_of(clip) < 0 or clip.corpus not in ACTED:
                    continue
                if kind == "without" and clip.corpus == which:
                    continue
                far = not name.startswith(("fold", "open"))
                corpus = ACTED.index(clip.corpus)
                rows.append((torch.from_numpy(kinds), float(distance), class_of(clip), far, corpus))
    if not rows:
        return None
    kinds_, *others = zip(*rows, strict=True)
    return SpeechScores(torch.stack(kinds_), *(torch.tensor(values) for values in others))


def fit(scores: SpeechScores, texts: tuple[Tensor, Tensor, Tensor], recipe: StarterRecipe) -> Fusion:
    """Everything that is fitted; ``texts``: scores of the sentences in both spellings (m, C), labels (m,)."""
    written, plain, classes = texts
    limit = float(scores.distance.quantile(1.0 - recipe.abstain.strange))
    kinds = reject_nonspeech(scores.kinds, MEANS, scores.distance, limit)
    heat, power = fit_speech(kinds, scores)
    if not bool(scores.far.any()):  # speakers of one corpus alone would make it too sure everywhere else
        heat = max(heat, 1.0)
    words = torch.cat([written, plain])
    text_heat = fit_temperature(words, classes.repeat(2))
    speech = class_scores(kinds, MEANS, _heat(heat, power, scores.distance))
    text = (words / text_heat).log_softmax(-1)
    near = ~scores.far if bool((~scores.far).any()) else scores.far
    speech, labels = speech[near], scores.labels[near]
    first, second = pairs(labels, classes.repeat(2), recipe.seed)
    balance, shift = fit_fusion(speech[first], text[second], labels[first])
    both = (balance[0] * speech[first] + balance[1] * text[second] + shift).softmax(-1)
    least = threshold([speech.exp(), text.exp(), both], recipe.abstain)
    weights = float(balance[0]), float(balance[1])
    usual = float(scores.distance[near].quantile(0.95))
    return Fusion(heat, power, text_heat, weights, tuple(shift.tolist()), least, limit, usual)


def _heat(heat: Tensor | float, power: Tensor | float, distance: Tensor) -> Tensor:
    """(n, 1): the temperature of each row, as ``Compact`` has it."""
    return heat * distance.clamp(min=0.1)[:, None] ** power


def fit_speech(kinds: Tensor, scores: SpeechScores) -> tuple[float, float]:
    """The temperature and the power of the distance under which the labels are likeliest."""
    heat, power = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)

    def loss() -> Tensor:
        by_row = _heat(heat.exp(), STEEPEST * power.sigmoid(), scores.distance)
        picked = F.nll_loss(class_scores(kinds, MEANS, by_row), scores.labels, reduction="none")
        return (picked * scores.weight).sum() / scores.weight.sum()

    _least([heat, power], loss)
    return float(heat.detach().exp()), float(STEEPEST * power.detach().sigmoid())


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


def fit_fusion(speech: Tensor, text: Tensor, labels: Tensor, pull: float = 1e-3) -> tuple[Tensor, Tensor]:
    """The weights of both sides (2,) and the shift of each class (C,), from log posteriors (n, C); every
    class counts the same."""
    balance = torch.ones(2, requires_grad=True)
    shift = torch.zeros(speech.shape[1], requires_grad=True)
    counts = torch.bincount(labels, minlength=len(CLASSES)).clamp(min=1).float()
    weight = counts.mean() / counts

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


def _text_scores(place: Place, words: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of the validation sentences: logits in both spellings, moved as the model's will be; and classes."""
    with np.load(place.words(words, ".npz")) as kept:
        written, plain, classes = (torch.from_numpy(kept[name]) for name in ("written", "plain", "classes"))
    moved = levelled(classes, _level(place, words))
    return written + moved, plain + moved, classes


def _level(place: Place, words: str) -> float:
    config = place.recipe.text
    return config.spoken_level if words == "spoken" else config.level


def levelled(classes: Tensor, level: float) -> Tensor:
    """(C,): what is added to the words' logits, so that no class is likelier for being common among the
    sentences ``classes (n,)`` (logit adjustment, Menon et al. 2021), as far as ``level`` says."""
    counts = torch.bincount(classes, minlength=len(CLASSES)).clamp(min=1).float()
    return -level * (counts / counts.sum()).log()


def _seconds(place: Place, part: str) -> float | None:
    path = place.part(part) / "seconds.json"
    if not path.is_file():
        return None
    return round(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]))


def _write(place: Place, part: str, fusion: Fusion, about: dict[str, Any]) -> None:
    from safetensors.torch import load_file

    from studies.starter import text
    from studies.starter.build import card, head, save
    from studies.starter.train import weights_of
    from undertone.models.tuned import Tuned

    kind = "open" if part.startswith("open") else "final"
    words = "written" if kind == "open" else "spoken"
    trained = text.network(place.recipe.text)
    trained.load_state_dict(trained.state_dict() | load_file(place.words(words, ".safetensors")))
    model = head(place.recipe)
    branch = {
        f"words.{name.removeprefix('branch.')}": value
        for name, value in trained.head.state_dict().items()
        if name.startswith("branch.")
    }
    classes, level = _text_scores(place, words)[2], _level(place, words)
    branch["words.head.last.bias"] += levelled(classes, level)
    missing = model.load_state_dict({**weights_of(place.part(part)), **branch}, strict=False)
    networks = ("judges.", "known.", "words.")
    lost = [k for k in missing.missing_keys if k.startswith(networks)]
    assert not missing.unexpected_keys and not lost, missing
    if fusion.limit is not None:
        model.limit.fill_(fusion.limit)
    model.speech_temperature.fill_(fusion.speech)
    model.strangeness.fill_(fusion.strangeness)
    model.text_temperature.fill_(fusion.text)
    model.balance.copy_(torch.tensor(fusion.balance))
    model.shift.copy_(torch.tensor(fusion.shift))
    licence = LICENCES.get(kind, "CC-BY-NC-SA-4.0")
    values = card(place.recipe, {**about, "part": part}, CORPORA[kind], licence)
    values["abstain"] = {"threshold": fusion.threshold}
    further = levelled(classes, place.recipe.text.speech_level - level) / fusion.text
    values["spoken"] = [round(float(value), 4) for value in further - further.min()]
    if fusion.usual is not None:
        values["distance"] = {"usual": fusion.usual}
    whole = Tuned(model, text=trained.text_tower)
    whole.base = {"text": place.recipe.text.encoder}
    save(place.part(part) / "model", whole.eval(), text.tokenizer(place.recipe.text), values)
