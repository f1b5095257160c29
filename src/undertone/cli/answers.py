"""Answers on a terminal: one to read, and how many of several are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from undertone.judging.clip import Recording
    from undertone.types import Prediction

__all__ = ["Counted", "show"]


class Counted:
    """How many answers are right, of recordings that have labels."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.total, self.right, self.withheld = 0, 0, 0
        self.other: Counter[str] = Counter()
        """Labels that are none of the model's classes."""
        self.named: dict[str, str] = {}
        """Labels that mean a class by another name, as *Wut* means angry."""

    def count(self, recordings: Sequence[Recording], answers: Iterable[Prediction]) -> Iterator[Prediction]:
        """The answers as they come, each compared with the label of its recording."""
        labels = {recording.id: recording.label for recording in recordings if recording.label}
        for answer in answers:
            if label := labels.get(answer.id):
                if (known := self._class(label)) is None:
                    self.other[label] += 1
                else:
                    self.total += 1
                    self.right += known == answer.label
                    self.withheld += answer.label is None
            yield answer

    def _class(self, label: str) -> str | None:
        from undertone.labels.synonyms import meaning

        if label in self.labels:
            return label
        named = meaning(label)
        if named in self.labels:
            self.named[label] = str(named)
            return named
        return None

    def line(self) -> str:
        """In one line; empty where nothing has a label."""
        number = self.other.total()
        strange = ", ".join(f"'{name}'" for name, _ in self.other.most_common(3))
        if not self.total:
            known = f"none is one of the model's ({', '.join(self.labels)})"
            return f"{number} with labels ({strange}), {known}: nothing is counted" if number else ""
        more = f", {self.withheld} without an answer" if self.withheld else ""
        other = f"; {number} have labels that the model does not know ({strange})" if number else ""
        by_name = ", ".join(f"'{label}' as {known}" for label, known in sorted(self.named.items()))
        named = f"; {by_name}" if by_name else ""
        share = f"{self.right / self.total:.1%}"
        return f"right: {self.right} of {self.total} with labels ({share}){more}{named}{other}"


def show(answer: Prediction) -> None:
    """Print one prediction for a person to read."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from undertone.judging.clip import decided_by

    console = Console(highlight=False)
    sure = f"[bold]{answer.label}[/] ({answer.confidence:.0%})"
    unsure = f"no clear emotion ({answer.withheld})"
    by = f", by {decided_by(answer)}" if answer.modalities else ""
    console.print((sure if answer.label else unsure) + by)
    if answer.unfamiliar:
        console.print("[yellow]unfamiliar:[/] speech unlike what the model learned from: take it with care")
    names = list(answer.perspectives)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", *names):
        table.add_column(name, justify="right" if name else "left")
    for label in answer.probabilities:
        table.add_row(label, *(f"{answer.perspectives[name][label]:.3f}" for name in names))
    console.print(table)
    if answer.words:
        top = max(answer.words, key=lambda word: word.contribution)
        words = " ".join(
            f"[bold]{escape(word.text)}[/]" if word is top else escape(word.text) for word in answer.words
        )
        console.print(f"[dim]words:[/] {words}")
    _show_times(console, answer)
    console.print(f"[dim]{escape(answer.model)}[/]")


def _show_times(console: Console, answer: Prediction) -> None:
    """Shares of the speech, what it rests on, speakers, and the timeline with its speakers."""
    from rich.markup import escape

    from undertone.judging.outputs import UNSURE, stretches

    seen = answer.evidence
    parts = [
        f"{seen.speech:.1f} s of speech" if seen.speech is not None else "",
        f"{seen.words} words" if seen.words else "",
        f"{seen.snr:.0f} dB over what is between" if seen.snr is not None else "",
    ]
    console.print(f"[dim]judged:[/] {', '.join(part for part in parts if part) or 'nothing'}")
    if len(answer.shares) > 1:
        shares = ", ".join(f"{label} {part:.0%}" for label, part in answer.shares.items())
        console.print(f"[dim]of the speech:[/] {shares}")
    for name, one in answer.speakers.items():
        shares = ", ".join(f"{label} {part:.0%}" for label, part in one.shares.items())
        console.print(f"[bold]{escape(name)}[/] [dim]{one.speech:.1f} s in {one.turns} turns:[/] {shares}")
    if answer.segments or len(answer.turns) > 1:
        for cell in stretches(answer):
            speaker = f"{escape(cell.speaker)}: " if cell.speaker else ""
            label = cell.label or UNSURE
            console.print(
                f"[dim]{cell.start:8.2f} {cell.end:8.2f}[/]  {speaker}{label} ({cell.confidence:.0%})"
            )
