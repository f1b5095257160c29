"""Boundaries for a manifest: every utterance aligned, what failed kept and listed.

Work that is done is written down beside the result as it comes, so that a run that was stopped
goes on where it was; processes are spawned and share nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from undertone import audio
from undertone import manifest as manifests
from undertone.alignment.sources import open_source
from undertone.errors import (
    AlignmentError,
    AudioError,
    ConfigError,
    TranscriptMismatch,
)
from undertone.experiment.aligned import Journal, Outcome, Request
from undertone.types import Aligner, Utterance

__all__ = ["ALIGNERS", "Outcome", "Request", "Summary", "after_aligning", "align", "reasons", "start_aligner"]

ALIGNERS = ("given", "sphinx", "ctc")
Watch: TypeAlias = Callable[[int, int], None]
"""Told how many utterances of how many are done."""
DOUBTFUL = 0.5
"""An utterance whose words' mean confidence is below is counted as of low confidence."""


@dataclass(frozen=True)
class Summary:
    """The closing account."""

    manifest: str
    utterances: int
    aligned: int
    failed: Mapping[str, str]
    """Reason by id."""
    refused: tuple[str, ...]
    """Ids, of the failed, whose recording says something else than the transcript."""
    doubtful: tuple[str, ...]
    """Ids that were aligned, but of low confidence."""
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
    request: Request,
    *,
    jobs: int = 1,
    watch: Watch | None = None,
) -> Summary:
    """Align every utterance of the manifest ``source`` and write the manifest ``out``."""
    began = time.monotonic()
    if request.method not in ALIGNERS:
        raise ConfigError(f"no aligner '{request.method}'; there are: {', '.join(ALIGNERS)}")
    held = manifests.read(source)
    utterances = held.resolved()
    out.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(out.with_name(out.name + ".journal"), request)
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
    manifests.write(out, (o.utterance for o in outcomes), after_aligning(held.meta, request, summary))
    journal.path.unlink(missing_ok=True)
    return summary


def after_aligning(meta: manifests.Meta, request: Request, summary: Summary) -> manifests.Meta:
    """The sidecar of an aligned manifest."""
    return meta.after(
        "align",
        method=request.method,
        model=request.model,
        settings=dict(request.settings),
        aligned=summary.aligned,
        failed=dict(summary.failed),
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


def start_aligner(request: Request) -> Callable[[Utterance], Outcome]:
    """What does one utterance after the other, its models loaded once."""
    if request.method == "given":
        find = open_source(Path(request.source) if request.source else None)
        return lambda utterance: _given(utterance, find)
    aligner = _build(request)
    return lambda utterance: _aligned(utterance, aligner)


def _outcomes(utterances: Sequence[Utterance], request: Request, jobs: int) -> Iterator[Outcome]:
    if request.method == "given" or jobs <= 1 or len(utterances) <= 1:
        if utterances:
            yield from map(start_aligner(request), utterances)
    else:
        yield from _spawned(utterances, request, min(jobs, len(utterances)))


def _given(utterance: Utterance, find: Callable[[Utterance], Any]) -> Outcome:
    bare = replace(utterance, alignment=None)
    try:
        alignment = find(utterance)
    except AlignmentError as error:
        return Outcome(bare, str(error))
    if alignment is None or not alignment.tiers:
        return Outcome(bare, "no boundaries are given for it")
    return Outcome(replace(utterance, alignment=alignment))


def _build(request: Request) -> Aligner:
    if request.method == "sphinx":
        from undertone.alignment.sphinx.aligner import SphinxAligner, SphinxConfig

        return SphinxAligner(SphinxConfig.parse(request.settings, "sphinx"))
    from undertone.alignment.ctc import CtcAligner, CtcConfig

    if request.model is None:
        raise ConfigError("the ctc aligner needs a recogniser: --model NAME or DIR")
    return CtcAligner(CtcConfig.parse({**request.settings, "model": request.model}, "ctc"))


def _aligned(utterance: Utterance, aligner: Aligner) -> Outcome:
    """One utterance; whatever is wrong with it becomes a reason."""
    bare = replace(utterance, alignment=None)
    speaks = getattr(aligner, "language", None)
    if not (utterance.text or "").strip():
        return Outcome(bare, "it has no transcript")
    if speaks and utterance.language and utterance.language[:2].lower() != speaks[:2].lower():
        return Outcome(bare, f"its language is '{utterance.language}', the aligner's '{speaks}'")
    began, seconds = time.process_time(), 0.0
    try:
        wave = audio.load(utterance.audio, utterance.start, utterance.end)
        seconds = len(wave) / audio.RATE
        alignment = aligner.align(wave, audio.RATE, utterance.text or "")
    except (AlignmentError, AudioError) as error:
        refused = isinstance(error, TranscriptMismatch)
        return Outcome(bare, str(error), refused, seconds, time.process_time() - began)
    found = replace(utterance, alignment=alignment)
    return Outcome(found, None, False, seconds, time.process_time() - began)


_AT_A_TIME = 8
"""Utterances a process takes at once: enough to make sending them cheap, few enough to lose."""
_aligner: Aligner | None = None
"""A spawned process' own."""


def _spawned(utterances: Sequence[Utterance], request: Request, jobs: int) -> Iterator[Outcome]:
    size = max(1, min(_AT_A_TIME, len(utterances) // jobs))
    pieces = [utterances[i : i + size] for i in range(0, len(utterances), size)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = {name: os.environ.get(name) for name in threads}
    os.environ.update(threads)  # children inherit it: one thread each, or they wait for one another
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start, initargs=(request,))
    try:
        with pool:
            futures = [pool.submit(_work, piece) for piece in pieces]
            try:
                for future in as_completed(futures):
                    yield from future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _start(request: Request) -> None:
    global _aligner
    if request.method == "ctc":
        import torch

        torch.set_num_threads(1)
    _aligner = _build(request)


def _work(utterances: Iterable[Utterance]) -> list[Outcome]:
    assert _aligner is not None  # the initializer has run
    return [_aligned(utterance, _aligner) for utterance in utterances]
