"""The only door to espeak-ng: speech with exact times, and how a word is pronounced.

The shared library of the package ``espeakng-loader`` is called in this process. Its events give the
sample at which every word and phone begins, so the times of what it speaks are known, not estimated.

espeak-ng keeps its state (noise, prosody settings) for the life of the process: the same words come out
slightly different the second time. Whoever needs the same bytes again makes them in a fresh process, in
the same order.
"""

from undertone.espeak.library import RATE, require
from undertone.espeak.phones import arpabet, pronounce
from undertone.espeak.synthesis import Spoken, SyntheticSpeech, synthesise

__all__ = ["RATE", "Spoken", "SyntheticSpeech", "arpabet", "pronounce", "require", "synthesise"]
