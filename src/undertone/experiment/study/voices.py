"""Speakers where nobody named them: clusters of like voices. No diarisation, and stamped on every figure.

A voice is the mean shape of the spectrum of its voiced frames, which depends on the vocal tract more than on
the emotion, and its pitch. How many voices there are is chosen by the silhouette of the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from undertone import audio
from undertone.features.acoustic import acoustic_frames
from undertone.features.config import AcousticConfig
from undertone.splits import BY_VOICES
from undertone.types import Utterance

__all__ = ["by_voices", "clusters", "voice", "voices_alone"]

MELS = 24
DIMENSIONS = 8
"""Principal components that are compared."""
FEWEST, MOST = 3, 24
VOICED = 0.5


def by_voices(
    utterances: Sequence[Utterance],
    count: int | None = None,
    *,
    jobs: int = 1,
    watch: Callable[[int, int], None] | None = None,
) -> list[Utterance]:
    """The utterances with clusters of like voices as their speakers, and marked so."""
    settings = AcousticConfig(mels=MELS, normalise="none")
    vectors = []
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for vector in pool.map(lambda u: voice(audio.load(u.audio, u.start, u.end), settings), utterances):
            vectors.append(vector)
            if watch is not None:
                watch(len(vectors), len(utterances))
    names = clusters(voices_alone(np.stack(vectors), [u.label for u in utterances]), count)
    return [
        replace(u, speaker=f"voice-{name + 1}", extra={**u.extra, BY_VOICES: True})
        for u, name in zip(utterances, names, strict=True)
    ]


def voice(wave: NDArray[np.float32], settings: AcousticConfig) -> NDArray[np.float64]:
    """(2 MELS + 1,) mean and deviation of the voiced frames' log-mel shape, and their median pitch."""
    frames = acoustic_frames(wave, settings).astype(np.float64)
    mels, pitch, voicing = frames[:, :MELS], frames[:, MELS + 1], frames[:, MELS + 2]
    kept = voicing > VOICED
    kept = kept if kept.sum() >= 5 else np.ones(len(frames), bool)
    shape = mels[kept] - mels[kept].mean(axis=1, keepdims=True)
    return np.concatenate([shape.mean(axis=0), shape.std(axis=0), [np.median(pitch[kept])]])


def voices_alone(vectors: NDArray[np.float64], labels: Sequence[str | None]) -> NDArray[np.float64]:
    """The vectors without the mean of their class: else clusters are of emotions as much as of voices."""
    _, classes = np.unique([str(label) for label in labels], return_inverse=True)
    member: NDArray[np.float64] = np.eye(classes.max() + 1)[classes]
    means: NDArray[np.float64] = member.T @ vectors / member.sum(axis=0)[:, None]
    return vectors - means[classes]


def clusters(vectors: NDArray[np.float64], count: int | None = None) -> list[int]:
    """(n,) each vector's cluster; how many there are by the silhouette, where ``count`` is None."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    spread = vectors.std(axis=0)
    standard = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    left, scales, _ = np.linalg.svd(standard, full_matrices=False)
    reduced = (left * scales)[:, :DIMENSIONS]
    tree, distances = linkage(reduced, "ward"), squareform(pdist(reduced))
    most = min(MOST, len(vectors) - 1)
    wanted = [count] if count else list(range(min(FEWEST, most), most + 1))
    tried = [fcluster(tree, number, "maxclust") - 1 for number in wanted]
    return [int(label) for label in max(tried, key=lambda labels: silhouette(distances, labels))]


def silhouette(distances: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean of (nearest other cluster − own) / the larger of both, of mean distances; ``(n, n)``."""
    member = np.eye(labels.max() + 1)[labels]
    sizes = member.sum(axis=0)
    if len(sizes) < 2:
        return 0.0
    sums = distances @ member
    own = sums[member > 0] / np.maximum(sizes[labels] - 1, 1)
    other = np.where(member > 0, np.inf, sums / sizes).min(axis=1)
    larger = np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(sizes[labels] > 1, (other - own) / larger, 0.0).mean())
