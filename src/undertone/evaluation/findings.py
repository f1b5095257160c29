"""What a report knows: the measured runs, the reference they are tested against, what does not compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from undertone.evaluation import card as cards
from undertone.evaluation.page import esc
from undertone.evaluation.published import Published, published_for
from undertone.evaluation.results import Comparison, Result, compare, reference_of

__all__ = ["Findings", "marked", "probability", "signed"]


@dataclass(frozen=True)
class Findings:
    """Everything that a page says."""

    results: Sequence[Result]
    wanted: str | None = None

    @cached_property
    def reference(self) -> Result:
        return reference_of(self.results, self.wanted)

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        return {c.name: c for c in compare(self.results, self.reference)}

    @cached_property
    def ordered(self) -> list[Result]:
        """The reference first: marks are relative to its card."""
        return [self.reference, *(r for r in self.results if r is not self.reference)]

    @cached_property
    def marks(self) -> dict[str, str]:
        found = cards.marks([r.run.card for r in self.ordered])
        return {r.name: mark for r, mark in zip(self.ordered, found, strict=True)}

    @cached_property
    def legend(self) -> list[tuple[str, list[str]]]:
        return cards.legend([r.run.card for r in self.ordered])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return self.reference.run.predictions.labels

    @property
    def chance(self) -> float:
        return 1 / len(self.labels)

    @cached_property
    def published(self) -> tuple[Published, ...]:
        return published_for(self.reference.run.card.corpus, self.reference.run.card.labels)

    def colour(self, result: Result) -> str:
        """The reference wears the accent; the others take the palette in turn."""
        others = [r.name for r in self.results if r is not self.reference]
        return "var(--s0)" if result is self.reference else f"var(--s{1 + others.index(result.name) % 7})"

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before any number."""
        found = []
        for result in self.results:
            own = result.run.card
            if own.selection == "test":
                found.append(f"{result.name}: the epoch was selected on the test side, so it is optimistic")
            found += [f"{result.name}: {stamp}" for stamp in own.stamps]
            found += [f"{result.name}: {line}" for line in own.audit if line.startswith("leak")]
            if result.unit.startswith("utterance"):
                found.append(f"{result.name}: no speakers known, so its intervals are too narrow")
        shared: dict[str, list[str]] = {}
        for line in dict.fromkeys(found):
            name, _, what = line.partition(": ")
            shared.setdefault(what, []).append(name)
        everyone = len({r.name for r in self.results})
        return [
            what if len(names) == everyone else f"{', '.join(names)}: {what}"
            for what, names in shared.items()
        ]


def probability(p: float | None) -> str:
    """A p value as one prints it."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(difference: float) -> str:
    """A difference of fractions in points, with its sign; never a minus zero."""
    value = round(100 * difference, 1) or 0.0
    return f"{value:+.1f}" if value else "0.0"


def marked(found: Findings, result: Result) -> str:
    """A run's name as HTML, with its letter where it does not compare."""
    mark = found.marks[result.name]
    return esc(result.name) + (f"<sup>{esc(mark)}</sup>" if mark else "")
