"""The cost of systems: parameters, forward and training step, against a naive implementation.

    python benchmarks/models.py [--quick] [--systems mmer paired …]

``step`` and ``forward``: 32 utterances of up to 250 frames and 24 tokens at 768 dimensions. The naive one is
the same network with a Python loop over utterances and segments to pool them, on a batch padded to the
longest utterance of the corpus (500 frames, 48 tokens) in place of its own.

``buckets``: a pass over utterances as long as IEMOCAP's (log-normal, mean 4.5 s, at most 20 s, 50 frames
a second) in length buckets, against random batches padded to their maximum, same network.

``memory``: bytes kept for the backward pass at twice the frames, over those at once: 2 is linear.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from _timing import measure, report
from undertone.models.batch import Batch, collate
from undertone.models.example import Dimensions, Example
from undertone.models.system import System
from undertone.models.table import SYSTEMS, build
from undertone.training.batching import plan_epoch
from undertone.training.objective import losses

DIMS = Dimensions(classes=4, speech=768, text=768)
FRAMES, TOKENS, BATCH = 250, 24, 32
LONGEST, MOST_TOKENS = 500, 48
RATE = 50
"""Frames a second."""


def utterance(index: int, frames: int, rng: np.random.Generator) -> Example:
    """Words of about 0.35 s, two syllables a word, two phones a syllable."""
    words = max(1, min(frames // 8, round(frames / RATE / 0.35)))
    edges = np.linspace(0, frames, 4 * words + 1).astype(np.int64)
    tokens = min(MOST_TOKENS, max(1, round(words * 1.3)))
    tiers = {"phone": edges, "syllable": edges[::2], "word": edges[::4]}
    return Example(
        id=str(index),
        speech=rng.standard_normal((frames, DIMS.speech), dtype=np.float32),
        text=rng.standard_normal((tokens, DIMS.text), dtype=np.float32),
        segments={name: np.stack([e[:-1], e[1:]], -1) for name, e in tiers.items()},
        segment_word={"phone": np.arange(4 * words) // 4, "syllable": np.arange(2 * words) // 2},
        token_word=np.sort(rng.integers(0, words, size=tokens)),
        targets={"characters": 1 + np.arange(max(1, frames // 4)) % 27},
        label=index % 4,
    )


def one_batch() -> Batch:
    """32 utterances, the longest of 250 frames."""
    rng = np.random.default_rng(0)
    lengths = [FRAMES, *rng.integers(FRAMES // 2, FRAMES, size=BATCH - 1)]
    return collate([utterance(i, int(n), rng) for i, n in enumerate(lengths)], DIMS)


def padded(batch: Batch) -> Batch:
    """The batch padded to the longest utterance of the corpus."""
    B = len(batch)
    speech, text = torch.zeros(B, LONGEST, DIMS.speech), torch.zeros(B, MOST_TOKENS, DIMS.text)
    words = torch.full((B, MOST_TOKENS), -1)
    speech[:, : batch.speech.shape[1]] = batch.speech
    text[:, : batch.text.shape[1]] = batch.text
    words[:, : batch.token_word.shape[1]] = batch.token_word
    return replace(batch, speech=speech, text=text, token_word=words)


def loop_pool(frames: Tensor, spans: Tensor, lengths: Tensor, how: str = "mean") -> Tensor:
    """Pooled segments, one utterance and one segment at a time."""
    out = torch.zeros(*spans.shape[:2], frames.shape[-1])
    for b in range(len(frames)):
        for s in range(int(lengths[b])):
            start, end = spans[b, s].tolist()
            inside = frames[b, start:end]
            out[b, s] = inside.amax(0) if how == "max" else inside.mean(0)
    return out


def step(system: System, batch: Batch) -> None:
    """Forward and backward."""
    system.zero_grad(set_to_none=True)
    terms = losses(system, batch)
    torch.stack([system.weights[name] * term for name, term in terms.items()]).sum().backward()


def naively(run: Callable[[], Any]) -> Callable[[], Any]:
    """The call with the loop in place of the vectorised pooling."""

    def wrapped() -> None:
        with mock.patch("undertone.models.layers.pool", loop_pool):
            run()

    return wrapped


def cost(name: str, repeats: int) -> None:
    """Print one system's parameters, and its times of forward and step."""
    torch.manual_seed(0)
    system, batch = build(name, {}, DIMS), one_batch()
    wide = padded(batch)
    size = sum(p.numel() for p in system.parameters())

    def forward(data: Batch) -> None:
        with torch.inference_mode():
            system.eval()(data)
        system.train()

    for what, run in (("forward", forward), ("step", lambda data: step(system, data))):
        ours, theirs = (lambda r=run: r(batch)), naively(lambda r=run: r(wide))
        times = measure({"ours": ours, "theirs": theirs}, repeats)
        report(
            f"models/{name}-{what}-vs-loops-and-full-padding",
            times["ours"].cpu,
            times["theirs"].cpu,
            parameters=size,
        )


def buckets(count: int, repeats: int) -> None:
    """Print the times of a pass of ``multilevel`` over IEMOCAP-like lengths, bucketed and not."""
    rng = np.random.default_rng(0)
    seconds = np.minimum(rng.lognormal(1.25, 0.7, size=count), 20.0)
    lengths = np.maximum(20, seconds * RATE).astype(np.int64)
    items = [utterance(i, int(n), rng) for i, n in enumerate(lengths)]
    torch.manual_seed(0)
    system = build("multilevel", {}, DIMS).train()
    labels = np.array([e.label for e in items])

    def epoch(pool: int) -> None:
        for indices in plan_epoch(lengths, labels, batch=BATCH, pool=pool):
            step(system, collate([items[i] for i in indices], DIMS))

    times = measure({"ours": lambda: epoch(16), "theirs": lambda: epoch(1)}, repeats, warm=False)
    report(
        "models/multilevel-buckets-vs-random-order", times["ours"].cpu, times["theirs"].cpu, utterances=count
    )


def memory(name: str) -> None:
    """Print the growth of the bytes kept for the backward pass from 250 to 500 to 1,000 frames."""

    def kept(frames: int) -> int:
        saved: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        rng = np.random.default_rng(0)
        batch = collate([utterance(i, FRAMES, rng) for i in range(8)], DIMS)
        grown = torch.zeros(8, frames, DIMS.speech)
        grown[:, :FRAMES] = batch.speech
        batch = replace(batch, speech=grown, speech_lengths=torch.full((8,), frames))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            system = build(name, {}, DIMS).train()
            losses(system, batch)
        return sum(saved.values())

    once, twice, four = kept(FRAMES), kept(2 * FRAMES), kept(4 * FRAMES)
    growth = (four - twice) / max(1, twice - once)
    print(
        json.dumps({"name": f"models/{name}-memory", "growth": round(growth, 3), "mib": once >> 20}),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=None)
    chosen = parser.parse_args()
    quick = chosen.quick
    for name in chosen.systems or (("concat", "multilevel", "unison") if quick else SYSTEMS):
        cost(name, repeats=1 if quick else 5)
        memory(name)
    if chosen.systems:
        return
    buckets(count=96 if quick else 512, repeats=1 if quick else 3)


if __name__ == "__main__":
    main()
