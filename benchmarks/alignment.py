"""How near do boundaries come to people's, and how fast? Opponent: pocketsphinx' own aligner.

Every figure is on speakers that nothing was fitted to: the table of boundary offsets and the score
gate are fitted anew without each speaker in turn. Recordings by UNDERTONE_DATA; lines are skipped,
with the reason on stderr, where it is not set.

    python benchmarks/alignment.py [--quick]      --quick: every fifth utterance, no demo corpus
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # speed is per core

import numpy as np  # noqa: E402

from undertone import audio  # noqa: E402
from undertone.alignment.boundaries import KINDS, LATENESS, Lateness, kind  # noqa: E402
from undertone.alignment.sphinx.aligner import EVIDENCE_MIDDLE, SphinxAligner, SphinxConfig, tiers  # noqa: E402
from undertone.alignment.syllables import syllabify  # noqa: E402
from undertone.alignment.table import read_table  # noqa: E402
from undertone.alignment.transcript import normalise  # noqa: E402
from undertone.errors import AlignmentError  # noqa: E402
from undertone.types import Alignment, Segment  # noqa: E402

NEAR = 0.05
SHRINK = 20
"""Observations' worth of pull of a pair of kinds towards the median of all."""
DECOYS = 4
"""Wrong transcripts tried with each recording."""
UNMOVED: Lateness = {a: dict.fromkeys(LATENESS, 0.0) for a in LATENESS}


@dataclass
class Clip:
    name: str
    speaker: str
    text: str
    wave: Any
    words: list[tuple[float, float]]
    phones: list[tuple[float, float, str]]


def clips(folder: Path, every: int) -> list[Clip]:
    """The utterances of the hand-labelled sample."""
    rows: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for table, column in (("words.csv", "word"), ("phones.csv", "phone")):
        with (folder / table).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                rows[table + row["path"]].append((float(row["start_s"]), float(row["end_s"]), row[column]))
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))[::every]
    return [
        Clip(
            m["path"],
            m["speaker"],
            m["transcript"],
            audio.load(folder / m["path"]),
            [(a, b) for a, b, _ in rows["words.csv" + m["path"]]],
            rows["phones.csv" + m["path"]],
        )
        for m in listed
    ]


# ---- agreement --------------------------------------------------------------------------------------

FOLD = {
    "ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "el": "l", "em": "m",
    "en": "n", "nx": "n", "eng": "ng", "zh": "sh", "ux": "uw", "dx": "t", "h#": "", "pau": "",
    "epi": "", "q": "",
}  # fmt: skip
"""61 phones to 39 (Lee & Hon 1989), silence and glottal stop left out; a flap is the dictionary's t."""


def fold(phone: str) -> str:
    bare = phone.lower().rstrip("012")
    return FOLD.get(bare, bare)


def joined(rows: Sequence[tuple[float, float, str]]) -> list[Segment]:
    """The folded phones, a closure and its release in one; an unreleased closure is its stop."""
    result: list[Segment] = []
    pending = False
    for start, end, phone in rows:
        if phone.endswith("cl"):
            result.append(Segment(phone[0], start, end))
            pending = True
            continue
        name = fold(phone)
        if pending and (result[-1].text, name) in {*((s, s) for s in "pbtdkg"), ("t", "ch"), ("d", "jh")}:
            result[-1] = Segment(name, result[-1].start, end)
        elif name:
            result.append(Segment(name, start, end))
        pending = False
    return result


