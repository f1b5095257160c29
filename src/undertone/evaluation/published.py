"""What others have published on IEMOCAP's four classes, each with the protocol it was measured under."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IEMOCAP4", "Published", "published_for"]


@dataclass(frozen=True, slots=True)
class Published:
    """Points, as printed by its authors."""

    name: str
    wa: float | None
    ua: float | None
    protocol: str
    """What is known of it; where it differs from ours the number does not compare."""
    source: str


IEMOCAP4: tuple[Published, ...] = (
    Published("wav2vec 2.0 base, frozen", 57.7, 58.3, "leave one session out, speech only", "EmoBox"),
    Published("wav2vec 2.0 base, frozen", 63.4, None, "speech only", "emotion2vec's table"),
    Published("WavLM large, frozen", 70.0, None, "speech only", "emotion2vec's table"),
    Published("emotion2vec", 71.8, None, "speech only; 74.5 if the epoch is selected on test", "emotion2vec"),
    Published("Whisper large-v3", 72.9, 73.5, "speech only", "as printed"),
    Published("multi-level fusion", None, 76.3, "inferred from the authors' next paper", "arXiv 2207.04697"),
    Published("Bayesian co-attention", 75.5, 77.0, "speech + text", "as printed"),
    Published("auxiliary tasks", 78.4, 79.7, "speech + text", "as printed"),
    Published("FDRL", 78.3, 79.4, "speech + text", "as printed"),
    Published("MGCMA", 78.9, 80.2, "speech + text", "arXiv 2412.20821"),
    Published("MMER", 81.7, None, "speech + text; epoch selected on test", "as printed"),
    Published("MemoCMT", 81.9, 81.3, "speech + text; random split, speakers on both sides", "as printed"),
)


def published_for(corpus: str, labels: str) -> tuple[Published, ...]:
    """The numbers to stand beside a result on ``corpus`` with this label set; empty where there are none."""
    return IEMOCAP4 if corpus == "iemocap" and labels == "iemocap4" else ()
