"""Boundaries for a manifest: every utterance aligned; those that failed are kept and listed.

Outcomes are written to a journal beside the result as they come, so that a run that was stopped goes on
where it was.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from undertone import audio
from undertone import manifest as manifests
from undertone.alignment.sources import open_source
from undertone.errors import AlignmentError, AudioError, ConfigError, TranscriptMismatch, UsageError, no_such
from undertone.experiment.aligned import AlignmentRequest, Journal, Outcome
from undertone.files import spawned_pool
from undertone.progress import Watch
from undertone.types import DOUBT, Aligner, Utterance

__all__ = ["ALIGNERS", "Summary", "after_aligning", "align", "reasons", "start_aligner"]

ALIGNERS = {
    "given": "boundaries in the manifest, in TextGrids beside the recordings, or in tables (--from)",
    "sphinx": "English words, syllables and phones, offline",
    "ctc": "words by a Hugging Face CTC recogniser of any language (--model)",
    "asr": "other words: those that a recogniser reads, in place of the transcript (--model; extra 'asr')",
}
"""Every method, and what it takes."""
DOUBTFUL = 0.5
"""An utterance whose words' mean confidence is below is counted as of low confidence."""


@dataclass(frozen=True)
class Summary:
    """What an alignment came to."""

    manifest: str
    utterances: int
    aligned: int
    failed: Mapping[str, str]
    """Reason by id."""
    refused: tuple[str, ...]
    """Ids, of the failed, whose recording holds other words than the transcript."""
    doubtful: tuple[str, ...]
    """Ids that were aligned, but of low confidence."""
    kept: tuple[str, ...]
    """Ids, of the aligned, that are below the gate and were kept on request."""
    resumed: int
    """How many an earlier run had done."""
    audio_s: float
    work_s: float
    seconds: float

    @property
    def speed(self) -> float | None:
        """Seconds of audio a second of processor time."""
        return self.audio_s / self.work_s if self.work_s else None


def align(
    source: Path,
    out: Path,
    request: AlignmentRequest,
    *,
    jobs: int = 1,
    watch: Watch | None = None,
) -> Summary:
    """Align every utterance of the manifest ``source`` and write the manifest ``out``."""
    began = time.monotonic()
    if request.method not in ALIGNERS:
        raise UsageError(no_such("aligner", request.method, ALIGNERS))
    manifests.refuse_output(out)
    manifest = manifests.read(source)
    utterances = manifest.resolved()
    out.parent.mkdir(parents=True, exist_ok=True)
    own = Utterance.without_transcript if request.method == "asr" else None
    journal = Journal(out.with_name(out.name + ".journal"), request, own)
    done = journal.read(utterances)
    waiting = [u for u in utterances if u.id not in done]
    resumed = len(done)
    with journal:
        for outcome in _outcomes(waiting, request, jobs):
            done[outcome.utterance.id] = outcome
            journal.add(outcome)
            if watch:
                watch(len(done), len(utterances))
    outcomes = [done[u.id] for u in utterances]
    summary = _summary(out, outcomes, resumed, time.monotonic() - began)
    manifests.write(out, (o.utterance for o in outcomes), after_aligning(manifest.meta, request, summary))
    journal.path.unlink(missing_ok=True)
    return summary


def after_aligning(meta: manifests.Meta, request: AlignmentRequest, summary: Summary) -> manifests.Meta:
    """The sidecar of an aligned manifest."""
    return meta.after(
        "align",
        method=request.method,
        model=request.model,
        settings=dict(request.settings),
        aligned=summary.aligned,
        failed=dict(summary.failed),
        **({"kept_doubtful": len(summary.kept)} if request.keep_doubtful else {}),
    )


def _summary(out: Path, outcomes: Sequence[Outcome], resumed: int, seconds: float) -> Summary:
    failed = {o.utterance.id: o.reason for o in outcomes if o.reason is not None}
    doubtful = [o for o in outcomes if (sure := o.confidence) is not None and sure < DOUBTFUL]
    return Summary(
        manifest=str(out),
        utterances=len(outcomes),
        aligned=len(outcomes) - len(failed),
        failed=failed,
        refused=tuple(o.utterance.id for o in outcomes if o.refused),
        doubtful=tuple(o.utterance.id for o in doubtful),
        kept=tuple(o.utterance.id for o in outcomes if o.utterance.doubt is not None),
        resumed=resumed,
        audio_s=sum(o.audio_s for o in outcomes),
        work_s=sum(o.work_s for o in outcomes),
        seconds=seconds,
    )


