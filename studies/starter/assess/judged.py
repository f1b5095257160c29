"""What models answer: of recordings as they are, from the regions that training pooled; of all else, by the
predictor that users call. Both are kept, so that a second call is instant.

The first are the same numbers as the predictor's to the rounding of what was pooled (a test compares them).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studies.starter import pooled
from studies.starter.assess import worse
from studies.starter.assess.sounds import KINDS, sounds
from studies.starter.clips import Spoken, background, folds
from studies.starter.targets import CLASSES, class_of
from undertone import audio
from undertone.audio import RATE
from undertone.config import fingerprint
from undertone.files import one_thread, write_lines

if TYPE_CHECKING:
    from studies.starter.train import Place
    from undertone.models.compact import Compact
    from undertone.types import Prediction

__all__ = ["Answer", "folds_of", "of_clips", "of_joined", "of_sounds", "of_texts", "of_worse", "posteriors"]

VERSION = 1
"""Raised with every change of what is asked."""
VOICES = "voices"
"""The condition in which two people of the TIMIT sample, who read, talk in the background."""
SOUNDS, JOINED = 40, 100
"""Sounds of each kind; recordings joined with another in each fold."""


@dataclass(frozen=True)
class Answer:
    """One answer; posteriors in the order of ``CLASSES``."""

    id: str
    posterior: Sequence[float]
    abstained: bool
    eight: Sequence[float] = ()
    """Over RAVDESS' emotions."""
    distance: float | None = None
    of: Sequence[str] = ()
    """What was joined."""

    @property
    def confidence(self) -> float:
        return max(self.posterior)


def of_clips(place: Place, part: str, known: Sequence[Spoken], chosen: Sequence[int]) -> list[Answer]:
    """The answers to recordings as they are, of a part's model."""
    return _kept(
        place, part, "clean", [known[i].id for i in chosen], lambda: _clean(place, part, known, chosen)
    )


def _clean(place: Place, part: str, known: Sequence[Spoken], chosen: Sequence[int]) -> list[dict[str, Any]]:
    import torch

    heard = pooled.clips(known, place.recipe.hearing, place.heard)
    model, threshold = _network(place.part(part) / "model")
    inside = heard.of(chosen, variant=0)
    with torch.inference_mode():
        kinds, distance = model.score_speech(torch.from_numpy(heard.rows[inside].astype(np.float32)))
        posterior, eight = model.classes(kinds, distance).exp(), kinds[:, : model.first].softmax(-1)
    samples = torch.from_numpy(heard.samples[inside]).double()
    owner = heard.clip[inside]
    answers = []
    for index in chosen:
        own = torch.from_numpy(owner == index)
        share = samples[own] / samples[own].sum()
        mean = (posterior[own].double() * share[:, None]).sum(0)
        others = (eight[own].double() * share[:, None]).sum(0)
        far = None if distance is None else float((distance[own].double() * share).sum())
        answers.append(
            {
                "id": known[index].id,
                "posterior": mean.tolist(),
                "abstained": float(mean.max()) < threshold,
                "eight": others.tolist(),
                "distance": far,
            }
        )
    return answers


def of_worse(
    place: Place, part: str, condition: str, known: Sequence[Spoken], chosen: Sequence[int]
) -> list[Answer]:
    """The answers to recordings after a condition of ``worse.CONDITIONS``, or beside ``VOICES``."""

    def ask() -> list[dict[str, Any]]:
        if condition == VOICES:
            change = worse.beside_voices([audio.load(c.path) for c in background(known, tests=True)])
        else:
            change = worse.CONDITIONS[condition]
        waves = ((known[i].id, change(audio.load(known[i].path), known[i].id, RATE)) for i in chosen)
        return [
            _answer(name, _opened(place.part(part) / "model").predict(wave, explain=False))
            for name, wave in waves
        ]

    return _kept(place, part, condition, [known[i].id for i in chosen], ask)


