"""The starter's own system: what it hears, three ways of summing a clip up, who judges, and what it reads."""

from undertone.models.compact.kinds import NONE, OTHER, class_scores
from undertone.models.compact.system import Compact, CompactConfig

__all__ = ["NONE", "OTHER", "Compact", "CompactConfig", "class_scores"]