def reasons(summary: Summary) -> Counter[str]:
    """How often each kind of failure occurred: the reason without file and numbers."""
    return Counter(_kind(reason) for reason in summary.failed.values())


def _kind(reason: str) -> str:
    without_file = reason.partition(" (")[0].rpartition(": ")[2]
    return re.sub(r"\d+(\.\d+)?", "…", without_file)


# ---- the work ---------------------------------------------------------------------------------------


def start_aligner(request: AlignmentRequest) -> Callable[[Utterance], Outcome]:
    """A function that aligns one utterance; its models are loaded once."""
    if request.method == "given":
        lookup = open_source(Path(request.source) if request.source else None)
        return lambda utterance: _given(utterance, lookup)
    if request.method == "asr":
        from undertone.experiment.recognised import reader

        return reader(request.model)
    aligner = _build(request)
    return lambda utterance: _aligned(utterance, aligner, request.keep_doubtful)


def _outcomes(utterances: Sequence[Utterance], request: AlignmentRequest, jobs: int) -> Iterator[Outcome]:
    if request.method == "given" or jobs <= 1 or len(utterances) <= 1:
        if utterances:
            yield from map(start_aligner(request), utterances)
    else:
        yield from _spawned(utterances, request, min(jobs, len(utterances)))


def _given(utterance: Utterance, lookup: Callable[[Utterance], Any]) -> Outcome:
    bare = utterance.without_alignment()
    try:
        alignment = lookup(utterance)
    except AlignmentError as error:
        return Outcome(bare, str(error))
    if alignment is None or not alignment.tiers:
        return Outcome(bare, "no boundaries are given for it")
    kept = utterance if alignment == utterance.alignment else bare  # a doubtful one keeps its mark
    return Outcome(replace(kept, alignment=alignment))


def _build(request: AlignmentRequest) -> Aligner:
    if request.method == "sphinx":
        from undertone.alignment.sphinx.aligner import SphinxAligner, SphinxConfig

        return SphinxAligner(SphinxConfig.parse(request.settings, "sphinx"))
    from undertone.alignment.ctc import CtcAligner, CtcConfig

    if request.model is None:
        raise ConfigError("the ctc aligner needs a recogniser: --model NAME or DIR")
    return CtcAligner(CtcConfig.parse({**request.settings, "model": request.model}, "ctc"))


def _aligned(utterance: Utterance, aligner: Aligner, keep_doubtful: bool = False) -> Outcome:
    """The outcome of one utterance; whatever is wrong with it becomes a reason."""
    bare = utterance.without_alignment()
    language = getattr(aligner, "language", None)
    if not (utterance.text or "").strip():
        return Outcome(bare, "it has no transcript")
    if language and utterance.language and utterance.language[:2].lower() != language[:2].lower():
        return Outcome(bare, f"its language is '{utterance.language}', the aligner's '{language}'")
    began, seconds = time.process_time(), 0.0
    try:
        wave = audio.load(utterance.audio, utterance.start, utterance.end)
        seconds = len(wave) / audio.RATE
        alignment = aligner.align(wave, audio.RATE, utterance.text or "")
    except (AlignmentError, AudioError) as error:
        mismatch = error if isinstance(error, TranscriptMismatch) else None
        if mismatch is None or mismatch.alignment is None or not keep_doubtful:
            return Outcome(bare, str(error), mismatch is not None, seconds, time.process_time() - began)
        bare = replace(bare, extra={**bare.extra, DOUBT: mismatch.confidence})
        alignment = mismatch.alignment
    aligned = replace(bare, alignment=alignment)
    return Outcome(aligned, None, False, seconds, time.process_time() - began)


_AT_A_TIME = 8
"""Utterances a process takes at once: enough to make sending them cheap, few enough to lose."""
_align_one: Callable[[Utterance], Outcome] | None = None
"""Of a spawned process."""


def _spawned(utterances: Sequence[Utterance], request: AlignmentRequest, jobs: int) -> Iterator[Outcome]:
    size = max(1, min(_AT_A_TIME, len(utterances) // jobs))
    pieces = [utterances[i : i + size] for i in range(0, len(utterances), size)]
    with spawned_pool(jobs, _start, (request,)) as pool:
        for future in as_completed([pool.submit(_work, piece) for piece in pieces]):
            yield from future.result()


def _start(request: AlignmentRequest) -> None:
    global _align_one
    _align_one = start_aligner(request)


def _work(utterances: Iterable[Utterance]) -> list[Outcome]:
    assert _align_one is not None  # the initializer has run
    return [_align_one(utterance) for utterance in utterances]
