"""The mean of the weights along the way, in which later steps count for more.

A small corpus is left at an epoch that was better than its neighbours by luck, while the rate is still high:
the weights of one step are one draw of many. Their mean over the last part of the way is a quieter one.
Step t counts about as t^degree (polynomial-decay averaging, Shamir & Zhang, ICML 2013): the beginning is
forgotten at the same share of the way, however many steps there are. With degree 8 the last tenth says most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Follows a module's trainable parameters; with degree 0 it is the parameters themselves."""

    def __init__(self, module: nn.Module, degree: float) -> None:
        self.degree = degree
        self.steps = 0
        self._followed = {n: p for n, p in module.named_parameters() if p.requires_grad} if degree else {}
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def follow(self) -> None:
        """After each step."""
        self.steps += 1
        share = (self.degree + 1.0) / (self.degree + self.steps)
        for name, now in self._followed.items():
            if name in self.mean:
                self.mean[name].lerp_(now, share)
            else:
                self.mean[name] = now.detach().clone()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the module has the mean; afterwards the weights that training goes on with."""
        now = {name: parameter.detach().clone() for name, parameter in self._followed.items()}
        self.settle()
        try:
            yield
        finally:
            self._put(now)

    def settle(self) -> None:
        """The module has the mean from now on."""
        self._put(self.mean)

    def resume(self, steps: int, mean: Mapping[str, Tensor]) -> None:
        """After so many steps the mean is this."""
        self.steps = steps
        self.mean = {name: mean[name].to(now.device) for name, now in self._followed.items()}

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            self._followed[name].copy_(value)
