"""Frames into segments: the vectorised pooling against a loop over segments with the same result.

    python benchmarks/pooling.py [--quick]

IEMOCAP-like: 32 utterances of 4.5 s at 50 frames a second; 45 phones, 17 syllables, 12 words each.
``forward`` pools frames that need no gradient, ``step`` is forward and backward, as in training.
The widths are an encoder's (768), a projection's (256) and the acoustic frames' (43).
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from _timing import measure, report
from undertone.features.pooling import How, pool

B, T = 32, 225
TIERS = {"phone": 45, "syllable": 17, "word": 12}


def loop(frames: Tensor, spans: Tensor, lengths: Tensor, how: How) -> Tensor:
    """One segment after the other."""
    out = torch.zeros(len(frames), spans.shape[1], frames.shape[-1])
    for b in range(len(frames)):
        for s in range(int(lengths[b])):
            part = frames[b, spans[b, s, 0] : spans[b, s, 1]]
            out[b, s] = part.mean(0) if how == "mean" else part.max(0).values
    return out


def batch(segments: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, and neighbouring segments with random boundaries between 0.2 s of silence at both ends."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(B, T, width, generator=generator)
    inner = torch.stack([torch.randperm(T - 21, generator=generator)[: segments + 1] for _ in range(B)])
    cuts = (inner + 10).sort(-1).values
    return frames, torch.stack([cuts[:, :-1], cuts[:, 1:]], -1), torch.full((B,), segments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    for width in (256,) if quick else (768, 256, 43):
        for tier, segments in TIERS.items():
            frames, spans, lengths = batch(segments, width)
            for how in ("mean", "max"):
                compare(f"{tier}-{how}-{width}", frames, spans, lengths, how, quick)


def compare(name: str, frames: Tensor, spans: Tensor, lengths: Tensor, how: How, quick: bool) -> None:
    leaf = frames.clone().requires_grad_()

    def step(function: object) -> None:
        leaf.grad = None
        function(leaf, spans, lengths, how).sum().backward()  # type: ignore[operator]

    ours, theirs = pool(frames, spans, lengths, how), loop(frames, spans, lengths, how)
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    forward = {
        "ours": lambda: pool(frames, spans, lengths, how),
        "loop": lambda: loop(frames, spans, lengths, how),
    }
    times = measure(forward, 3 if quick else 9)
    report(f"pooling/forward-{name}/loop", times["ours"].cpu, times["loop"].cpu, outputs_rel_err=error)
    if frames.shape[-1] < 768:  # the loop's backward at 768 takes seconds
        times = measure(
            {"ours": lambda: step(pool), "loop": lambda: step(loop)}, 1 if quick else 5, warm=not quick
        )
        report(f"pooling/step-{name}/loop", times["ours"].cpu, times["loop"].cpu)


if __name__ == "__main__":
    main()
