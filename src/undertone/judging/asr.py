"""Transcripts by speech recognition: Whisper by faster-whisper, other recognisers by transformers.

Silence and noise give no words, a text that repeats itself is cut, and words whose times are not plausible
are given without times, so that an aligner can set them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from undertone import audio, pretrained
from undertone.config import fingerprint
from undertone.errors import MissingExtra, ModelError
from undertone.files import whole_folder
from undertone.judging.clip import Transcript, joined
from undertone.store import default_root
from undertone.types import Alignment, Segment

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from undertone.types import Wave

__all__ = ["IN_THE_BOX", "Recognised", "Recogniser", "Whisper", "check", "plausible", "without_repetition"]

log = logging.getLogger(__name__)

IN_THE_BOX = "whisper-tiny.en"
"""The recogniser that ``--asr`` without a name means; it comes with the package undertone-encoders."""
CHUNK_SECONDS = 30.0
"""Longer recordings are recognised in pieces of this length."""
SHORTEST = 0.01
"""Seconds a word lasts at least, where a recogniser gives it none."""
TEMPERATURES = (0.0, 0.4, 0.8)
"""Decoding starts greedy; a text that repeats itself or is improbable is decoded again, less greedily."""
TOKENS = 12.0
"""Tokens a second at most: a text that runs away ends early."""
FASTEST = 8.0
"""Words a second that nobody speaks for long: more is a recogniser that ran away."""
BESIDE = ("tokenizer.json", "preprocessor_config.json")
"""Files of a Whisper folder that the engine reads as they are."""
MODELS = 4
"""Waves that are recognised at the same time, at most; each takes 40 MB."""
REPEATS = 4
"""A phrase of up to four words may stand so often in a row; what follows is dropped."""


@dataclass(frozen=True)
class Recognised:
    """What an engine made of a recording."""

    words: tuple[Segment, ...]
    """With times, or with start and end 0 where the engine gives none."""
    language: str | None = None
    """As a code (``en``), where the engine detects it."""


class Engine(Protocol):
    """A speech recogniser."""

    def recognise(self, waves: Sequence[Wave]) -> list[Recognised]:
        """The words of each mono wave at 16 kHz."""


class Recogniser:
    """Transcribes recordings."""

    def __init__(self, name: str = IN_THE_BOX, engine: Engine | None = None) -> None:
        self.name = name
        self._engine = engine or _engine(name)

    def __call__(self, reference: str) -> Transcript | None:
        """The words of a recording; None where no words were recognised."""
        return self.transcribe(audio.load(reference), reference)

    def transcribe(self, wave: Wave, name: str = "clip") -> Transcript | None:
        """The words of mono samples at 16 kHz."""
        return self.transcripts([wave], [name])[0]

    def transcripts(
        self, waves: Sequence[Wave], names: Sequence[str] | None = None
    ) -> list[Transcript | None]:
        """The words of each of several waves, at the same time where the engine can."""
        recognised = self._engine.recognise(waves)
        names = names or ["clip"] * len(waves)
        return [self._checked(*one) for one in zip(waves, recognised, names, strict=True)]

    def _checked(self, wave: Wave, recognised: Recognised, name: str) -> Transcript | None:
        seconds = len(wave) / audio.RATE
        words = without_repetition(recognised.words)
        if len(words) < len(recognised.words):
            log.warning("%s: %s repeated itself: what it repeated is left out", name, self.name)
        if len(words) > FASTEST * max(seconds, 2.0):
            log.warning("%s: %s ran away (%d words): no transcript", name, self.name, len(words))
            return None
        if not words:
            return None
        text, placed = joined(words)
        other = recognised.language not in (None, "en")
        source = f"{self.name} ({recognised.language})" if other else self.name
        return Transcript(
            text,
            source,
            Alignment(word=placed) if plausible(words, seconds) else None,
            recognised.language,
        )


def without_repetition(words: Sequence[Segment]) -> tuple[Segment, ...]:
    """The words up to where a phrase of one to four words has stood ``REPEATS`` times in a row.

    >>> words = [Segment(word, 0.0, 0.0) for word in "no no no no no no stop".split()]
    >>> [word.text for word in without_repetition(words)]
    ['no', 'no', 'no', 'no']
    """
    texts = [word.text.casefold().strip(".,!?…") for word in words]
    for end in range(1, len(texts) + 1):
        for size in range(1, 5):
            phrase = texts[max(0, end - size) : end]
            before = [texts[end - size * n - size : end - size * n] for n in range(REPEATS + 1)]
            if end >= size * (REPEATS + 1) and all(part == phrase for part in before):
                return tuple(words[: end - size])
    return tuple(words)


def plausible(words: Sequence[Segment], seconds: float) -> bool:
    """Whether the words' times can be believed: inside the recording, in order, few of no length."""
    if any(word.end <= 0.0 or word.start > seconds for word in words):
        return False
    if any(b.start < a.start for a, b in pairwise(words)):
        return False
    short = sum(word.end - word.start <= 2 * SHORTEST for word in words)
    starts = Counter(round(word.start, 2) for word in words)
    return short <= len(words) / 4 and max(starts.values()) <= max(1, len(words) / 4)


def check(name: str) -> None:
    """Raise what keeps the recogniser from being used, before anything that takes long is done."""
    if pretrained.architecture(name) == "whisper" and importlib.util.find_spec("faster_whisper") is None:
        raise MissingExtra("recognising words by Whisper", "asr")


