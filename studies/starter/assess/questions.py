"""What a fold's model is asked: recordings and sentences it has never met, as they are and made worse.

One condition is one way of asking; each yields its questions one by one, so that waves are held only
while they are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from studies.starter.assess import worse
from studies.starter.assess.sounds import KINDS, sounds
from studies.starter.sentences import Sentence, plain
from undertone import audio, labels
from undertone.audio import RATE
from undertone.audio.noise import active_span

if TYPE_CHECKING:
    from studies.starter.clips import Spoken
    from undertone.types import Wave

__all__ = ["CONDITIONS", "CROPS", "EIGHT", "FOUR", "ONCE", "PAIRINGS", "Question", "Side"]

FOUR = labels.label_set("ravdess4").classes
EIGHT = labels.label_set("ravdess8").classes
CROPS, PAIRINGS, SOUNDS = 5, 10, 40
"""Draws of a second from each clip, of a sentence for each clip, and sounds of each kind."""


@dataclass(frozen=True)
class Side:
    """What one model has not met in training."""

    clips: Sequence[Spoken]
    sentences: Sequence[Sentence] = ()
    """Those with one of the four labels."""


@dataclass(frozen=True)
class Question:
    """One thing to judge, and what is known of it."""

    id: str
    group: str
    """The corpus, or the kind of sound."""
    unit: str
    """Whom an interval counts as one: the speaker; of texts and sounds each its own."""
    truth: str | None
    """One of the four classes; None: none of them."""
    wave: Wave | None = None
    text: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """``eight`` (RAVDESS' class), ``sex``, ``language``, ``seconds`` of speech, ``snr`` in dB, ``draw``."""


def truth_of(clip: Spoken) -> str | None:
    """The clip's class among the four; calm counts as neutral, other emotions as none of them."""
    label = "neutral" if clip.label == "calm" else clip.label
    return label if label in FOUR else None


def _of(clip: Spoken, wave: Wave, **more: Any) -> Question:
    return Question(clip.id, clip.corpus, clip.speaker, truth_of(clip), wave, **more)


def _clean(side: Side) -> Iterator[Question]:
    """Every clip as it was recorded, RAVDESS with all of its eight emotions."""
    for clip in side.clips:
        wave = audio.load(clip.path, rate=RATE)
        first, last = active_span(wave, RATE)
        facts = {
            "sex": clip.sex,
            "language": "German" if clip.corpus == "emodb" else "English",
            "seconds": round((last - first) / RATE, 2),
            "snr": round(worse.snr(wave, RATE), 1),
        }
        if clip.corpus == "ravdess":
            facts["eight"] = clip.label
        yield _of(clip, wave, facts=facts)


def _changed(change: Callable[[Wave, str], Wave], side: Side) -> Iterator[Question]:
    """Acted clips of the four classes, each changed."""
    for clip in _acted(side):
        yield _of(clip, change(audio.load(clip.path, rate=RATE), clip.id))


def _acted(side: Side) -> list[Spoken]:
    return [clip for clip in side.clips if clip.corpus != "timit" and truth_of(clip)]


def _sentences(rewrite: Callable[[str], str], side: Side) -> Iterator[Question]:
    for sentence in side.sentences:
        yield Question(
            sentence.id,
            "goemotions",
            sentence.id,
            sentence.label,
            text=rewrite(sentence.text) or sentence.text,
        )


def _pairs(side: Side) -> Iterator[Question]:
    """Each acted clip with sentences of its class, one a draw; none comes twice before all were used."""
    clips = _acted(side)
    decks: dict[tuple[int, str], list[Sentence]] = {}
    for clip in clips:
        label, wave = str(truth_of(clip)), audio.load(clip.path, rate=RATE)
        for draw in range(PAIRINGS):
            if not decks.get((draw, label)):
                known = [sentence for sentence in side.sentences if sentence.label == label]
                order = worse.drawn("pairs", draw, label, clips[0].id).permutation(len(known))
                decks[draw, label] = [known[place] for place in order]
            yield _of(clip, wave, text=decks[draw, label].pop().text, facts={"draw": draw})


def _sounds(_side: Side) -> Iterator[Question]:
    for kind in KINDS:
        for name, wave in sounds(kind, SOUNDS):
            yield Question(name, kind, name, None, wave)


def _noisy(wave: Wave, name: str) -> Wave:
    return worse.noisy(wave, name, RATE)


def _telephone(wave: Wave, _name: str) -> Wave:
    return worse.telephone(wave, RATE)


def _second(draw: int, wave: Wave, name: str) -> Wave:
    return worse.one_second(wave, name, draw, RATE)


def _same(text: str) -> str:
    return text


CONDITIONS: dict[str, Callable[[Side], Iterator[Question]]] = {
    "clean": _clean,
    "gain": partial(_changed, worse.gained),
    "noise": partial(_changed, _noisy),
    "telephone": partial(_changed, _telephone),
    **{f"crop-{n}": partial(_changed, partial(_second, n)) for n in range(CROPS)},
    "raw": partial(_sentences, _same),
    "plain": partial(_sentences, plain),
    "pairs": _pairs,
    "sounds": _sounds,
}
"""Every way of asking, by name."""
ONCE = ("raw", "plain")
"""Of words alone the first fold's model is asked: the networks that read are the same in all of them."""
