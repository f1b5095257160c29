"""What would make a result too good to be true: who, which recording, which words stand on both sides."""

from undertone.audit.examine import Audit, Finding, examine
from undertone.audit.sounds import Twins, twins
from undertone.audit.words import near_twins, same_words

__all__ = ["Audit", "Finding", "Twins", "examine", "near_twins", "same_words", "twins"]
