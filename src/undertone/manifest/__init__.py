"""Utterances as files: JSONL with a sidecar, Parquet at scale; checked and counted."""

from undertone.manifest.checks import Problem, unknown_labels, validate
from undertone.manifest.files import Manifest, read, refuse_output, write
from undertone.manifest.meta import Meta
from undertone.manifest.statistics import Statistics, statistics

__all__ = [
    "Manifest",
    "Meta",
    "Problem",
    "Statistics",
    "read",
    "refuse_output",
    "statistics",
    "unknown_labels",
    "validate",
    "write",
]
