"""Word times for a transcript that comes without: by forced alignment, where an aligner is at hand."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from undertone.errors import ConfigError, MissingExtra, UndertoneError
from undertone.judging.clip import Model, Transcript, attached
from undertone.judging.windows import RATE
from undertone.types import Aligner

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Words", "words_for"]

log = logging.getLogger(__name__)


class Words:
    """Finds when each word is spoken. Failing is no error: the words are then judged without times."""

    def __init__(self, make: Callable[[], Aligner]) -> None:
        """``make`` the aligner when it is first needed: it takes seconds to load."""
        self._make = make

    @cached_property
    def _aligner(self) -> Aligner:
        return self._make()

    def align(self, wave: Wave, words: Transcript) -> Transcript:
        """The transcript with times in the wave (16 kHz); as it was where the aligner fails."""
        if words.alignment is not None:
            return words
        try:
            alignment = self._aligner.align(wave, RATE, words.text)
        except UndertoneError as error:
            log.info("no word times: %s", type(error).__name__)  # its message may quote the transcript
            return words
        return replace(words, alignment=attached(alignment, words.text)) if alignment.word else words


def words_for(model: Model, want: str = "auto") -> Words | None:
    """The aligner for a model: ``auto`` where the model uses word times and an aligner is installed."""
    if want not in ("auto", "sphinx", "none"):
        raise ConfigError(f"no aligner '{want}'; there are: auto, sphinx, none")
    installed = importlib.util.find_spec("pocketsphinx") is not None
    if want == "none" or (want == "auto" and not (installed and model.tiers)):
        return None
    if not installed:
        raise MissingExtra("word times by pocketsphinx", "align")
    return Words(_sphinx)


def _sphinx() -> Aligner:
    from undertone.alignment.sphinx.aligner import SphinxAligner

    return SphinxAligner()
