"""Calibration: one temperature, fitted on utterances that the model was not trained on.

Dividing all logits by one number changes no decision, only the confidence
(Guo et al., ICML 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from undertone.models.example import IGNORE
from undertone.models.system import System, cross_entropy

__all__ = ["calibrate", "fit_temperature"]

COLDEST, HOTTEST = 0.05, 20.0
"""The range of temperatures; a validation part without errors would be best fitted by 0."""


def fit_temperature(logits: Tensor, labels: Tensor, steps: int = 60) -> float:
    """The temperature under which ``logits (n, C)`` make ``labels (n,)`` likeliest; 1 without labels.

    The likelihood has one maximum in the inverse temperature, so its slope is bisected.
    """
    known = labels != IGNORE
    if not bool(known.any()):
        return 1.0
    scores, target = logits[known].detach().double(), labels[known]
    right = scores.gather(-1, target[:, None])[:, 0].mean()
    low, high = 1.0 / HOTTEST, 1.0 / COLDEST
    for _ in range(steps):
        middle = (low * high) ** 0.5
        expected = ((middle * scores).softmax(-1) * scores).sum(-1).mean()
        if expected < right:  # the right logits are above the expected ones: raise the confidence
            low = middle
        else:
            high = middle
    coldness: float = (low * high) ** 0.5
    return 1.0 / coldness


def calibrate(system: System, logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Give the system its temperature from validation logits; returns their mean loss before and after."""
    before = float(cross_entropy(logits.float(), labels))
    temperature = fit_temperature(logits, labels)
    system.temperature.copy_(torch.tensor(temperature))
    return before, float(cross_entropy(logits.float() / temperature, labels))
