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

__all__ = ["by_voices", "clusters", "voice"]

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
    names = clusters(np.stack(vectors), count)
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


def clusters(vectors: NDArray[np.float64], count: int | None = None) -> list[int]:
    """(n,) each vector's cluster; how many there are by the silhouette, where ``count`` is None."""
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    spread = vectors.std(axis=0)
    standard = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    reduced = PCA(min(DIMENSIONS, *standard.shape), random_state=0).fit_transform(standard)
    most = min(MOST, len(vectors) - 1)
    wanted = [count] if count else list(range(min(FEWEST, most), most + 1))
    best: tuple[float, list[int]] | None = None
    for number in wanted:
        labels = AgglomerativeClustering(number).fit_predict(reduced)
        score = float(silhouette_score(reduced, labels)) if number > 1 else 0.0
        if best is None or score > best[0]:
            best = score, [int(label) for label in labels]
    assert best is not None  # at least one number was tried
    return best[1]
