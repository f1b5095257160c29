"""Well-known public emotion classifiers, and the corpora that each was trained on.

Written down from their own pages, not run here; a licence or a corpus may have changed since: their page
counts. A model must not be scored on a corpus that it was trained on, so this table is read wherever a number
is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "PUBLISHED",
    "PublicModel",
    "corpora_of",
    "corpus_name",
    "overlap",
    "recalled",
    "trained_by",
    "trained_on",
]


@dataclass(frozen=True)
class PublicModel:
    """One public model, by what its page states."""

    side: Literal["speech", "text"]
    licence: str
    classes: str
    trained: tuple[str, ...]
    """Corpora, by ``corpus_name``."""
    note: str = ""
    """Why it needs care, or cannot be used."""
    usable: bool = True
    """Whether it is in transformers' own format, with a head that transformers or undertone knows."""


_FOUR = "neutral, happy, angry, sad"
_SEVEN = "anger, disgust, fear, joy, neutral, sadness, surprise"
_SIX = "sadness, joy, love, anger, fear, surprise"
_OWN_HEAD = "its head is not transformers' own, so a load by name leaves it untrained; refused here"

PUBLISHED: dict[str, PublicModel] = {
    "superb/wav2vec2-base-superb-er": PublicModel("speech", "Apache-2.0", _FOUR, ("iemocap",)),
    "superb/wav2vec2-large-superb-er": PublicModel("speech", "Apache-2.0", _FOUR, ("iemocap",)),
    "superb/hubert-base-superb-er": PublicModel("speech", "Apache-2.0", _FOUR, ("iemocap",)),
    "superb/hubert-large-superb-er": PublicModel("speech", "Apache-2.0", _FOUR, ("iemocap",)),
    "r-f/wav2vec-english-speech-emotion-recognition": PublicModel(
        "speech",
        "Apache-2.0",
        "angry, disgust, fear, happy, neutral, sad, surprise",
        ("savee", "ravdess", "tess"),
    ),
    "firdhokk/speech-emotion-recognition-with-openai-whisper-large-v3": PublicModel(
        "speech",
        "Apache-2.0",
        "angry, disgust, fearful, happy, neutral, sad, surprised",
        ("ravdess", "savee", "tess", "urdu"),
    ),
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": PublicModel(
        "speech",
        "CC-BY-NC-SA-4.0",
        "arousal, dominance, valence",
        ("msp-podcast",),
        "three numbers, no classes",
    ),
    "ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition": PublicModel(
        "speech",
        "Apache-2.0",
        "angry, calm, disgust, fearful, happy, neutral, sad, surprised",
        ("ravdess",),
        _OWN_HEAD,
        usable=False,
    ),
    "speechbrain/emotion-recognition-wav2vec2-IEMOCAP": PublicModel(
        "speech", "Apache-2.0", _FOUR, ("iemocap",), "SpeechBrain's format", usable=False
    ),
    "3loi/SER-Odyssey-Baseline-WavLM-Categorical": PublicModel(
        "speech",
        "MIT",
        "angry, sad, happy, surprise, fear, disgust, contempt, neutral",
        ("msp-podcast",),
        "wants code of its own",
        usable=False,
    ),
    "j-hartmann/emotion-english-distilroberta-base": PublicModel(
        "text",
        "not stated",
        _SEVEN,
        ("crowdflower", "emotion", "goemotions", "isear", "meld", "semeval-2018"),
    ),
    "SamLowe/roberta-base-go_emotions": PublicModel(
        "text", "MIT", "the 28 of GoEmotions, several at once", ("goemotions",)
    ),
    "bhadresh-savani/bert-base-go-emotion": PublicModel(
        "text", "Apache-2.0", "the 28 of GoEmotions, several at once", ("goemotions",)
    ),
    "bhadresh-savani/distilbert-base-uncased-emotion": PublicModel("text", "Apache-2.0", _SIX, ("emotion",)),
    "nateraw/bert-base-uncased-emotion": PublicModel("text", "Apache-2.0", _SIX, ("emotion",)),
    "cardiffnlp/twitter-roberta-base-emotion": PublicModel(
        "text", "not stated", "joy, optimism, anger, sadness", ("semeval-2018",)
    ),
    "michellejieli/emotion_text_classifier": PublicModel(
        "text", "not stated", _SEVEN, ("goemotions", "meld", "emorynlp"), "fine-tuned on lines of Friends"
    ),
    "MilaNLProc/feel-it-italian-emotion": PublicModel(
        "text", "not stated", "anger, fear, joy, sadness", ("feel-it",)
    ),
    "finiteautomata/bertweet-base-emotion-analysis": PublicModel(
        "text", "not stated", "others, joy, sadness, anger, surprise, disgust, fear", ("emoevent",)
    ),
}
"""By hub name. None of them was run by this project."""

