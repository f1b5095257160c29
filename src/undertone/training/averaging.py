"""The mean of the weights over training, in which later steps count for more.

On a small corpus the best epoch is better than its neighbours by chance, and the rate is still high there:
the weights of one step are one draw of many. Their mean over the last part of training varies less.
Step t counts about as t^degree (polynomial-decay averaging, Shamir & Zhang, ICML 2013): the same last share
of training decides, however many steps there are. With degree 8 it is mostly the last tenth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


def _learned(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The trainable parameters, and the statistics that norms have of their inputs in training."""
    yield from ((name, p) for name, p in module.named_parameters() if p.requires_grad)
    yield from ((n, b) for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var")))


class Average:
    """The mean of a module's trainable parameters; with degree 0 the parameters themselves."""

    def __init__(self, module: nn.Module, degree: float) -> None:
        self.degree = degree
        self.steps = 0
        self._followed = dict(_learned(module)) if degree else {}
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def follow(self) -> None:
        """Add the parameters as they are after a step."""
        self.steps += 1
        share = (self.degree + 1.0) / (self.degree + self.steps)
        for name, parameter in self._followed.items():
            if name in self.mean:
                self.mean[name].lerp_(parameter, share)
            else:
                self.mean[name] = parameter.detach().clone()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the module has the mean; afterwards the weights that training continues with."""
        current = {name: parameter.detach().clone() for name, parameter in self._followed.items()}
        self.settle()
        try:
            yield
        finally:
            self._put(current)

    def settle(self) -> None:
        """The module has the mean from now on."""
        self._put(self.mean)

    def resume(self, steps: int, mean: Mapping[str, Tensor]) -> None:
        """Continue from this mean of so many steps."""
        self.steps = steps
        self.mean = {name: mean[name].to(parameter.device) for name, parameter in self._followed.items()}

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            self._followed[name].copy_(value)
