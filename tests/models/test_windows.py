"""Windows of attention in seconds: what each head may read, against loops, and by planting."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.synthetic import IDS, VECTORS, batch_of, make
from undertone.errors import ConfigError
from undertone.models.attention import Attention
from undertone.models.batch import Batch
from undertone.models.multilevel import MultilevelConfig
from undertone.models.windows import near

HOP, WINDOWS = 0.02, (0.05, 0.2, math.inf)


def _centre(batch: Batch, b: int, token: int) -> float | None:
    word = int(batch.token_word[b, token])
    if word < 0 or word >= int(batch.segments["word"].lengths[b]):
        return None
    start, end = batch.segments["word"].spans[b, word].tolist()
    return (start + end) / 2 * HOP


@pytest.mark.parametrize("tier", [None, "phone"])
def test_what_is_near_is_what_a_loop_says(tier: str | None) -> None:
    batch = batch_of(4)
    made = near(batch, batch.segments[tier] if tier else None, WINDOWS, 6, HOP)
    for b in range(4):
        size = int(batch.segments[tier].lengths[b]) if tier else int(batch.speech_lengths[b])
        for place in range(size):
            start, end = batch.segments[tier].spans[b, place].tolist() if tier else (place, place + 1)
            for token in range(int(batch.text_lengths[b])):
                centre = _centre(batch, b, token)
                for head in range(6):
                    apart = 0.0 if centre is None else abs((start + end) / 2 * HOP - centre)
                    assert bool(made[b, head, place, token]) == (apart <= WINDOWS[head // 2] + 1e-6)


def test_without_word_times_everything_is_near() -> None:
    batch = replace(batch_of(3), segments={})
    assert near(batch, None, (0.01,), 2, HOP).all()


def test_attention_within_limits_is_that_of_loops() -> None:
    torch.manual_seed(0)
    layer = Attention(4, 2).requires_grad_(False)
    x, y, mask = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.tensor([[1] * 5, [1, 1, 0, 0, 0]]).bool()
    allowed = torch.rand(2, 2, 3, 5) > 0.5
    allowed[0, 1, 2] = False
    slow = torch.zeros(2, 3, 4)
    for b in range(2):
        for i in range(3):
            heads = []
            for h in range(2):
                part = slice(2 * h, 2 * h + 2)
                keys = [j for j in range(5) if mask[b, j] and allowed[b, h, i, j]]
                q = layer.query(x[b, i])[part]
                scores = [math.exp(float(q @ layer.key(y[b, j])[part]) / math.sqrt(2)) for j in keys]
                values = [
                    s / sum(scores) * layer.value(y[b, j])[part] for s, j in zip(scores, keys, strict=True)
                ]
                heads.append(torch.stack(values).sum(0) if values else torch.zeros(2))
            slow[b, i] = layer.out(torch.cat(heads))
    torch.testing.assert_close(layer(x, y, mask, near=allowed), slow, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("level", ["early-frame", "early-word"])
def test_a_distant_word_is_read_within_an_open_window_alone(level: str) -> None:
    """One layer: the speech of the first word changes with the last word's tokens only without a window."""
    batch = batch_of(1, VECTORS)
    words = int(batch.segments["word"].lengths[0])
    batch = replace(batch, token_word=torch.arange(batch.text.shape[1])[None].clamp(max=words - 1))
    text = batch.text.clone()
    text[0, words - 1 :] += 3.0

    def first(windows: list[float], given: Tensor) -> Tensor:
        system = make("multilevel all", VECTORS, members=[level], layers=1, windows=windows, pooling="mean")
        early = system.get_submodule(f"parts.{level}")
        kept: list[Tensor] = []
        early.mix[0].register_forward_hook(lambda _m, _i, out: kept.append(out[0]))  # type: ignore[index, union-attr]
        with torch.no_grad():
            system(replace(batch, text=given))
        start = int(batch.segments["word"].spans[0, 0, 0]) if level == "early-frame" else 0
        return kept[0][0, start]

    torch.testing.assert_close(first([0.03], text), first([0.03], batch.text))
    for windows in ([], [0.03, math.inf]):
        assert not torch.allclose(first(windows, text), first(windows, batch.text), atol=1e-4)


def test_open_windows_change_nothing() -> None:
    batch = batch_of(4)
    plain = make("multilevel all", members=["early-frame"])
    open_ = make("multilevel all", members=["early-frame"], windows=[math.inf, 50.0])
    torch.testing.assert_close(open_(batch).logits, plain(batch).logits, atol=1e-5, rtol=1e-5)


def test_windows_divide_the_heads_and_need_times() -> None:
    with pytest.raises(ConfigError, match="heads = 8 is no multiple of the 3 windows"):
        MultilevelConfig.parse({"windows": [0.5, 1, 2]})
    with pytest.raises(ConfigError, match="seconds"):
        make("multilevel windows", replace(IDS, hop=0.0))