ALIASES = {
    "ravdess": "ravdess ravdessemotionalspeechaudio",
    "iemocap": "iemocap superber",
    "msp-podcast": "msppodcast msp podcast mspdim",
    "goemotions": "goemotions goemotion",
    "meld": "meld emotionlines friends",
    "emorynlp": "emorynlp",
    "emodb": "emodb berlin",
    "nemo": "nemo",
    "cremad": "cremad crema",
    "savee": "savee",
    "tess": "tess toronto",
    "dailydialog": "dailydialog",
    "emotion": "emotion dairaiemotion",
}
"""Spellings of corpora, without case and punctuation, as the front matter of a hub page has them."""
_CORPUS = {spelling: name for name, spellings in ALIASES.items() for spelling in spellings.split()}
SHARES = {"meld": ("emorynlp",), "emorynlp": ("meld",)}
"""Corpora that hold parts of each other: both are lines of one television series."""


def corpus_name(text: str) -> str:
    """A corpus by one name, however it is spelled.

    >>> corpus_name("narad/RAVDESS"), corpus_name("go_emotions"), corpus_name("CREMA-D")
    ('ravdess', 'goemotions', 'cremad')
    """
    last = text.rpartition("/")[2] or text
    plain = "".join(c for c in last.casefold() if c.isalnum())
    return _CORPUS.get(plain, last.casefold())


def trained_on(name: str, stated: Iterable[str] = ()) -> tuple[str, ...]:
    """The corpora that a model was trained on: by the table, and by what is stated of it."""
    known = PUBLISHED[name].trained if name in PUBLISHED else ()
    return tuple(dict.fromkeys([*known, *map(corpus_name, stated)]))


def overlap(corpora: Iterable[str], scored: str) -> str | None:
    """Which of the corpora that were trained on makes scores on this one worthless; None where none does."""
    name = corpus_name(scored)
    return next(
        (one for one in map(corpus_name, corpora) if one == name or name in SHARES.get(one, ())), None
    )


def corpora_of(card: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By the name of each part of a model the corpora it was trained on, as its card has them.

    >>> corpora_of({"system": "compact", "corpus": "RAVDESS, EmoDB and nEMO"})
    {'compact': ('ravdess', 'emodb', 'nemo')}
    """
    if "trained_on" in card:
        return {name: tuple(corpora) for name, corpora in card["trained_on"].items()}
    named = [part for part in re.split(r",|\+|;| and ", str(card.get("corpus", ""))) if part.strip()]
    return {str(card.get("system", "the model")): tuple(corpus_name(part.strip()) for part in named)}


def trained_by(name: str) -> dict[str, tuple[str, ...]]:
    """The corpora of a public model, by its hub name; empty where it is not known."""
    plain = name.removeprefix("hf:")
    return {plain: PUBLISHED[plain].trained} if plain in PUBLISHED else {}


def recalled(trained: Mapping[str, Iterable[str]], scored: str) -> list[str]:
    """A line for each part of a model that was trained on the corpus that it is scored on."""
    shared = {name: overlap(corpora, scored) for name, corpora in trained.items()}
    return [
        f"{name} was trained on {corpus}, so its scores on {scored} show recall, not recognition"
        for name, corpus in shared.items()
        if corpus is not None
    ]
