"""Stages: ``prepare``, ``extract``, ``align`` and ``audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from undertone.api.frames import Places, Watch, frame_of, several

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from undertone.auditing import Audit
    from undertone.experiment.align import Summary
    from undertone.experiment.prepare import Prepared

__all__ = ["align", "audit", "extract", "prepare"]


def prepare(corpus: str, path: str | Path, out: str | Path, **options: Any) -> Prepared:
    """Write the manifest of a corpus (``undertone list corpora``, or ``table``); ``options`` as ``--set``,
    and ``labels``, ``skip_bad``, ``spoken``."""
    from undertone.experiment.prepare import prepare as run

    own = {name: options.pop(name) for name in ("labels", "skip_bad", "spoken") if name in options}
    return run(corpus, Path(path), Path(out), options=options, **own)


def extract(
    clips: Places,
    encoder: str = "whisper-base",
    *,
    layer: str | int = "last",
    jobs: int = 1,
) -> dict[str, NDArray[Any]]:
    """The frames of each clip by its id, (T, D) or (K, T, D) of several layers; kept in the store."""
    from undertone.features import speech as encoders
    from undertone.features.config import SpeechConfig
    from undertone.features.extract import extract as run
    from undertone.features.extract import read_speech
    from undertone.judging.inputs import find
    from undertone.store import Store
    from undertone.types import Utterance

    recordings = find([str(place) for place in several(clips)])
    utterances = [Utterance(r.id, str(r.audio), start=r.start, end=r.end) for r in recordings]
    store, network = Store(), encoders.build(SpeechConfig.parse({"name": encoder, "layer": layer}))
    run(utterances, store, network, jobs=jobs)
    frames = {u.id: read_speech(store, u, network) for u in utterances}
    return {name: values for name, values in frames.items() if values is not None}


def align(
    manifest: str | Path,
    out: str | Path,
    method: Literal["given", "sphinx", "ctc", "asr"] = "sphinx",
    *,
    model: str | None = None,
    source: str | Path | None = None,
    jobs: int = 1,
    watch: Watch | None = None,
) -> Summary:
    """Find where words, syllables and phones begin, and write the aligned manifest."""
    from undertone.experiment.align import align as run
    from undertone.experiment.aligned import AlignmentRequest

    request = AlignmentRequest(method, model, str(source) if source else None)
    return run(Path(manifest), Path(out), request, jobs=jobs, watch=watch)


@overload
def audit(
    manifest: str | Path,
    protocol: str | None = ...,
    *,
    folds: int = ...,
    recordings: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[False] = ...,
) -> Audit: ...
@overload
def audit(
    manifest: str | Path,
    protocol: str | None = ...,
    *,
    folds: int = ...,
    recordings: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def audit(
    manifest: str | Path,
    protocol: str | None = None,
    *,
    folds: int = 5,
    recordings: bool = True,
    watch: Watch | None = None,
    frame: bool = False,
) -> Audit | pd.DataFrame:
    """What would make a result too good to be true; ``frame``: one row a finding."""
    from undertone import splits
    from undertone.auditing import examine
    from undertone.manifest import read

    utterances = read(Path(manifest)).resolved()
    split = splits.make(utterances, protocol, folds=folds, refuse=False) if protocol else None
    result = examine(utterances, split, recordings=recordings, watch=watch)
    if not frame:
        return result
    return frame_of({"level": f.level, "kind": f.kind, "says": f.says} for f in result.findings)
