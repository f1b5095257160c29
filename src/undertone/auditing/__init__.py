"""What would make a result too good to be true: speakers, recordings, words that parts of a fold share."""

from undertone.auditing.examine import Audit, Finding, examine
from undertone.auditing.sounds import Twins, twins
from undertone.auditing.words import near_twins, same_words

__all__ = ["Audit", "Finding", "Twins", "examine", "near_twins", "same_words", "twins"]
