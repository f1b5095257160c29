"""The best path through a transcript's lattice, and how much worse it scores than any phones at all.

    wave → band powers → cepstra → senone scores ┐
    words' pronunciations → lattice ─────────────┴→ path: phones with their frames

The search is over every path, without a beam. Durations of states keep words from collapsing, and
loudness is evidence for or against silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from undertone.alignment.sphinx import cepstra
from undertone.alignment.sphinx.hmm import STATES, AcousticModel
from undertone.alignment.sphinx.lattice import Phone, Variants, build
from undertone.alignment.viterbi import Durations, best_lasting_path
from undertone.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["PhonePath", "SearchConfig", "TimedPhone", "durations", "log_likelihoods", "loudness", "search"]

CELLS = 14
"""Frames of a state that have weights of their own; longer durations decay evenly."""
LEAST_RANGE = 10.0
"""Decibels: a clip that varies less is taken to vary by this much."""
CONTRAST = (20.0, 40.0)
"""Decibels from softest to loudest: below the first a clip is all noise, above the second it has none."""


class SearchConfig(Config):
    """Weights of a path's parts; chosen on a coarse grid, around which results change little."""

    silence: float = -7.0
    """Log probability of a pause between two words."""
    duration_weight: float = 6.0
    """Weight of durations beside acoustics, whose frames are far from independent."""
    duration_shape: float = 8.0
    """Shape of the gamma distribution of a state's duration; its mean is the acoustic model's."""
    loudness_weight: float = 10.0
    """Nats of evidence for silence between a clip's loudest and softest frames."""
    loudness_silence: float = 0.3
    """Between softest (0) and loudest (1): the loudness at which silence is as likely as speech."""


@dataclass(frozen=True, slots=True)
class TimedPhone:
    """A phone of the path and its half-open range of frames."""

    phone: Phone
    first: int
    end: int


@dataclass(frozen=True)
class PhonePath:
    """The result of a search."""

    phones: tuple[TimedPhone, ...]
    """Without gaps from the first frame to the last, silence among them."""
    margins: NDArray[np.float32]
    """``(T,)``: the path's log likelihood less that of the best of all phones; about 0 where they agree."""
    contrast: float
    """How far silence differs from speech, from 0 in noise to 1 in a silent room."""


def search(
    wave: Wave, words: Sequence[Variants], model: AcousticModel, config: SearchConfig
) -> PhonePath | None:
    """The best path through ``words`` for a mono wave at 16 kHz; None where it is too short for them."""
    power = cepstra.mel_energies(wave)
    values = cepstra.cepstra(cepstra.remove_noise(power))
    features = cepstra.differences(values - values.mean(axis=0))
    contrast = _contrast(power)
    lattice = build(words, model, config.silence)
    any_phone = model.phones.base.ravel()
    acoustic = log_likelihoods(model, features, np.concatenate([lattice.senones, any_phone]))
    scores, best = acoustic[:, : -len(any_phone)], acoustic[:, -len(any_phone) :].max(axis=1)
    silent = np.repeat([p.word < 0 for p in lattice.phones], STATES)
    evidence = config.loudness_weight * (config.loudness_silence - loudness(power)) * contrast
    scores = scores + np.where(silent, np.clip(evidence, -6, 3)[:, None], 0).astype(np.float32)
    lasting = durations(model.lasting[lattice.bases].ravel(), silent, config)
    states, score = best_lasting_path(scores, lattice.topology, lasting)
    if not np.isfinite(score):
        return None
    nodes = states // STATES
    edges = [0, *(np.flatnonzero(np.diff(nodes)) + 1).tolist(), len(nodes)]
    phones = (TimedPhone(lattice.phones[nodes[a]], a, b) for a, b in pairwise(edges))
    return PhonePath(tuple(phones), acoustic[np.arange(len(states)), states] - best, contrast)


def log_likelihoods(
    model: AcousticModel, features: NDArray[np.float32], senones: NDArray[np.int64]
) -> NDArray[np.float32]:
    """``(T, len(senones))`` log densities of ``features (streams, T, D)``; senones may repeat.

    All Gaussians of a codebook are summed; the decoder that the model was made for keeps the best four.
    """
    unique, inverse = np.unique(senones, return_inverse=True)
    owners = model.codebook[unique]
    squared = np.concatenate([features, features**2], axis=2)
    result = np.zeros((features.shape[1], len(unique)), np.float32)
    for codebook in np.unique(owners):
        columns = np.flatnonzero(owners == codebook)
        for stream, values in enumerate(squared):
            density = values @ model.linear[stream, codebook] + model.constant[stream, codebook]
            top = density.max(axis=1, keepdims=True)
            np.exp(density - top, out=density)
            result[:, columns] += np.log(density @ model.weights[stream][:, unique[columns]]) + top
    return result[:, inverse]


def loudness(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(T,)``: each frame's level between the clip's softest (0) and loudest (1), the mean over bands."""
    decibels = 10 * np.log10(power + 1e-3)
    low, high = np.percentile(decibels, [5, 95], axis=0)
    relative: NDArray[np.float32] = ((decibels - low) / np.maximum(high - low, LEAST_RANGE)).mean(axis=1)
    return relative


def _contrast(power: NDArray[np.float32]) -> float:
    """How reliable loudness is, 0 to 1: in noise, silence and speech differ little."""
    low, high = np.percentile(10 * np.log10(power + 1e-3), [5, 95], axis=0)
    least, most = CONTRAST
    return float(np.clip((float((high - low).mean()) - least) / (most - least), 0, 1))


def durations(means: NDArray[np.float32], silent: NDArray[np.bool_], config: SearchConfig) -> Durations:
    """Gamma durations with these mean numbers of frames; silence has a geometric duration."""
    from scipy.special import gammainc

    shape, weight = np.where(silent, 1.0, config.duration_shape), np.where(silent, 1, config.duration_weight)
    edges = np.arange(CELLS + 1)
    done = gammainc(shape[:, None], edges * (shape / means)[:, None])
    hazard = np.clip(np.diff(done) / np.maximum(1 - done[:, :-1], 1e-12), 1e-6, 1 - 1e-4)
    stay, leave = weight[:, None] * np.log1p(-hazard), weight[:, None] * np.log(hazard)
    return Durations(stay.astype(np.float32), leave.astype(np.float32))
