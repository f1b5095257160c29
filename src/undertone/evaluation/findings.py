"""The content of a report: measured runs, the reference they are tested against, marks, published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from undertone.evaluation import card as cards
from undertone.evaluation.results import Comparison, Result, compare, reference_of

__all__ = ["IEMOCAP4", "Findings", "Published", "points", "probability", "signed"]


@dataclass(frozen=True, slots=True)
class Published:
    """Points, as printed by their authors."""

    name: str
    wa: float | None
    ua: float | None
    protocol: str
    """As far as it is known; where it differs from ours the number does not compare."""
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
    Published("MemoCMT", 81.9, 81.3, "speech + text; random split that shares speakers", "as printed"),
)
"""Results on IEMOCAP's four classes, each with the protocol it was measured under."""


@dataclass(frozen=True)
class Findings:
    """Everything that a report shows."""

    results: Sequence[Result]
    wanted: str | None = None
    """Name of the reference, where one was chosen; one that is not among the results is refused."""

    @cached_property
    def reference(self) -> Result:
        return reference_of(self.results, self.wanted)

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        return {c.name: c for c in compare(self.results, self.reference)}

    @cached_property
    def tested(self) -> list[Comparison]:
        """The comparisons for which a paired test was possible."""
        return [c for c in self.comparisons.values() if c.paired]

    @cached_property
    def ordered(self) -> list[Result]:
        """The reference first: marks are relative to its card."""
        return [self.reference, *(r for r in self.results if r is not self.reference)]

    @cached_property
    def marks(self) -> dict[str, str]:
        """Run → its letter; empty where its numbers compare with the reference's."""
        letters = cards.marks([r.run.card for r in self.ordered])
        return {r.name: letter for r, letter in zip(self.ordered, letters, strict=True)}

    @cached_property
    def legend(self) -> list[tuple[str, list[str]]]:
        """(letter, reasons) of every mark."""
        return cards.legend([r.run.card for r in self.ordered])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return self.reference.run.predictions.labels

    @property
    def chance(self) -> float:
        return 1 / len(self.labels)

    @cached_property
    def published(self) -> tuple[Published, ...]:
        """The published numbers on the same corpus and label set; empty where there are none."""
        own = self.reference.run.card
        return IEMOCAP4 if (own.corpus, own.labels) == ("iemocap", "iemocap4") else ()

    def colour(self, result: Result) -> str:
        """The CSS colour of a run: the reference has the accent, the others the palette's in turn."""
        others = [r.name for r in self.results if r is not self.reference]
        return "var(--s0)" if result is self.reference else f"var(--s{1 + others.index(result.name) % 7})"

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before any number, with the runs that it concerns."""
        lines: dict[str, list[str]] = {}
        for result in self.results:
            for line in result.warnings:
                lines.setdefault(line, []).append(result.name)
        everyone = len({r.name for r in self.results})
        below = [f"{name}: below the linear probe '{probe}'" for name, probe in self.below.items()]
        return [
            *(
                line if len(names) == everyone else f"{', '.join(names)}: {line}"
                for line, names in lines.items()
            ),
            *below,
        ]

    @cached_property
    def below(self) -> dict[str, str]:
        """Run → a linear probe of its modalities, or of one, with a higher UA under the same protocol."""
        # a probe is known by its penalties: it is solved, not trained
        probes = [r for r in self.results if "strengths" in r.run.config.get("model", {})]
        return {
            result.name: probe.name
            for result in self.results
            for probe in sorted(probes, key=lambda r: r.seeds["ua"].mean)
            if result not in probes
            and self.marks[result.name] == self.marks[probe.name]
            and set(probe.run.card.encoders) <= set(result.run.card.encoders)
            and result.seeds["ua"].mean < probe.seeds["ua"].mean
        }


def points(value: float | None, digits: int = 1) -> str:
    """A fraction as points: 0.8123 → ``81.2``; an en dash where there is none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"


def signed(difference: float) -> str:
    """A difference of fractions in points, with its sign; never a minus zero."""
    value = round(100 * difference, 1) or 0.0
    return f"{value:+.1f}" if value else "0.0"


def probability(p: float | None) -> str:
    """A p value as one prints it."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
