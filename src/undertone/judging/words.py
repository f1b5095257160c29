"""Word times for a transcript that comes without: by forced alignment, where an aligner is at hand."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from undertone.errors import MissingExtra, TranscriptMismatch, UndertoneError, UsageError, no_such
from undertone.judging.clip import Model, Transcript, attached
from undertone.judging.windows import RATE
from undertone.types import Aligner

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["DOUBTFUL", "Words", "words_for"]

DOUBTFUL = "doubtful"
ALIGN = ("auto", "sphinx", DOUBTFUL, "none")
log = logging.getLogger(__name__)


class Words:
    """Finds when each word is spoken. Failing is no error: the words are then judged without times."""

    def __init__(self, make: Callable[[], Aligner], doubtful: bool = False) -> None:
        """``make`` the aligner when it is first needed: it takes seconds to load.

        ``doubtful``: times of a transcript that seems another text are used too.
        """
        self._make, self._doubtful = make, doubtful

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
            doubtful = error.alignment if isinstance(error, TranscriptMismatch) else None
            if doubtful is None or not self._doubtful:
                return words
            alignment = doubtful
        return replace(words, alignment=attached(alignment, words.text)) if alignment.word else words


def words_for(model: Model, want: str = "auto") -> Words | None:
    """The aligner for a model: ``auto`` where the model uses word times and an aligner is installed.

    ``doubtful`` is ``sphinx`` whose doubtful times are used as well.
    """
    if want not in ALIGN:
        raise UsageError(no_such("aligner", want, ALIGN))
    installed = importlib.util.find_spec("pocketsphinx") is not None
    if want == "none" or (want == "auto" and not (installed and model.tiers)):
        return None
    if not installed:
        raise MissingExtra("word times by pocketsphinx", "align")
    return Words(_sphinx, doubtful=want == DOUBTFUL)


def _sphinx() -> Aligner:
    from undertone.alignment.sphinx.aligner import SphinxAligner

    return SphinxAligner()
