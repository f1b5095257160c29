"""Word times for a transcript that comes without: by forced alignment, where an aligner is at hand."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from undertone.errors import UndertoneError
from undertone.serving.segmenting.vad import RATE
from undertone.serving.transcripts import Transcript, attached
from undertone.types import Aligner

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Words"]

log = logging.getLogger(__name__)


class Words:
    """Finds when each word is spoken. Failing is no error: the words are then judged without times."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner

    def align(self, wave: Wave, words: Transcript) -> Transcript:
        """The transcript with times, heard in the wave at 16 kHz; as it was where they cannot be found."""
        if words.alignment is not None:
            return words
        try:
            found = self._aligner.align(wave, RATE, words.text)
        except UndertoneError as error:
            log.info("no word times: %s", error)
            return words
        return replace(words, alignment=attached(found, words.text)) if found.word else words
