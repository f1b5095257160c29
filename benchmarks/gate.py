"""How often does the aligner's gate refuse a right transcript, and how often does it notice a wrong one?

In sight for the two thresholds: the right transcripts of 8 readers (the TIMIT sample) and 18 actors
(RAVDESS). A speaker's own are measured with thresholds chosen without that speaker; wrong transcripts have no
part in choosing, nor have the synthesised voices and the noise. Recordings are those of UNDERTONE_DATA.

    python benchmarks/gate.py [--quick]      --quick: every fifth recording
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from undertone.files import one_thread

one_thread()  # before numpy is imported

import numpy as np  # noqa: E402
from scipy.stats import beta, t  # noqa: E402

from _agreement import clips  # noqa: E402
from _timing import line  # noqa: E402
from undertone import audio  # noqa: E402
from undertone.alignment.sphinx.aligner import (  # noqa: E402
    LEAST_FIT,
    LEAST_SPREAD,
    SphinxAligner,
    SphinxConfig,
)
from undertone.alignment.transcript import normalise  # noqa: E402
from undertone.errors import AlignmentError  # noqa: E402

if TYPE_CHECKING:
    from undertone.types import Wave

REFUSED = 0.005
"""Of right transcripts, the share that each clue may refuse in the corpus where it refuses most."""
SHIPPED = (LEAST_FIT, LEAST_SPREAD)
IN_SIGHT = ("readers", "actors")


@dataclass(frozen=True)
class Reading:
    """One recording with its right transcript; ``wrong``: others are tried with it too."""

    corpus: str
    speaker: str
    wave: Wave
    text: str
    wrong: bool = False
    damaged: bool = False


@dataclass(frozen=True)
class Measured:
    """The clues of one transcript."""

    corpus: str
    speaker: str
    kind: str
    values: tuple[float, float]
    damaged: bool

    def refused(self, thresholds: tuple[float, float]) -> bool:
        return any(value < least for value, least in zip(self.values, thresholds, strict=True))


def readers(data: Path, every: int, decibels: float | None, seed: int = 0) -> Iterator[Reading]:
    """The TIMIT sample, with white noise at a ratio to each clip's power where one is given."""
    rng = np.random.default_rng(seed)
    for clip in clips(data / "timit_sample", every):
        wave, corpus = clip.wave, "readers"
        if decibels is not None:
            power = float((wave**2).mean()) / 10 ** (decibels / 10)
            wave = (wave + rng.normal(0, np.sqrt(power), len(wave))).astype(np.float32)
            corpus = f"readers-noise-{decibels:.0f}db"
        yield Reading(corpus, clip.speaker, wave, clip.text, True, clip.damaged)


def actors(data: Path, every: int) -> Iterator[Reading]:
    """RAVDESS: two sentences in eight emotions; wrong transcripts for one recording in 20."""
    with (data / "ravdess" / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::every]
    for number, row in enumerate(rows):
        wave = audio.load(data / "ravdess" / row["path"])
        yield Reading("actors", row["speaker"], wave, row["transcript"], number % 20 == 7)


def synthesised(size: int) -> Iterator[Reading]:
    """The demo corpus' voices."""
    from undertone.corpora.demo.corpus import Demo

    with tempfile.TemporaryDirectory() as folder:
        for u in Demo(Path(folder), size=size).read():
            wave = audio.load(Path(folder) / u.audio, u.start, u.end)
            yield Reading("synthesised", u.speaker or "", wave, u.text or "")


