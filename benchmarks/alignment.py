"""How near are boundaries to those that people marked, and how fast is it? Opponent: pocketsphinx.

Every value is of speakers that nothing was fitted to: the table of boundary offsets is fitted anew without
each speaker in turn. Recordings are those of UNDERTONE_DATA; without it their lines are skipped, with the
reason on stderr. ``gate.py`` measures which transcripts are refused.

    python benchmarks/alignment.py [--quick]      --quick: every fifth utterance, no demo corpus
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from undertone.files import one_thread

one_thread()  # before numpy is imported: speed is per core

import numpy as np  # noqa: E402

from _agreement import Clip, clips, fitted, median_ms, observations, phone_errors, share, word_errors  # noqa: E402
from _timing import line  # noqa: E402
from undertone import audio  # noqa: E402
from undertone.alignment.boundaries import KINDS, LATENESS, Lateness  # noqa: E402
from undertone.alignment.sphinx.aligner import SphinxAligner, SphinxConfig, tiers  # noqa: E402
from undertone.alignment.syllables import syllabify  # noqa: E402
from undertone.alignment.table import read_table  # noqa: E402
from undertone.alignment.transcript import normalise  # noqa: E402

UNMOVED: Lateness = {a: dict.fromkeys(LATENESS, 0.0) for a in LATENESS}


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
    sound: list[float] = []
    by_speaker = {}
    for speaker in sorted({c.speaker for c in held}):
        table = fitted([row for c in held if c.speaker != speaker for row in raw[c.name]])
        own: list[float] = []
        for clip in (c for c in held if c.speaker == speaker):
            alignment = tiers(paths[clip.name], spoken[clip.name], table)
            own += (on_words := word_errors(clip, alignment))
            sound += [] if clip.damaged else on_words
            errors, *numbers = phone_errors(clip, alignment)
            phones += errors
            counts += numbers
        by_speaker[speaker] = round(share(own), 3)
        words += own
    theirs, failed, theirs_s = stock(held)
    line(
        "alignment/words-clean/stock-pocketsphinx",
        ratio=median_ms(theirs) / median_ms(words),
        ours_median_ms=median_ms(words),
        theirs_median_ms=median_ms(theirs),
        ours_within_50ms=share(words),
        theirs_within_50ms_of_those_aligned=share(theirs),
        ours_failed=0,
        theirs_failed=failed,
        utterances=len(held),
        within_50ms_by_speaker=by_speaker,
        within_50ms_of_undamaged=share(sound),
        median_ms_of_undamaged=median_ms(sound),
        damaged=sum(clip.damaged for clip in held),
    )
    line(
        "alignment/phones-clean",
        median_ms=median_ms(phones),
        within_50ms=share(phones),
        phones=int(counts[0]),
        deletions=int(counts[1]),
        insertions=int(counts[2]),
    )
    line(
        "alignment/speed/stock-pocketsphinx",
        ratio=theirs_s / ours_s,
        ours_s=ours_s,
        theirs_s=theirs_s,
        times_real_time_per_core=seconds / ours_s,
    )


def nested(held: Sequence[Clip]) -> None:
    """The search's weights chosen anew without each speaker, against choosing them on all."""
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
    line(
        "alignment/words-clean-nested-choice",
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
        words = [s for s in decoder.seg() or () if not s.word.startswith(("<", "[", "+"))]
        if len(words) != len(clip.words):
            failed += 1
            continue
        for s, (a, b) in zip(words, clip.words, strict=True):
            errors += [s.start_frame * 0.01 + 0.0078 - a, (s.end_frame + 1) * 0.01 + 0.0078 - b]
    return errors, failed, time.process_time() - began


def noise(held: Sequence[Clip], aligner: SphinxAligner, decibels: float = 10.0, seed: int = 0) -> None:
    """White noise at a ratio to the whole clip's power. No path is left out; refusals are counted."""
    rng = np.random.default_rng(seed)
    errors: list[float] = []
    refused = 0
    for clip in held:
        power = float((clip.wave**2).mean()) / 10 ** (decibels / 10)
        wave = (clip.wave + rng.normal(0, np.sqrt(power), len(clip.wave))).astype(np.float32)
        words = normalise(clip.text)
        path = aligner.find(wave, audio.RATE, words)
        refused += aligner.evidence(path) < 0
        errors += word_errors(clip, tiers(path, words))
    line(
        "alignment/words-noise-10db",
        median_ms=median_ms(errors),
        within_50ms=share(errors),
        failed=0,
        refused_by_default_gate=int(refused),
        utterances=len(held),
        seed=seed,
    )


def synthesised(aligner: SphinxAligner, size: int = 120) -> None:
    """The demo corpus, whose times are exact."""
    from undertone.corpora.demo.corpus import Demo

    errors: list[float] = []
    failed = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        utterances = list(Demo(Path(folder), size=size).read())
        for u in utterances:
            wave = audio.load(Path(folder) / u.audio, u.start, u.end)
            words = normalise(u.text or "")
            path = aligner.find(wave, audio.RATE, words)
            refused += aligner.evidence(path) < 0
            aligned = tiers(path, words).word
            truth = u.alignment.word if u.alignment else ()
            if len(aligned) != len(truth):
                failed += 1
                continue
            for word, true in zip(aligned, truth, strict=True):
                errors += [word.start - true.start, word.end - true.end]
    line(
        "alignment/words-synthesised",
        median_ms=median_ms(errors),
        within_50ms=share(errors),
        utterances=len(utterances),
        other_word_counts=failed,
        refused_by_default_gate=int(refused),
    )


def german_syllables(folder: Path) -> None:
    """Our syllables of the phones that people marked against their syllables, word by word."""
    from undertone.alignment.nesting import disjoint, parents

    words, syllables, phones = (read_table(folder / f"{n}.csv") for n in ("words", "syllables", "phones"))
    agree = []
    for name, own in words.items():
        if name not in phones or name not in syllables:
            continue
        spoken, timed = disjoint(own), disjoint(phones[name])
        marked = parents(disjoint(syllables[name]), spoken)
        inside = parents(timed, spoken)
        for i in range(len(spoken)):
            labels = [p.text for p, word in zip(timed, inside, strict=True) if word == i]
            agree.append(len(syllabify(labels, "de")) == marked.count(i))
    line("alignment/syllable-counts-german", agree=float(np.mean(agree)), words=len(agree))


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
        if options.nested:
            nested(held)
        german_syllables(Path(data) / "emodb")
    if not quick or data is None:
        synthesised(aligner, 40 if quick else 120)


if __name__ == "__main__":
    main()
