"""What would make a result too good to be true: speakers, recordings, words that parts of a fold share."""

from undertone.audit.examine import Audit, Finding, examine
from undertone.audit.sounds import Twins, twins
from undertone.audit.words import near_twins, same_words

__all__ = ["Audit", "Finding", "Twins", "examine", "near_twins", "same_words", "twins"]