def matches(reference: Sequence[str], found: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs along the cheapest edit path."""
    cost = np.zeros((len(reference) + 1, len(found) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(cost)), np.arange(cost.shape[1])
    for i, r in enumerate(reference):
        for j, f in enumerate(found):
            cost[i + 1, j + 1] = min(cost[i, j] + (r != f), cost[i, j + 1] + 1, cost[i + 1, j] + 1)
    pairs, i, j = [], len(reference), len(found)
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + (reference[i - 1] != found[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def word_errors(clip: Clip, found: Alignment) -> list[float]:
    """Signed errors of both edges of every word, seconds."""
    return [e for w, (a, b) in zip(found.word, clip.words, strict=True) for e in (w.start - a, w.end - b)]


def phone_errors(clip: Clip, found: Alignment) -> tuple[list[float], int, int, int]:
    """Signed errors of both edges of phones that match, and how many phones there are, were missed, added."""
    truth = joined(clip.phones)
    names = [fold(p.text) for p in found.phone]
    pairs = matches([t.text for t in truth], names)
    same = [(truth[i], found.phone[j]) for i, j in pairs if truth[i].text == names[j]]
    errors = [e for t, p in same for e in (p.start - t.start, p.end - t.end)]
    return errors, len(truth), len(truth) - len(pairs), len(names) - len(pairs)


def share(errors: Sequence[float]) -> float:
    return float((np.abs(errors) <= NEAR).mean())


def median_ms(errors: Sequence[float]) -> float:
    return float(np.median(np.abs(errors)) * 1000)


# ---- offsets without the speaker -----------------------------------------------------------------------


def observations(clip: Clip, found: Alignment) -> Iterator[tuple[str, str, float]]:
    """Kinds left and right of every boundary that people marked, and how late it was found."""
    phones = found.phone
    around = ["SIL", *(p.text for p in phones), "SIL"]
    after_pause = {i + 1 for i, (p, n) in enumerate(pairwise(phones)) if p.end != n.start}

    def sides(j: int) -> tuple[str, str]:
        left = "SIL" if j in after_pause else around[j]
        right = "SIL" if j + 1 in after_pause else around[j + 2]
        return kind(left), kind(right)

    truth = joined(clip.phones)
    names = [fold(p.text) for p in phones]
    for i, j in matches([t.text for t in truth], names):
        if truth[i].text == names[j]:
            left, right = sides(j)
            yield left, kind(phones[j].text), phones[j].start - truth[i].start
            yield kind(phones[j].text), right, phones[j].end - truth[i].end
    for w, (a, b) in zip(found.word, clip.words, strict=True):
        own = [j for j, p in enumerate(phones) if w.start <= p.start and p.end <= w.end]
        yield sides(own[0])[0], kind(phones[own[0]].text), w.start - a
        yield kind(phones[own[-1]].text), sides(own[-1])[1], w.end - b


def fitted(rows: Sequence[tuple[str, str, float]]) -> Lateness:
    """The table of offsets, milliseconds."""
    by_pair = defaultdict(list)
    for left, right, late in rows:
        by_pair[left, right].append(late * 1000)
    common = float(np.median([late * 1000 for *_, late in rows]))

    def pull(values: list[float]) -> float:
        return (float(np.median(values)) * len(values) + common * SHRINK) / (len(values) + SHRINK)

    return {a: {b: pull(by_pair[a, b]) if (a, b) in by_pair else common for b in LATENESS} for a in LATENESS}


# ---- what is measured --------------------------------------------------------------------------------------


def say(name: str, **values: Any) -> None:
    short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    print(json.dumps({"name": f"alignment/{name}", **short, "load": load}), flush=True)


def read_speech(held: Sequence[Clip], aligner: SphinxAligner) -> None:
    """Accuracy on clean speech, speaker by speaker, and speed, against pocketsphinx' own aligner."""
    began = time.process_time()
    for clip in held:
        aligner.align(clip.wave, audio.RATE, clip.text)
    ours_s = time.process_time() - began
    seconds = sum(len(c.wave) for c in held) / audio.RATE
    spoken = {c.name: normalise(c.text) for c in held}
    paths = {c.name: aligner.find(c.wave, audio.RATE, spoken[c.name]) for c in held}
    raw = {c.name: list(observations(c, tiers(paths[c.name], spoken[c.name], UNMOVED))) for c in held}
    words: list[float] = []
    phones: list[float] = []
    counts = np.zeros(3, int)
    by_speaker = {}
    for speaker in sorted({c.speaker for c in held}):
        table = fitted([row for c in held if c.speaker != speaker for row in raw[c.name]])
        own: list[float] = []
        for clip in (c for c in held if c.speaker == speaker):
            found = tiers(paths[clip.name], spoken[clip.name], table)
            own += word_errors(clip, found)
            errors, *numbers = phone_errors(clip, found)
            phones += errors
            counts += numbers
        by_speaker[speaker] = round(share(own), 3)
        words += own
    theirs, failed, theirs_s = stock(held)
    say(
        "words-clean/stock-pocketsphinx",
        ratio=median_ms(theirs) / median_ms(words),
        ours_median_ms=median_ms(words),
        theirs_median_ms=median_ms(theirs),
        ours_within_50ms=share(words),
        theirs_within_50ms_of_those_aligned=share(theirs),
        ours_failed=0,
        theirs_failed=failed,
        utterances=len(held),
        within_50ms_by_speaker=by_speaker,
    )
    say(
        "phones-clean",
        median_ms=median_ms(phones),
        within_50ms=share(phones),
        phones=int(counts[0]),
        deletions=int(counts[1]),
        insertions=int(counts[2]),
    )
    say(
        "speed/stock-pocketsphinx",
        ratio=theirs_s / ours_s,
        ours_s=ours_s,
        theirs_s=theirs_s,
        times_real_time_per_core=seconds / ours_s,
    )


def nested(held: Sequence[Clip]) -> None:
    """The search's weights chosen anew without each speaker: what choosing them on all is worth."""
    spoken = {c.name: normalise(c.text) for c in held}
    errors: dict[tuple[float, float, float], dict[str, list[float]]] = {}
    for shape in (4.0, 8.0):
        for weight in (3.0, 6.0, 10.0):
            for silence in (0.2, 0.3):
                weights = {"duration_shape": shape, "duration_weight": weight, "loudness_silence": silence}
                other = SphinxAligner(SphinxConfig(gate=0, **weights))
                own = errors[shape, weight, silence] = defaultdict(list)
                for clip in held:
                    path = other.find(clip.wave, audio.RATE, spoken[clip.name])
                    own[clip.speaker] += word_errors(clip, tiers(path, spoken[clip.name]))
    speakers = sorted({c.speaker for c in held})
    chosen = {
        s: max(errors, key=lambda k: share([e for o in speakers if o != s for e in errors[k][o]]))
        for s in speakers
    }
    words = [e for s in speakers for e in errors[chosen[s]][s]]
    shares = [share([e for own in kinds.values() for e in own]) for kinds in errors.values()]
    say(
        "words-clean-nested-choice",
        median_ms=median_ms(words),
        within_50ms=share(words),
        worst_of_grid=min(shares),
        best_of_grid=max(shares),
        chosen={s: list(k) for s, k in chosen.items()},
    )


def stock(held: Sequence[Clip]) -> tuple[list[float], int, float]:
    """pocketsphinx as it comes: errors where it aligned, failures, processor seconds."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL")
    errors, failed, began = [], 0, time.process_time()
    for clip in held:
        decoder.set_align_text(" ".join(word.text for word in normalise(clip.text)))
        decoder.start_utt()
        decoder.process_raw((clip.wave * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = [s for s in decoder.seg() or () if not s.word.startswith(("<", "[", "+"))]
        if len(found) != len(clip.words):
            failed += 1
            continue
        for s, (a, b) in zip(found, clip.words, strict=True):
            errors += [s.start_frame * 0.01 + 0.0078 - a, (s.end_frame + 1) * 0.01 + 0.0078 - b]
    return errors, failed, time.process_time() - began


def noise(held: Sequence[Clip], aligner: SphinxAligner, decibels: float = 10.0, seed: int = 0) -> None:
    """White noise at a ratio to the whole clip's power. No path is dropped; what the gate says is told."""
    rng = np.random.default_rng(seed)
    errors: list[float] = []
    refused = 0
    for clip in held:
        power = float((clip.wave**2).mean()) / 10 ** (decibels / 10)
        wave = (clip.wave + rng.normal(0, np.sqrt(power), len(clip.wave))).astype(np.float32)
        words = normalise(clip.text)
        path = aligner.find(wave, audio.RATE, words)
        refused += aligner.evidence(wave, audio.RATE, words, path) < EVIDENCE_MIDDLE
        errors += word_errors(clip, tiers(path, words))
    say(
        "words-noise-10db",
        median_ms=median_ms(errors),
        within_50ms=share(errors),
        failed=0,
        refused_by_default_gate=int(refused),
        utterances=len(held),
        seed=seed,
    )


def wrong_texts(held: Sequence[Clip], aligner: SphinxAligner, seed: int = 0) -> None:
    """Other utterances' transcripts; each speaker judged by the lowest right evidence of the others."""
    rng = np.random.default_rng(seed)
    right: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, list[float]] = defaultdict(list)
    for clip in held:
        others = [c.text for c in held if c.text != clip.text]
        for text in [clip.text, *rng.choice(others, min(DECOYS, len(others)), replace=False)]:
            words = normalise(str(text))
            try:
                path = aligner.find(clip.wave, audio.RATE, words)
                value = aligner.evidence(clip.wave, audio.RATE, words, path)
            except AlignmentError:  # too many words for the clip
                value = float("-inf")
            (right if text == clip.text else wrong)[clip.speaker].append(value)
    flagged, caught = [], []
    for speaker in right:
        gate = min(v for s, values in right.items() if s != speaker for v in values)
        flagged += [v < gate for v in right[speaker]]
        caught += [v < gate for v in wrong[speaker]]
    say(
        "wrong-transcripts",
        wrong_flagged=float(np.mean(caught)),
        right_flagged=float(np.mean(flagged)),
        wrong_flagged_by_default_gate=float(
            np.mean([v < EVIDENCE_MIDDLE for w in wrong.values() for v in w])
        ),
        right_flagged_by_default_gate=float(
            np.mean([v < EVIDENCE_MIDDLE for r in right.values() for v in r])
        ),
        right=len(flagged),
        wrong=len(caught),
        seed=seed,
    )


