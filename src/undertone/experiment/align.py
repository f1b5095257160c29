"""Boundaries for a manifest: every utterance aligned, what failed kept and listed.

Work that is done is written down beside the result as it comes, so that a run that was stopped
goes on where it was; processes are spawned and share nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeAlias

from undertone import __version__, audio
from undertone import manifest as manifests
from undertone.alignment.sources import open_source
from undertone.config import fingerprint
from undertone.errors import (
    AlignmentError,
    AudioError,
    ConfigError,
    ManifestError,
    TranscriptMismatch,
)
from undertone.manifest.records import from_plain, to_plain
from undertone.types import Aligner, Utterance

__all__ = ["ALIGNERS", "Outcome", "Request", "Summary", "align", "reasons"]

log = logging.getLogger(__name__)

ALIGNERS = ("given", "sphinx", "ctc")
Watch: TypeAlias = Callable[[int, int], None]
"""Told how many utterances of how many are done."""
DOUBTFUL = 0.5
"""An utterance whose words' mean confidence is below is counted as of low confidence."""


@dataclass(frozen=True)
class Request:
    """Which aligner, and its settings; what determines the result, and nothing else."""

    method: Literal["given", "sphinx", "ctc"]
    model: str | None = None
    """ctc: the recogniser."""
    source: str | None = None
    """given: where the boundaries are; None: in the manifest or beside the recordings."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the aligner's config."""

    def stamp(self) -> str:
        """Changes when results would."""
        return fingerprint([self.method, self.model, self.source, dict(self.settings), __version__])


@dataclass(frozen=True)
class Outcome:
    """What became of one utterance."""

    utterance: Utterance
    """With its tiers, or without any where it failed."""
    reason: str | None = None
    """Why it failed, None where it did not."""
    refused: bool = False
    """Whether it failed because another text is spoken."""
    audio_s: float = 0.0
    work_s: float = 0.0
    """Processor time."""

    @property
    def confidence(self) -> float | None:
        alignment = self.utterance.alignment
        scores = [w.score for w in alignment.word if w.score is not None] if alignment else []
        return sum(scores) / len(scores) if scores else None


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
    journal = _Journal(out.with_name(out.name + ".journal"), request)
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
    meta = held.meta.after(
        "align",
        method=request.method,
        model=request.model,
        settings=dict(request.settings),
        aligned=summary.aligned,
        failed=dict(summary.failed),
    )
    manifests.write(out, (o.utterance for o in outcomes), meta)
    journal.path.unlink(missing_ok=True)
    return summary


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


def _outcomes(utterances: Sequence[Utterance], request: Request, jobs: int) -> Iterator[Outcome]:
    if request.method == "given":
        find = open_source(Path(request.source) if request.source else None)
        yield from (_given(utterance, find) for utterance in utterances)
    elif jobs <= 1 or len(utterances) <= 1:
        if utterances:
            aligner = _build(request)
            yield from (_aligned(utterance, aligner) for utterance in utterances)
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
        from undertone.alignment.sphinx import SphinxAligner, SphinxConfig

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


# ---- what is done -----------------------------------------------------------------------------------


class _Journal:
    """Outcomes as they come, one a line; the first line says for which request."""

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.stamp = request.stamp()

    def read(self, utterances: Sequence[Utterance]) -> dict[str, Outcome]:
        """What an earlier run has done of these utterances, if it was the same request."""
        if not self.path.is_file():
            return {}
        head, *lines = self.path.read_bytes().splitlines() or [b""]
        if head.decode("utf-8", "replace") != self.stamp:
            self.path.unlink()
            return {}
        known = {u.id: _identity(u) for u in utterances}
        done = {}
        for line in lines:
            try:
                outcome = _outcome(json.loads(line))
            except (ValueError, KeyError, TypeError, ManifestError):
                continue  # the line during which it was stopped
            if known.get(outcome.utterance.id) == _identity(outcome.utterance):
                done[outcome.utterance.id] = outcome
        return done

    def __enter__(self) -> _Journal:
        fresh = not self.path.is_file()
        self.file = self.path.open("ab")
        self.file.write(f"{self.stamp}\n".encode() if fresh else b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, outcome: Outcome) -> None:
        values = {
            "utterance": to_plain(outcome.utterance),
            "reason": outcome.reason,
            "refused": outcome.refused,
            "audio_s": outcome.audio_s,
            "work_s": outcome.work_s,
        }
        self.file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
        self.file.flush()


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(
        from_plain(values["utterance"]),
        values["reason"],
        values["refused"],
        values["audio_s"],
        values["work_s"],
    )


def _identity(utterance: Utterance) -> str:
    """Everything of an utterance but its tiers."""
    return fingerprint(to_plain(replace(utterance, alignment=None)))
