"""Prediction on a cluster: ``Predictor.judge`` over parts, into shards of Parquet."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from undertone import __version__
from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.manifest.parquet import pyarrow
from undertone.scale import places
from undertone.scale.cluster import connected
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.results import check_folder, finished, read_results, remove_results, write_result
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, FailedUtterance, Make, PartSummary, Watch, attempt, run
from undertone.scale.workers import Workers
from undertone.types import Prediction

__all__ = ["Predicting", "join", "laid_out", "pack_model", "predict", "predictions", "unpack"]


NOT_THE_MODEL = frozenset(
    {"done.json", "recipe.toml", "history.jsonl", "predictions.jsonl", "embeddings.npz"}
)
"""What training leaves beside a model."""


LINES = ".jsonl"


@dataclass(frozen=True)
class Predicting:
    """The work: a model, how it is used, and where predictions go."""

    identity: str
    out: str
    model: Any
    """The model's files as an object of the cluster, so that no machine needs the folder itself."""
    explain: bool
    threshold: float | None
    align: str

    def finished(self) -> Callable[[WorkPart], bool]:
        return finished(self.out, self.identity)

    def start(self) -> Make:
        import ray

        from undertone.judging.predictor import Predictor, load_model
        from undertone.judging.words import words_for

        ready = load_model(laid_out(ray.get(self.model)))
        judge = Predictor(ready, words=words_for(ready, self.align))

        def make(part: WorkPart, rows: Sequence[Staged]) -> PartSummary:
            answers = [attempt(one, lambda one: self._judge(judge, one)) for one in rows]
            table = _table(rows, answers)
            write_result(self.out, part, self.identity, table)
            failed = [
                FailedUtterance(o.utterance.id, why) for o, (_, why) in zip(rows, answers, strict=True) if why
            ]
            return PartSummary(len(rows), tuple(failed))

        return make

    def _judge(self, judge: Any, one: Staged) -> Prediction:
        from undertone.judging.inputs import recording_of
        from undertone.judging.words import DOUBTFUL

        recording = recording_of(one.local, doubtful=self.align == DOUBTFUL)
        prediction: Prediction = judge.judge(recording, self.explain, self.threshold)
        return replace(prediction, id=one.utterance.id)


def predict(
    source: str,
    out: str,
    model: Path,
    *,
    address: str | None = None,
    workers: Workers | None = None,
    explain: bool = True,
    threshold: float | None = None,
    align: str = "auto",
    watch: Watch | None = None,
) -> Account:
    """Judge every utterance of a manifest or a folder of shards; answers go to the folder ``out``.

    ``out`` holds ``part-….parquet`` with the columns id, label, confidence, prediction (the line that
    ``--format jsonl`` has) and error. Stopped, the same call continues with the missing
    parts. Where ``out`` is a ``.jsonl``, the parts are in a folder beside it until all of them are done.
    """
    if out.endswith(LINES):
        account = predict(
            source,
            out + ".parts",
            model,
            address=address,
            workers=workers,
            explain=explain,
            threshold=threshold,
            align=align,
            watch=watch,
        )
        join(out + ".parts", out)
        return account
    chosen = workers or Workers()
    pyarrow()
    opened = open_source(source, chosen.rows)
    files = pack_model(model)
    identity = fingerprint(["predict", __version__, _digest(files), explain, threshold, align])
    check_folder(out, opened, identity)
    with connected(address) as ray:
        work = Predicting(identity, out, ray.put(files), explain, threshold, align)
        account = run(ray, opened, work, chosen, watch)
    if account.resumed:  # the failures of an earlier run belong to the account too
        account.failed = [
            FailedUtterance(r["id"], r["error"]) for r in read_results(out, ["id", "error"]) if r["error"]
        ]
    return account


def join(parts: str, out: str) -> None:
    """Write shards of results as one file of lines; then remove the shards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(predictions(parts))
        places.put(path, out)
    remove_results(parts)


def predictions(out: str) -> Iterator[str]:
    """The lines of ``--format jsonl`` from a folder of shards, in the order of the source."""
    for row in read_results(out, ["prediction"]):
        if row["prediction"] is not None:
            yield row["prediction"] + "\n"


def _table(rows: Sequence[Staged], answers: Sequence[tuple[Prediction | None, str | None]]) -> Any:
    pa = pyarrow()
    plain = [None if prediction is None else prediction.plain() for prediction, _ in answers]
    columns = {
        "id": (pa.string(), [one.utterance.id for one in rows]),
        "label": (pa.string(), [p and p["label"] for p in plain]),
        "confidence": (pa.float64(), [p and p["confidence"] for p in plain]),
        "prediction": (pa.string(), [p and json.dumps(p, ensure_ascii=False) for p in plain]),
        "error": (pa.string(), [why for _, why in answers]),
    }
    schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()])
    return pa.Table.from_pydict({name: values for name, (_, values) in columns.items()}, schema=schema)


# ---- a model folder as an object ---------------------------------------------------------------------


def pack_model(folder: Path) -> dict[str, bytes]:
    """A model folder's files, by their names in it."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in NOT_THE_MODEL]
    kept = [p for p in paths if "__pycache__" not in p.parts]
    if not kept:
        raise ConfigError(f"{folder}: holds no model")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def laid_out(files: Mapping[str, bytes]) -> Path:
    """A temporary model folder with these files, kept until this process ends: weights may be mapped."""
    folder = Path(tempfile.mkdtemp(prefix="undertone-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return unpack(files, folder)


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """The folder, with a model folder's files written into it."""
    for name, data in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(f"a model folder holds no file '{name}'")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(name.encode() + b"\0" + data)
    return digest.hexdigest()
