"""What the starter must beat, under the same folds and on the same corpora left out: a linear probe of the
same frozen encoder (the whole recording, its hidden states as ``extract`` has them), eGeMAPS with a support
vector machine, and for words a linear probe of MiniLM. Fitted by scikit-learn; what they answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studies.starter import pooled
from studies.starter.clips import Spoken
from studies.starter.targets import CLASSES, class_of
from undertone import audio
from undertone.config import fingerprint
from undertone.files import spawned_pool, whole

if TYPE_CHECKING:
    from studies.starter.sentences import Sentence
    from studies.starter.train import Place

__all__ = ["Vectors", "egemaps", "predicted", "probed", "words"]

Vectors = NDArray[np.float32]
VERSION = 1
"""Raised with every change of how a rival is fitted or asked: what an older one answered is then not read."""
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03)
"""C of the probe, the best of them by the speakers that validate."""
SVM = 1.0
"""C of the support vector machine over a Gaussian kernel: within corpora far better than a linear one."""


def egemaps(place: Place, known: Sequence[Spoken], jobs: int) -> Vectors:
    """(clips, 88): openSMILE's functionals of each recording."""

    def measured() -> Vectors:
        with spawned_pool(jobs) as workers:
            return np.stack(list(workers.map(_functionals, [clip.path for clip in known], chunksize=20)))

    return _kept(place, f"egemaps-{fingerprint([[c.corpus, c.id] for c in known])}", measured)


def _kept(place: Place, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array of the run's file, made if it is not there."""
    path = place.run / "assessment" / f"{name}-{VERSION}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            np.save(file, make())
    values: NDArray[Any] = np.load(path)
    return values


def _functionals(path: Path) -> Vectors:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    row: Vectors = smile.process_signal(audio.load(path), 16_000).to_numpy()[0].astype(np.float32)
    clean: Vectors = np.where(np.isfinite(row), row, 0.0).astype(np.float32)
    return clean


def probed(place: Place, known: Sequence[Spoken]) -> Vectors:
    """(clips, 2 K D): means and deviations over the whole speech of each recording."""
    heard = pooled.clips(known, place.recipe.hearing, place.heard)
    clean = heard.variant == 0
    rows = np.zeros((len(known), heard.rows.shape[1]), np.float32)
    total = np.zeros(len(known))
    np.add.at(rows, heard.clip[clean], heard.rows[clean].astype(np.float32) * heard.samples[clean, None])
    np.add.at(total, heard.clip[clean], heard.samples[clean])
    mean: Vectors = (rows / np.maximum(total, 1)[:, None]).astype(np.float32)
    return mean


def predicted(
    place: Place,
    kind: str,
    rows: Vectors,
    known: Sequence[Spoken],
    learned: Sequence[int],
    tested: Sequence[int],
) -> NDArray[np.intp]:
    """The classes of the tested clips, by ``probe`` or ``svm`` fitted on those learned from."""
    clips = [[known[i].corpus, known[i].id] for i in (*learned, *tested)]
    mark = fingerprint([kind, len(learned), clips, sha256(rows.tobytes()).hexdigest()])
    return _kept(place, f"{kind}-{mark}", lambda: _predicted(kind, rows, known, learned, tested))


def _predicted(
    kind: str, rows: Vectors, known: Sequence[Spoken], learned: Sequence[int], tested: Sequence[int]
) -> NDArray[np.intp]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    labels = np.array([class_of(clip) for clip in known])
    train = np.array([i for i in learned if labels[i] >= 0 and known[i].corpus != "timit"])
    scaled = _scaled(rows, train)
    if kind == "svm":
        model: Any = SVC(C=SVM, class_weight="balanced")
        return np.asarray(model.fit(scaled[train], labels[train]).predict(scaled[list(tested)]))
    speakers = sorted({known[i].speaker for i in train})
    held = set(np.random.default_rng(0).permutation(speakers)[: max(1, len(speakers) // 5)].tolist())
    inside = np.array([known[i].speaker not in held for i in train])
    inside |= ~inside.any()  # one speaker alone: it validates itself

    def fitted(strength: float, part: NDArray[np.intp]) -> Any:
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
        return regression.fit(scaled[part], labels[part])

    held_labels, held_rows = labels[train[~inside | inside.all()]], scaled[train[~inside | inside.all()]]
    best = max(STRENGTHS, key=lambda c: _ua(held_labels, fitted(c, train[inside]).predict(held_rows)))
    return np.asarray(fitted(best, train).predict(scaled[list(tested)]))


def _scaled(rows: Vectors, train: NDArray[np.intp]) -> Vectors:
    deviation = rows[train].std(0)
    scaled: Vectors = (rows - rows[train].mean(0)) / np.where(deviation < 1e-6, 1.0, deviation)
    return scaled


def _ua(truth: NDArray[np.intp], guessed: NDArray[np.intp]) -> float:
    return float(np.mean([(guessed[truth == label] == label).mean() for label in np.unique(truth)]))


def words(
    place: Place, encode: Callable[[Sequence[str]], Vectors], train: Sequence[Sentence]
) -> Callable[[Sequence[str]], NDArray[np.intp]]:
    """From texts to their classes: a logistic regression on mean vectors of MiniLM, classes balanced."""
    from sklearn.linear_model import LogisticRegression

    labels = [CLASSES.index(str(sentence.label)) for sentence in train]
    regression = LogisticRegression(C=1.0, class_weight="balanced", max_iter=300)

    def asked(texts: Sequence[str]) -> NDArray[np.intp]:
        if not hasattr(regression, "classes_"):
            regression.fit(encode([sentence.text for sentence in train]), labels)
        return np.asarray(regression.predict(encode(texts)))

    known = fingerprint([place.recipe.text.encoder, [[s.text, s.label] for s in train]])
    return lambda texts: _kept(place, f"words-{known}-{fingerprint(list(texts))}", lambda: asked(texts))
