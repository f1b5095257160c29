"""What a fold's model is tested on: recordings and sentences of its test part, as they are and made worse.

Each condition yields its cases one by one, so that few waves are in memory at a time.
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

__all__ = ["CONDITIONS", "CROPS", "EIGHT", "FOUR", "ONCE", "PAIRINGS", "Case", "Part"]

FOUR = labels.label_set("ravdess4").classes
EIGHT = labels.label_set("ravdess8").classes
CROPS, PAIRINGS, SOUNDS = 5, 10, 40
"""Draws of a second from each clip, of a sentence for each clip, and sounds of each kind."""


@dataclass(frozen=True)
class Part:
    """The test part of one model."""

    clips: Sequence[Spoken]
    sentences: Sequence[Sentence] = ()
    """Those with one of the four labels."""


@dataclass(frozen=True)
class Case:
    """One thing to judge, and what is known of it."""

    id: str
    group: str
    """The corpus, or the kind of sound."""
    unit: str
    """What an interval counts as one: the speaker; of texts and sounds each its own."""
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


def _of(clip: Spoken, wave: Wave, **more: Any) -> Case:
    return Case(clip.id, clip.corpus, clip.speaker, truth_of(clip), wave, **more)


def _clean(part: Part) -> Iterator[Case]:
    """Every clip as it was recorded, RAVDESS with all of its eight emotions."""
    for clip in part.clips:
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


def _changed(change: Callable[[Wave, str], Wave], part: Part) -> Iterator[Case]:
    """Acted clips of the four classes, each changed."""
    for clip in _acted(part):
        yield _of(clip, change(audio.load(clip.path, rate=RATE), clip.id))


def _acted(part: Part) -> list[Spoken]:
    return [clip for clip in part.clips if clip.corpus != "timit" and truth_of(clip)]


def _sentences(rewrite: Callable[[str], str], part: Part) -> Iterator[Case]:
    for sentence in part.sentences:
        yield Case(
            sentence.id,
            "goemotions",
            sentence.id,
            sentence.label,
            text=rewrite(sentence.text) or sentence.text,
        )


def _pairs(part: Part) -> Iterator[Case]:
    """Each acted clip with sentences of its class, one a draw; none comes twice before all were used."""
    clips = _acted(part)
    decks: dict[tuple[int, str], list[Sentence]] = {}
    for clip in clips:
        label, wave = str(truth_of(clip)), audio.load(clip.path, rate=RATE)
        for draw in range(PAIRINGS):
            if not decks.get((draw, label)):
                known = [sentence for sentence in part.sentences if sentence.label == label]
                order = worse.drawn("pairs", draw, label, clips[0].id).permutation(len(known))
                decks[draw, label] = [known[place] for place in order]
            yield _of(clip, wave, text=decks[draw, label].pop().text, facts={"draw": draw})


def _sounds(_part: Part) -> Iterator[Case]:
    for kind in KINDS:
        for name, wave in sounds(kind, SOUNDS):
            yield Case(name, kind, name, None, wave)


def _noisy(wave: Wave, name: str) -> Wave:
    return worse.noisy(wave, name, RATE)


def _telephone(wave: Wave, _name: str) -> Wave:
    return worse.telephone(wave, RATE)


def _second(draw: int, wave: Wave, name: str) -> Wave:
    return worse.one_second(wave, name, draw, RATE)


def _same(text: str) -> str:
    return text


CONDITIONS: dict[str, Callable[[Part], Iterator[Case]]] = {
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
"""Every condition by name."""
ONCE = ("raw", "plain")
"""Words alone are tested in the first fold only: the text networks are the same in all folds."""