def wrong_texts(text: str, pool: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
    """Wrong transcripts by kind; words come from the other sentences of ``pool``."""
    words = text.split()
    count = len(words)
    third = max(1, round(count / 3))
    strange = [w for other in pool if other != text for w in other.split() if w.lower() not in text.lower()]
    others = " ".join(str(other) for other in rng.permutation(pool) if other != text).split()
    first, last = int(rng.integers(0, count - third + 1)), int(rng.integers(0, count + 1))
    one, some = int(rng.integers(0, count)), set(rng.choice(count, third, replace=False).tolist())
    new = [str(word) for word in rng.choice(strange, count + third, replace=False)]
    return {
        "another_sentence": " ".join(others[:count]),
        "third_swapped": " ".join(new[i] if i in some else word for i, word in enumerate(words)),
        "third_added": " ".join([*words[:last], *new[count:], *words[last:]]),
        "third_dropped": " ".join([*words[:first], *words[first + third :]]),
        "one_swapped": " ".join(new[i] if i == one else word for i, word in enumerate(words)),
    }


def measured(
    readings: Iterator[Reading], aligner: SphinxAligner, pool: Sequence[str], seed: int = 0
) -> Iterator[Measured]:
    """The clues of every recording with its right transcript and, where wanted, with wrong ones."""
    rng = np.random.default_rng(seed)
    for one in readings:
        texts = {"right": one.text, **(wrong_texts(one.text, pool, rng) if one.wrong else {})}
        for kind, text in texts.items():
            try:
                values = aligner.clues(aligner.find(one.wave, audio.RATE, normalise(text)))
            except AlignmentError:  # too many words for the recording
                values = (-np.inf, -np.inf)
            yield Measured(one.corpus, one.speaker, kind, values, one.damaged)


def thresholds(rows: Sequence[Measured]) -> tuple[float, float]:
    """Each clue's threshold: ``REFUSED`` of the right transcripts are below it, where most are."""
    least = [np.inf, np.inf]
    for corpus in IN_SIGHT:
        right = np.array([r.values for r in rows if r.corpus == corpus and r.kind == "right"])
        if len(right):
            at = np.sort(right, axis=0)[int(REFUSED * len(right))]
            least = [min(a, float(b)) for a, b in zip(least, at, strict=True)]
    return least[0], least[1]


def interval(hits: int, of: int) -> list[float]:
    """The exact 95 % interval of a share of independent cases."""
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return [round(float(low), 4), round(float(high), 4)]


def over_speakers(shares: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean over speakers, whose recordings belong together; None: all are alike."""
    mean, error = float(np.mean(shares)), float(np.std(shares, ddof=1) / np.sqrt(len(shares)))
    reach = float(t.ppf(0.975, len(shares) - 1)) * error
    return [round(max(0.0, mean - reach), 4), round(mean + reach, 4)] if error else None


def report(rows: Sequence[Measured], corpus: str, own: Mapping[str, tuple[float, float]]) -> None:
    """One line: the right transcripts that are refused and the wrong ones that are noticed.

    ``own``: the thresholds that were chosen without each speaker; those of the shipped gate stand beside.
    """
    held = [r for r in rows if r.corpus == corpus]
    right = [r for r in held if r.kind == "right"]
    refused = [r for r in right if r.refused(own[r.speaker])]
    whole = [r for r in right if not r.damaged]
    kinds = list(dict.fromkeys(r.kind for r in held if r.kind != "right"))
    noticed = {k: [r.refused(own[r.speaker]) for r in held if r.kind == k] for k in kinds}
    per_speaker = {
        s: [r.refused(own[s]) for r in right if r.speaker == s] for s in sorted({r.speaker for r in right})
    }
    line(
        f"gate/{corpus}",
        right=len(right),
        right_refused=len(refused),
        right_refused_share=len(refused) / len(right),
        interval_95=interval(len(refused), len(right)),
        interval_95_over_speakers=over_speakers([float(np.mean(s)) for s in per_speaker.values()]),
        speakers=len(per_speaker),
        refused_by_speaker={s: sum(hits) for s, hits in per_speaker.items() if any(hits)},
        damaged_recordings=len(right) - len(whole),
        damaged_refused=sum(r.damaged for r in refused),
        right_refused_by_shipped_gate=sum(r.refused(SHIPPED) for r in right),
        wrong_of_each_kind=len(next(iter(noticed.values()))) if noticed else 0,
        wrong_noticed={k: float(np.mean(v)) for k, v in noticed.items()},
        wrong_noticed_by_shipped_gate={
            k: float(np.mean([r.refused(SHIPPED) for r in held if r.kind == k])) for k in kinds
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    if "UNDERTONE_DATA" not in os.environ:
        print("UNDERTONE_DATA is not set: real recordings are skipped", file=sys.stderr)
        return
    data, every = Path(os.environ["UNDERTONE_DATA"]), 5 if quick else 1
    aligner = SphinxAligner(SphinxConfig(gate=0))
    pool = sorted({clip.text for clip in clips(data / "timit_sample", 1)})
    rows = [
        row
        for readings in (
            readers(data, every, None),
            readers(data, every * 4, 10.0),
            actors(data, every),
            synthesised(20 if quick else 60),
        )
        for row in measured(readings, aligner, pool)
    ]
    speakers = {(r.corpus.partition("-")[0], r.speaker) for r in rows}
    own = {
        key: thresholds([r for r in rows if (r.corpus.partition("-")[0], r.speaker) != key])
        for key in speakers
    }
    for corpus in dict.fromkeys(r.corpus for r in rows):
        report(rows, corpus, {s: least for (c, s), least in own.items() if c == corpus.partition("-")[0]})
    fit, spread = thresholds(rows)
    chosen = np.array(list(own.values()))
    line(
        "gate/thresholds",
        of_all=[fit, spread],
        shipped=list(SHIPPED),
        without_a_speaker_least=chosen.min(axis=0).tolist(),
        without_a_speaker_greatest=chosen.max(axis=0).tolist(),
        in_sight=list(IN_SIGHT),
    )


if __name__ == "__main__":
    main()
