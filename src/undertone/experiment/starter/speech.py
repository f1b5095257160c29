"""Training the speech side: one network at a time, on clips that are never twice the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from undertone.config import Config, fingerprint
from undertone.experiment.starter.distort import DistortConfig, distorted
from undertone.features.precision import choose
from undertone.models.compact import NONE, OTHER, class_scores
from undertone.models.compact_speech import Spectrum, SpeechNet, spectrum
from undertone.training.state import Progress, load_state, save_state

if TYPE_CHECKING:
    from undertone.experiment.starter.clips import Spoken
    from undertone.experiment.starter.frames import Variants

__all__ = ["CLASSES", "KINDS", "MEANS", "Material", "SpeechTraining", "fit", "kinds_of", "material"]

log = logging.getLogger(__name__)

CLASSES = ("angry", "happy", "sad", "neutral")
KINDS = (*CLASSES, "calm", "fearful", "disgusted", "surprised", "none")
"""What the speech side tells apart: RAVDESS' eight emotions, and what is no emotional speech."""
MEANS = (0, 1, 2, 3, 3, OTHER, OTHER, OTHER, NONE)
"""The class of each kind."""


class SpeechTraining(Config):
    """How the speech side is trained."""

    epochs: PositiveInt = 45
    batch: PositiveInt = 32
    rate: float = Field(2e-3, gt=0.0)
    """Highest learning rate, after ``warmup``."""
    warmup: float = Field(0.15, ge=0.0, lt=1.0)
    """Share of the steps in which the rate rises; afterwards it falls to 0 along a cosine."""
    decay: float = Field(0.02, ge=0.0)
    """Weight decay of AdamW."""
    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of each target that is dealt out to the other kinds."""
    mixed: float = Field(0.3, ge=0.0, le=1.0)
    """Share of batches in which clips are mixed in pairs (Zhang et al. 2018)."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """How slowly the averaged weights, which are the ones kept, follow the trained ones."""
    sounds: PositiveInt = 120
    """Sounds that nobody speaks in an epoch."""
    coarse: float = Field(1.2, gt=0.0)
    """How much a clip counts of which only the class is known (EmoDB, read speech)."""
    fine: float = Field(0.5, ge=0.0)
    """How much the kind counts in a clip of which it is known, beside the class' 0.7."""
    distort: DistortConfig = DistortConfig()


