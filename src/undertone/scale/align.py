"""Alignment on a cluster: the local aligners over parts, into shards that later stages read as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.experiment.align import DOUBTFUL, Summary, after_aligning, start_aligner
from undertone.experiment.aligned import AlignmentRequest, Outcome
from undertone.manifest.parquet import pyarrow
from undertone.manifest.records import from_plain
from undertone.scale import places
from undertone.scale.cluster import connected
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.results import check_folder, finished, read_results, remove_results, write_result
from undertone.scale.shards import META, plain, table
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, FailedUtterance, Make, PartSummary, Watch, attempt, run
from undertone.scale.workers import Workers
from undertone.types import Utterance

__all__ = ["Aligning", "align"]

ACCOUNT = ["id", "reason", "refused", "confidence", "doubt", "audio_s", "work_s"]
"""The columns of the outcome."""


@dataclass(frozen=True)
class Aligning:
    """The work: which aligner, and where aligned utterances go."""

    identity: str
    out: str
    request: AlignmentRequest

    def finished(self) -> Callable[[WorkPart], bool]:
        return finished(self.out, self.identity)

    def start(self) -> Make:
        align_one = start_aligner(self.request)

        def make(part: WorkPart, rows: Sequence[Staged]) -> PartSummary:
            outcomes = [_outcome(one, align_one) for one in rows]
            recordings = {one.utterance.audio: one.recording for one in rows if one.recording is not None}
            rows_out = table(pyarrow(), [o.utterance for o in outcomes], recordings, _columns(outcomes))
            write_result(self.out, part, self.identity, rows_out)
            failed = tuple(
                FailedUtterance(o.utterance.id, o.reason) for o in outcomes if o.reason is not None
            )
            return PartSummary(len(rows), failed)

        return make


def _outcome(one: Staged, align_one: Callable[[Utterance], Outcome]) -> Outcome:
    """The local aligner's outcome, with the source's paths."""
    local, error = attempt(one, lambda one: align_one(one.local))
    if error is not None:
        return Outcome(one.utterance.without_alignment(), error)
    outcome: Outcome = replace(
        local,
        utterance=replace(one.utterance, alignment=local.utterance.alignment, extra=local.utterance.extra),
        reason=None if local.reason is None else one.with_source_path(local.reason),
    )
    return outcome


def _columns(outcomes: Sequence[Outcome]) -> dict[str, tuple[Any, list[Any]]]:
    pa = pyarrow()
    return {
        "reason": (pa.string(), [o.reason for o in outcomes]),
        "refused": (pa.bool_(), [o.refused for o in outcomes]),
        "confidence": (pa.float64(), [o.confidence for o in outcomes]),
        "doubt": (pa.float64(), [o.utterance.doubt for o in outcomes]),
        "audio_s": (pa.float64(), [o.audio_s for o in outcomes]),
        "work_s": (pa.float64(), [o.work_s for o in outcomes]),
    }


def align(
    source: str,
    out: str,
    request: AlignmentRequest,
    *,
    address: str | None = None,
    workers: Workers | None = None,
    watch: Watch | None = None,
) -> Summary:
    """The summary of aligning every utterance of a manifest or a folder of shards.

    ``out`` is a manifest (``.jsonl``, ``.parquet``), or a folder or URL that gets shards which, like those
    that came in, later stages take in a manifest's place: with their recordings, if those came packed.
    """
    chosen = workers or Workers()
    pyarrow()
    one_file = out.endswith((".jsonl", ".parquet"))
    if one_file and places.is_url(out):
        raise ConfigError(f"--out {out}: an object store takes a folder of shards: leave the suffix away")
    folder = f"{out}.parts" if one_file else out
    opened = open_source(source, chosen.rows)
    identity = fingerprint(["align", request.stamp()])
    check_folder(folder, opened, identity)
    with connected(address) as ray:
        account = run(ray, opened, Aligning(identity, folder, request), chosen, watch)
    summary = _summary(out, folder, account)
    meta = after_aligning(opened.meta, request, summary)
    if one_file:
        manifests.write(out, _utterances(folder), meta)
        remove_results(folder)
    else:
        places.write(places.join(out, META), json.dumps(meta.plain(), ensure_ascii=False).encode())
    return summary


def _utterances(folder: str) -> Iterator[Utterance]:
    return (from_plain(plain(row)) for row in read_results(folder))


def _summary(out: str, folder: str, account: Account) -> Summary:
    failed: dict[str, str] = {}
    refused: list[str] = []
    doubtful: list[str] = []
    kept: list[str] = []
    audio_s = work_s = 0.0
    for row in read_results(folder, ACCOUNT):
        audio_s, work_s = audio_s + row["audio_s"], work_s + row["work_s"]
        if row["reason"] is not None:
            failed[row["id"]] = row["reason"]
        if row["refused"]:
            refused.append(row["id"])
        if row["confidence"] is not None and row["confidence"] < DOUBTFUL:
            doubtful.append(row["id"])
        if row["doubt"] is not None:
            kept.append(row["id"])
    return Summary(
        manifest=str(Path(out)) if not places.is_url(out) else out,
        utterances=account.utterances,
        aligned=account.utterances - len(failed),
        failed=failed,
        refused=tuple(refused),
        doubtful=tuple(doubtful),
        kept=tuple(kept),
        resumed=account.resumed,
        audio_s=audio_s,
        work_s=work_s,
        seconds=account.seconds,
    )