def of_joined(place: Place, part: str, known: Sequence[Spoken], chosen: Sequence[int]) -> list[Answer]:
    """The answers to recordings, each joined with another of its speaker and class after a pause."""

    def ask() -> list[dict[str, Any]]:
        mates: dict[tuple[str, int], list[int]] = {}
        for i in chosen:
            mates.setdefault((known[i].speaker, class_of(known[i])), []).append(i)
        pairs = [(a, b) for own in mates.values() for a, b in zip(own[::2], own[1::2], strict=False)]
        order = worse.drawn("joined", part).permutation(len(pairs))[:JOINED]
        rows = []
        for first, second in (pairs[k] for k in order):
            one, other = (audio.load(known[i].path) for i in (first, second))
            wave = worse.joined(one, other, known[first].id, RATE)
            found = _opened(place.part(part) / "model").predict(wave, explain=False)
            rows.append(_answer(known[first].id, found) | {"of": [known[first].id, known[second].id]})
        return rows

    return _kept(place, part, "joined", [known[i].id for i in chosen], ask)


def of_sounds(place: Place, part: str) -> dict[str, list[Answer]]:
    """The answers to generated sounds that are no speech, by kind."""

    def ask(kind: str) -> Callable[[], list[dict[str, Any]]]:
        model = place.part(part) / "model"
        return lambda: [
            _answer(name, _opened(model).predict(wave, explain=False)) for name, wave in sounds(kind, SOUNDS)
        ]

    return {kind: _kept(place, part, f"sounds-{kind}", [], ask(kind)) for kind in KINDS}


def of_texts(place: Place, part: str, name: str, texts: Sequence[str], spoken: bool = False) -> list[Answer]:
    """The answers to texts alone, which somebody spoke or only wrote."""

    def ask() -> list[dict[str, Any]]:
        from undertone.judging.clip import Clip, Transcript

        model = _opened(place.part(part) / "model").model
        rows = []
        for first in range(0, len(texts), 32):
            clips = [
                Clip(str(n), None, Transcript(t, spoken=spoken))
                for n, t in enumerate(texts[first : first + 32], first)
            ]
            rows += [_answer(p.id, p) for p in model.predict(clips)]
        return rows

    return _kept(place, part, f"texts-{name}", texts, ask)


def _answer(name: str, found: Prediction) -> dict[str, Any]:
    return {
        "id": name,
        "posterior": [found.probabilities[label] for label in CLASSES],
        "abstained": found.label is None,
        "eight": list(found.extra.get("emotions", {}).values()),
        "distance": found.extra.get("distance", {}).get("speech"),
    }


@lru_cache(1)
def _opened(model: Path) -> Any:
    from undertone.judging.predictor import load

    ready = load(model)
    one_thread()
    return ready


@lru_cache(1)
def _network(model: Path) -> tuple[Compact, float]:
    from undertone.models import folder
    from undertone.models.tuned import Tuned

    loaded = folder.load(model)
    assert isinstance(loaded.system, Tuned)
    return loaded.system.head, float(loaded.card["abstain"]["threshold"])  # type: ignore[return-value]


def _kept(
    place: Place, part: str, what: str, asked: Sequence[str], ask: Callable[[], list[dict[str, Any]]]
) -> list[Answer]:
    """The answers, from the file that keeps them if they are of this model and these questions."""
    model = place.part(part) / "model"
    marks = [sha256((model / name).read_bytes()).hexdigest() for name in ("model.safetensors", "card.json")]
    mark = fingerprint([VERSION, marks, what, list(asked)])
    path = place.run / "assessment" / "answers" / part / f"{what}-{fingerprint(list(asked))}.jsonl"
    answers = _read(path, mark)
    if answers is None:
        write_lines(path, [{"mark": mark}, *(asdict(Answer(**row)) for row in ask())])
        answers = _read(path, mark)
    assert answers is not None
    return answers


def _read(path: Path, mark: str) -> list[Answer] | None:
    try:
        first, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    except (FileNotFoundError, ValueError):
        return None
    return [Answer(**row) for row in rows] if first == {"mark": mark} else None


def folds_of(known: Sequence[Spoken], chosen: Sequence[int]) -> list[list[int]]:
    """The chosen clips by the fold that their speaker is tested in."""
    return [[i for i in chosen if known[i].speaker in fold] for fold in folds(known)]


def posteriors(answers: Sequence[Answer]) -> NDArray[np.float64]:
    """(n, C)."""
    return np.array([answer.posterior for answer in answers]).reshape(-1, len(CLASSES))
