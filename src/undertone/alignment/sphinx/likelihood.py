"""How well each tied state of the acoustic model explains each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.alignment.sphinx.hmm import AcousticModel

__all__ = ["log_likelihoods"]


def log_likelihoods(
    model: AcousticModel, features: NDArray[np.float32], senones: NDArray[np.int64]
) -> NDArray[np.float32]:
    """``(T, len(senones))`` log densities of ``features (streams, T, D)``; senones may repeat.

    All Gaussians of a codebook are summed: where the decoder that the model was made for keeps
    the best four, a path here is never lost for want of one.
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
