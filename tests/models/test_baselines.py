"""What the baselines promise beyond the contract of all systems."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.models.synthetic import VECTORS, batch_of, make
from undertone.models.baselines import Concat


def test_in_concat_a_loud_side_does_not_drown_the_other() -> None:
    system, batch = make("concat", VECTORS), batch_of(6, VECTORS)
    assert isinstance(system, Concat)
    with torch.no_grad():
        before = system(batch).logits
        system.text.register_forward_hook(louder)
        torch.testing.assert_close(system(batch).logits, before, atol=1e-3, rtol=0.0)


def louder(_module: object, _inputs: object, pooled: tuple[Tensor, dict[str, Tensor]]) -> object:
    return 100 * pooled[0], pooled[1]
