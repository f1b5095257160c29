"""Words by which folders, names and columns are recognised as labels; labels themselves stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["emotion_in", "names_emotions", "names_speakers", "speaker_in"]

WORDS = frozenset(
    """
    angry anger ang rage annoyed annoyance frustrated frustration fru irritated
    happy happiness hap joy joyful amused amusement excited excitement exc elated cheerful laughter
    sad sadness sorrow grief depressed
    neutral neutrality neu calm calmness relaxed
    fear fearful fea scared anxious anxiety afraid panic
    disgust disgusted dis contempt contemptuous
    surprise surprised sur astonished bored boredom
    positive negative tired sleepy sleepiness pride proud shame tender tenderness love hate stress stressed
    wut wuetend wütend aerger ärger freude froh gluecklich glücklich trauer traurig angst ekel überraschung
    ueberraschung langeweile ruhig
    colere colère joie tristesse triste neutre peur degout dégoût ennui calme heureux
    ira enojo enfado alegria alegría feliz tristeza miedo asco sorpresa enojado contento
    rabbia gioia felice felicita tristezza paura disgusto sorpresa neutro noia
    raiva felicidade medo nojo surpresa
    zlosc złość radosc radość smutek strach zaskoczenie neutralny neutralność
    """.split()
)
"""Common names of emotions in some languages; a guess by them is always shown."""
MOST = 0.95
"""Share of names that must fit a guess."""
SPEAKER = re.compile(
    r"(?i)(?<![a-z])((?:actor|actress|speaker|spkr?|subject|subj|participant|talker|sprecher|patient|caller)"
    r"(?:[-_ ]?\d+[a-z]?|[-_ ][0-9a-z]+))(?![0-9a-z])"
)
"""A part of a path that names a speaker outright: ``actor_03``, ``spk7``, ``speaker-anna``."""
NUMBER = re.compile(r"(?i)[a-z]{0,2}[-_ ]?\d+[a-z]?")


def emotion_in(name: str) -> str | None:
    """The one emotion word in a name as it is written there; None where there is none, or several.

    >>> emotion_in("anna_02_ANGRY_take1")
    'ANGRY'
    >>> emotion_in("angry_then_sad")
    """
    words = [word for word in re.findall(r"[^\W\d_]+", name) if word.casefold() in WORDS]
    return words[0] if len({word.casefold() for word in words}) == 1 else None


def names_emotions(names: Iterable[str], share: float = 0.5) -> bool:
    """Whether there are several names, each counted once, and this share of them holds an emotion word."""
    each = set(names)
    return len(each) > 1 and sum(emotion_in(name) is not None for name in each) >= share * len(each)


def speaker_in(path: str) -> str | None:
    """The part of a path that names its speaker outright, None where there is none."""
    match = SPEAKER.search(path)
    return match[1].casefold() if match else None


def names_speakers(names: Iterable[str]) -> bool:
    """Whether nearly all of the names read as those of speakers: by a word for it, or as bare numbers."""
    each = set(names)
    fits = sum(bool(speaker_in(name) or NUMBER.fullmatch(name)) for name in each)
    return fits >= MOST * len(each)
