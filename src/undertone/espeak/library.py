"""espeak-ng's shared library through ctypes: voices, samples with events, phonemes."""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass
from typing import Any

from undertone.errors import ConfigError, MissingExtra
from undertone.types import Seconds

__all__ = ["LOCK", "PHONEME", "RATE", "WORD", "Event", "Library", "library", "require"]

RATE = 22050
"""Samples a second of what espeak-ng makes."""

WORD, PHONEME = 1, 7
"""Kinds of events."""

LOCK = threading.Lock()
"""The library holds one voice and one sentence at a time."""

_SYNCHRONOUS, _UTF8, _IPA, _WORD_GAP = 2, 1, 0x02, 7
_PHONEME_EVENTS_IN_IPA_AND_NO_EXIT = 0x1 | 0x2 | 0x8000


def require() -> None:
    """Raise MissingExtra at once if espeak-ng is not installed."""
    library()


@functools.cache
def library() -> Library:
    """The library of this process. Use it under ``LOCK``."""
    return Library()


@dataclass(frozen=True, slots=True)
class Event:
    """The beginning of a word or a phone in what the library makes."""

    kind: int
    position: int
    """Of the word in the text, counted from 1."""
    sample: int
    name: str
    """IPA of a phoneme, empty for a pause."""


class _CEvent(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_CEvent)
)


class Library:
    """espeak-ng, loaded once in a process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._c = ctypes.CDLL(str(espeakng_loader.get_library_path()))
            data = str(espeakng_loader.get_data_path())
        except (ImportError, OSError) as error:
            raise MissingExtra("speech synthesis and pronunciation", "espeak") from error
        rate = self._c.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS_IN_IPA_AND_NO_EXIT)
        if rate != RATE:
            raise MissingExtra(f"speech synthesis (espeak-ng did not start from {data})", "espeak")
        self._c.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._samples: list[bytes] = []
        self._events: list[Event] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library calls it for ever
        self._c.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def use_voice(self, name: str) -> None:
        """Speak with this voice from now on; ConfigError where there is no such voice."""
        if name != self._voice:
            if self._c.espeak_SetVoiceByName(name.encode()) != 0:
                raise ConfigError(f"espeak-ng has no voice '{name}'; try 'en-us' or 'en-us+f1'")
            self._voice = name

    def synthesise(self, text: str, pause: Seconds) -> tuple[bytes, list[Event]]:
        """16-bit samples and events of a text with commands; ``pause`` after each word."""
        self._c.espeak_SetParameter(_WORD_GAP, round(pause * 100), 0)
        self._samples.clear()
        self._events.clear()
        raw = text.encode() + b"\0"
        self._c.espeak_Synth(raw, len(raw), 0, 1, 0, _UTF8, None, None)
        return b"".join(self._samples), list(self._events)

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count > 0 and wave:
            self._samples.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != 0:
            event = events[index]
            name = event.id.decode("utf-8", "ignore") if event.type == PHONEME else ""
            self._events.append(Event(event.type, event.text_position, event.sample, name))
            index += 1
        return 0

    def phonemes(self, text: str) -> str:
        """IPA of a text."""
        raw = ctypes.c_char_p(text.encode())
        rest = ctypes.cast(raw, ctypes.c_void_p)
        parts = []
        while rest.value:  # one clause a call
            part = self._c.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            parts.append((part or b"").decode("utf-8", "ignore"))
        return " ".join(parts)