def _engine(name: str) -> Engine:
    check(name)
    return Whisper(name) if pretrained.architecture(name) == "whisper" else _Pipeline(name)


# ---- Whisper ----------------------------------------------------------------------------------------------


class Whisper:
    """faster-whisper over a Whisper checkpoint, which is converted to int8 once, into the cache.

    One wave is for the first model with all threads; several are recognised at once, by one model a core.
    Which model gets which wave depends on the waves alone, so that the same recordings in the same order have
    the same words. Where greedy decoding is improbable it draws, and the draws go on from wave to wave: such
    a wave has other words after other waves.
    """

    def __init__(self, name: str) -> None:
        self._folder = _converted(name)
        threads = int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1
        self._most = min(threads, MODELS)
        self._threads = threads // self._most
        self._models = [self._load(min(threads, MODELS))]
        self._adding = Lock()

    def _load(self, threads: int) -> WhisperModel:
        from ctranslate2 import set_random_seed
        from faster_whisper import WhisperModel

        set_random_seed(0)  # decoding that is less greedy draws
        return WhisperModel(
            str(self._folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=threads,
            local_files_only=True,
        )

    def recognise(self, waves: Sequence[Wave]) -> list[Recognised]:
        with self._adding:
            while len(self._models) < min(self._most, len(waves)):
                self._models.append(self._load(self._threads))
            models = list(self._models)
        shares = [waves[number :: len(models)] for number in range(len(models))]
        if len(waves) == 1:
            return [_recognised(models[0], waves[0])]
        with ThreadPoolExecutor(len(models), thread_name_prefix="words") as threads:
            parts = list(threads.map(lambda model, own: [_recognised(model, w) for w in own], models, shares))
        return [parts[number % len(models)][number // len(models)] for number in range(len(waves))]


def _recognised(model: WhisperModel, wave: Wave) -> Recognised:
    seconds = len(wave) / audio.RATE
    pieces, about = model.transcribe(
        wave,
        beam_size=1,
        temperature=TEMPERATURES,
        condition_on_previous_text=False,  # a text that ran away would carry on in the next piece
        vad_filter=True,
        word_timestamps=True,
        max_new_tokens=20 + round(TOKENS * min(seconds, CHUNK_SECONDS)),
    )
    words = [
        Segment(word.word.strip(), float(word.start), float(word.end))
        for piece in pieces
        for word in piece.words or ()
        if word.word.strip()
    ]
    return Recognised(tuple(_in_order(words, seconds)), about.language if words else None)


def _converted(name: str) -> Path:
    """The checkpoint in CTranslate2's form, made on first use."""
    folder, _ = pretrained.locate(name)
    mark = fingerprint(pretrained.determining(folder, (*BESIDE, "generation_config.json")))
    target = default_root().with_name("recognisers") / mark
    if target.is_dir():
        return target
    if not (folder / "tokenizer.json").is_file():  # without it the engine would look for one on the hub
        raise ModelError(f"{name}: has no tokenizer.json, so it cannot be used as a recogniser")
    from ctranslate2.converters import TransformersConverter

    print(f"undertone: preparing {name} for recognition (once)", file=sys.stderr)
    beside = [file for file in BESIDE if (folder / file).is_file()]
    with (
        whole_folder(target) as part,
        pretrained.ordinary(name) as ordinary,
        pretrained.without_messages(),
    ):
        try:
            TransformersConverter(str(ordinary), copy_files=beside).convert(
                str(part), quantization="int8", force=True
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{name}: cannot be converted for recognition ({error})") from error
    return target


# ---- other recognisers -------------------------------------------------------------------------------------


class _Pipeline:
    """transformers' pipeline, with word times while the recogniser can."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pipeline = pretrained.load_recogniser(name)
        self._with_times = True

    def recognise(self, waves: Sequence[Wave]) -> list[Recognised]:
        return [self._one(wave) for wave in waves]

    def _one(self, wave: Wave) -> Recognised:
        seconds = len(wave) / audio.RATE
        result = self._result({"raw": wave, "sampling_rate": audio.RATE}, seconds)
        words = [
            Segment(str(chunk["text"]).strip(), float(chunk["timestamp"][0]), _end(chunk, seconds))
            for chunk in result.get("chunks", ())
            if str(chunk["text"]).strip() and chunk["timestamp"][0] is not None
        ]
        if words:
            return Recognised(tuple(_in_order(words, seconds)))
        return Recognised(tuple(Segment(word, 0.0, 0.0) for word in str(result.get("text", "")).split()))

    def _result(self, sound: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        long = {"chunk_length_s": CHUNK_SECONDS} if seconds > CHUNK_SECONDS else {}
        if self._with_times:
            try:
                return dict(self._pipeline(dict(sound), return_timestamps="word", **long))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._with_times = False
                log.warning("%s gives no word times (%s): words are judged without", self._name, error)
        return dict(self._pipeline(dict(sound), **long))


def _end(chunk: Mapping[str, Any], seconds: float) -> float:
    end = chunk["timestamp"][1]
    return seconds if end is None else float(end)


def _in_order(words: Sequence[Segment], seconds: float) -> list[Segment]:
    """The words with times in order, none beyond the recording, none without length."""
    ordered: list[Segment] = []
    at = 0.0
    for word in words:
        start = min(max(word.start, at), seconds)
        end = min(max(word.end, start + SHORTEST), seconds + SHORTEST)
        ordered.append(Segment(word.text, start, end))
        at = end
    return ordered