def below(values: Mapping[str, Sequence[float]]) -> float:
    return float(np.mean([v < EVIDENCE_MIDDLE for own in values.values() for v in own]))


def synthesised(aligner: SphinxAligner, size: int = 120) -> None:
    """The demo corpus: its times are exact."""
    from undertone.corpora.demo.corpus import Demo

    errors: list[float] = []
    failed = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        utterances = list(Demo(Path(folder), size=size).read())
        for u in utterances:
            wave = audio.load(Path(folder) / u.audio, u.start, u.end)
            words = normalise(u.text or "")
            path = aligner.find(wave, audio.RATE, words)
            refused += aligner.evidence(wave, audio.RATE, words, path) < EVIDENCE_MIDDLE
            found = tiers(path, words).word
            truth = u.alignment.word if u.alignment else ()
            if len(found) != len(truth):
                failed += 1
                continue
            for f, t in zip(found, truth, strict=True):
                errors += [f.start - t.start, f.end - t.end]
    say(
        "words-synthesised",
        median_ms=median_ms(errors),
        within_50ms=share(errors),
        utterances=len(utterances),
        other_word_counts=failed,
        refused_by_default_gate=int(refused),
    )


def german_syllables(folder: Path) -> None:
    """Our syllables of people's phones against people's syllables, word by word."""
    from undertone.alignment.nesting import disjoint, parents

    words, syllables, phones = (read_table(folder / f"{n}.csv") for n in ("words", "syllables", "phones"))
    agree = []
    for name, own in words.items():
        if name not in phones or name not in syllables:
            continue
        spoken, timed = disjoint(own), disjoint(phones[name])
        heard = parents(disjoint(syllables[name]), spoken)
        inside = parents(timed, spoken)
        for i in range(len(spoken)):
            labels = [p.text for p, word in zip(timed, inside, strict=True) if word == i]
            agree.append(len(syllabify(labels, "de")) == heard.count(i))
    say("syllable-counts-german", agree=float(np.mean(agree)), words=len(agree))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nested", action="store_true", help="also choose the search's weights per speaker")
    options = parser.parse_args()
    quick = options.quick
    assert set(KINDS) | {"pause"} == set(LATENESS)
    aligner = SphinxAligner(SphinxConfig(gate=0))
    data = os.environ.get("UNDERTONE_DATA")
    if data is None:
        print("UNDERTONE_DATA is not set: real recordings are skipped", file=sys.stderr)
    else:
        held = clips(Path(data) / "timit_sample", 5 if quick else 1)
        read_speech(held, aligner)
        noise(held, aligner)
        wrong_texts(held, aligner)
        if options.nested:
            nested(held)
        german_syllables(Path(data) / "emodb")
    if not quick or data is None:
        synthesised(aligner, 40 if quick else 120)


if __name__ == "__main__":
    main()
