"""Scores of each system on each kind of emotion planted in the demo corpus, read from finished runs.

    undertone demo --set protocol.seeds=3
    python benchmarks/findings.py runs/demo [--unit session] [--runs unison multilevel …] [--against mgcma …]

For every run in the folder: UA over everything and over each kind (the tone of voice, the words, both, the
stress that inverts a word's meaning), mean and spread over seeds; and its differences to the runs that it
should beat (or to those of ``--against``), over the seeds that both have, with paired 95 % intervals over
sessions (five), or over speakers with ``--unit speaker`` (ten, of whom pairs talk with each other). Nothing
is trained; ``ratio`` is its UA over that of text alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from undertone.evaluation import facts, metrics, runs, significance

KINDS = ("prosody", "words", "both", "stress")
RIVALS = ("text", "speech", "score", "unison")


def tallies(
    run: runs.Run, part: np.ndarray, unit: str, seeds: set[int] | None = None
) -> significance.Tallies:
    """Per-unit tables of the utterances in ``part``, of all seeds or of these."""
    made = run.predictions
    kept_seeds = [i for i, seed in enumerate(made.seeds) if seeds is None or seed in seeds]
    names = facts.grouping(run.facts, made.ids, unit)
    kept = np.flatnonzero(part)
    return significance.tally(
        made.truth[kept], made.predicted()[kept_seeds][:, kept], [names[i] for i in kept], len(made.labels)
    )


def parts(run: runs.Run) -> dict[str, np.ndarray]:
    """Masks of all utterances, and of those of each kind."""
    kinds = np.array([run.facts[i]["kind"] for i in run.predictions.ids])
    return {"all": np.ones(len(kinds), bool)} | {kind: kinds == kind for kind in KINDS}


def scores(run: runs.Run, part: np.ndarray) -> list[float]:
    """UA of each seed over ``part``."""
    made = run.predictions
    return [metrics.ua(made.truth[part], row[part], len(made.labels)) for row in made.predicted()]


def against(ours: runs.Run, theirs: runs.Run, part: np.ndarray, unit: str) -> dict[str, float]:
    both = set(ours.predictions.seeds) & set(theirs.predictions.seeds)
    gap = significance.paired(tallies(ours, part, unit, both), tallies(theirs, part, unit, both))
    return {
        "difference": round(gap.difference.value, 4),
        "low": round(gap.difference.low, 4),
        "high": round(gap.difference.high, 4),
        "p": round(gap.p, 4),
    }


def line(
    run: runs.Run, others: dict[str, runs.Run], unit: str, rivals: Sequence[str] = RIVALS
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": f"planted/{run.name}-vs-text", "seeds": len(run.predictions.seeds)}
    for name, part in parts(run).items():
        row[name] = round(float(np.mean(scores(run, part))), 4)
    row["spread"] = (
        round(float(np.std(scores(run, parts(run)["all"]), ddof=1)), 4) if row["seeds"] > 1 else None
    )
    whole = significance.interval(tallies(run, parts(run)["all"], unit), "ua")
    row["interval"] = [round(whole.low, 4), round(whole.high, 4)]
    row["seconds"] = round(run.seconds or 0.0)
    if "text" in others:
        text = float(np.mean(scores(others["text"], parts(run)["all"])))
        row["ratio"] = round(row["all"] / text, 4)
    for rival in (r for r in rivals if r in others and r != run.name):
        for name in ("all", "stress"):
            row[f"{name} - {rival}"] = against(run, others[rival], parts(run)[name], unit)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--unit", choices=["session", "speaker"], default="session")
    parser.add_argument("--runs", nargs="+", default=None)
    parser.add_argument("--against", nargs="+", default=list(RIVALS))
    parser.add_argument("--quick", action="store_true", help="no difference: reading takes seconds")
    chosen = parser.parse_args()
    folders = sorted(
        p.parent for p in chosen.folder.glob("*/card.json") if (p.parent / "split.json").is_file()
    )
    if not folders:
        print(f"skipped: no runs in {chosen.folder}; undertone demo makes them", file=sys.stderr)
    others: dict[str, runs.Run] = {}
    for folder in folders:
        if chosen.runs is None or folder.name in chosen.runs or folder.name in chosen.against:
            others[folder.name] = runs.read(folder)
    for name, run in others.items():
        if chosen.runs is None or name in chosen.runs:
            print(json.dumps(line(run, others, chosen.unit, chosen.against)), flush=True)


if __name__ == "__main__":
    main()