@dataclass(frozen=True)
class Material:
    """What a fit may draw from: items, each with its variants, kind and class."""

    get: Callable[[int, int], NDArray[np.float32]]
    """Frames (T, D) of an item's variant."""
    variants: NDArray[np.int64]
    """(n,): how many variants each item has."""
    kinds: NDArray[np.int64]
    """(n,): index in KINDS, -1 where only the class is known."""
    classes: NDArray[np.int64]
    """(n,): index in CLASSES, -1 where it is of none."""
    sounds: NDArray[np.int64]
    """The items that nobody speaks."""
    clips: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Where each of the clips stands among all that there are."""


def kinds_of(clip: Spoken) -> tuple[int, int]:
    """Kind and class of a clip; only RAVDESS names kinds."""
    kind = KINDS.index(clip.label)
    return (kind if clip.corpus == "ravdess" else -1), max(-1, MEANS[kind])


def material(clips: Sequence[Spoken], chosen: Sequence[int], spoken: Variants, sounds: Variants) -> Material:
    """The chosen clips and all the sounds."""
    count = len(chosen)

    def get(item: int, variant: int) -> NDArray[np.float32]:
        return spoken.get(chosen[item], variant) if item < count else sounds.get(item - count, 0)

    labels = [kinds_of(clips[i]) for i in chosen] + [(KINDS.index("none"), -1)] * len(sounds.edges)
    return Material(
        get,
        np.array([spoken.count] * count + [1] * len(sounds.edges)),
        kinds=np.array([kind for kind, _ in labels]),
        classes=np.array([label for _, label in labels]),
        sounds=np.arange(count, count + len(sounds.edges)),
        clips=np.arange(count),
        rows=np.array(chosen),
    )


def fit(
    net: SpeechNet,
    items: Material,
    config: SpeechTraining,
    seed: int,
    state: Path | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> None:
    """Train ``net`` in place; it ends with the averaged weights. With ``state`` a killed fit goes on."""
    optimizer = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    steps = config.epochs * -(-(len(items.clips) + config.sounds) // config.batch)
    mean = {name: value.clone() for name, value in net.state_dict().items()}
    mark = fingerprint([config.plain(), seed])
    start, done = 0, 0
    if state is not None and (kept := load_state(state, mark, net, optimizer)) is not None:
        start, mean = kept[0].epoch, kept[1]["mean"]
        done = start * (steps // config.epochs)
    for epoch in range(start, config.epochs):
        rng = np.random.default_rng([seed, epoch])
        torch.manual_seed(seed * 1000 + epoch)
        net.train()
        losses = []
        for chosen in _batches(items, config, rng):
            for group in optimizer.param_groups:
                group["lr"] = config.rate * _share(done / steps, config.warmup)
            loss = _loss(net, items, chosen, config, rng)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimizer.step()
            _follow(mean, net, min(config.average, (1 + done) / (10 + done)))
            done += 1
            losses.append(float(loss.detach()))
        if tell is not None:
            tell(epoch + 1, float(np.mean(losses)))
        if state is not None:
            save_state(state, mark, Progress(epoch=epoch + 1), net, optimizer, {"mean": mean})
    net.load_state_dict(mean)
    net.eval()


def _share(part: float, warmup: float) -> float:
    """Of the highest rate, when so large a part of the steps is done."""
    if part < warmup:
        return 0.04 + 0.96 * part / warmup
    return 0.5 + 0.5 * float(np.cos(np.pi * min(1.0, (part - warmup) / (1 - warmup))))


@torch.no_grad()
def _follow(mean: dict[str, Tensor], net: SpeechNet, keep: float) -> None:
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 - keep)
        else:
            mean[name].copy_(value)


def _batches(
    items: Material, config: SpeechTraining, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    """(item, variant) of each batch of an epoch, items of like length together."""
    order = np.concatenate([items.clips, rng.choice(items.sounds, config.sounds)])
    picked = [(int(i), int(rng.integers(items.variants[i]))) for i in order]
    size = np.array([len(items.get(*one)) for one in picked]) + rng.normal(0, 15, len(picked))
    ranked = [picked[i] for i in np.argsort(size)]
    batches = [ranked[at : at + config.batch] for at in range(0, len(ranked), config.batch)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    net: SpeechNet,
    items: Material,
    chosen: list[tuple[int, int]],
    config: SpeechTraining,
    rng: np.random.Generator,
) -> Tensor:
    frames = [distorted(items.get(*one), config.distort, rng) for one in chosen]
    lengths = torch.tensor([len(x) for x in frames])
    padded = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, x in zip(padded, frames, strict=True):
        row[: len(x)] = torch.from_numpy(x)
    index = [item for item, _ in chosen]
    kinds, classes = torch.from_numpy(items.kinds[index]), torch.from_numpy(items.classes[index])
    found = spectrum(padded, lengths)
    share, other = 1.0, torch.arange(len(index))
    if rng.random() < config.mixed:
        share, other = float(rng.beta(0.4, 0.4)), torch.randperm(len(index))
        found = _mixed(found, other, share)
    with torch.autocast("cpu", torch.bfloat16, enabled=_in_halves(net)):
        scores = net.scores(found)
    scores = scores.float()
    loss = share * targets_loss(scores, kinds, classes, config)
    if share < 1.0:
        loss = loss + (1 - share) * targets_loss(scores, kinds[other], classes[other], config)
    return loss.mean()


def _in_halves(net: SpeechNet) -> bool:
    """Whether to compute in bf16: where the CPU has it, and in whole blocks of 16 channels. With fewer, torch
    2.13 writes beyond its memory now and then when it computes the gradients."""
    return net.stem.out_channels % 16 == 0 and choose("auto").name == "bf16"


def _mixed(found: Spectrum, other: Tensor, share: float) -> Spectrum:
    return Spectrum(
        share * found.mel + (1 - share) * found.mel[other],
        share * found.prosody + (1 - share) * found.prosody[other],
        torch.maximum(found.lengths, found.lengths[other]),
        found.first,
    )


def targets_loss(scores: Tensor, kinds: Tensor, classes: Tensor, config: SpeechTraining) -> Tensor:
    """(B,): the loss of each clip by what is known of it."""
    known, classed = kinds >= 0, classes >= 0
    by_kind = F.cross_entropy(scores, kinds.clamp(min=0), reduction="none", label_smoothing=config.smoothing)
    posterior = class_scores(scores, MEANS)
    picked = -posterior.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    by_class = (1 - config.smoothing) * picked - config.smoothing * posterior.mean(1)
    both = config.fine * by_kind + 0.7 * by_class
    return torch.where(known & classed, both, torch.where(known, by_kind, config.coarse * by_class))
