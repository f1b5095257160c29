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
from undertone.scale.parts import Part, open_source
from undertone.scale.results import check_folder, finished, read_results, remove_results, write_result
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, Done, Failed, Make, Watch, attempt, run
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
    """The work: a model, what is asked of it, and where answers go."""

    identity: str
    out: str
    model: Any
    """The object of the model's files in the cluster, so that no machine needs the folder itself."""
    explain: bool
    threshold: float | None
    align: str

    def finished(self) -> Callable[[Part], bool]:
        return finished(self.out, self.identity)

    def start(self) -> Make:
        import ray

        from undertone.judging.predictor import Predictor, load_model
        from undertone.judging.words import words_for

        ready = load_model(laid_out(ray.get(self.model)))
        judge = Predictor(ready, words=words_for(ready, self.align))

        def make(part: Part, rows: Sequence[Staged]) -> Done:
            answers = [attempt(one, lambda one: self._judge(judge, one)) for one in rows]
            table = _table(rows, answers)
            write_result(self.out, part, self.identity, table)
            failed = [Failed(o.utterance.id, why) for o, (_, why) in zip(rows, answers, strict=True) if why]
            return Done(len(rows), tuple(failed))

        return make

    def _judge(self, judge: Any, one: Staged) -> Prediction:
        from undertone.judging.inputs import item_of

        said: Prediction = judge.judge(item_of(one.here), self.explain, self.threshold)
        return replace(said, id=one.utterance.id)


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
    ``--format jsonl`` has) and error. Stopped, the same call goes on with the parts that are missing.
    Where ``out`` is a ``.jsonl``, the parts lie beside it until they are all there, and then become it.
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
    if account.resumed:  # what an earlier run could not judge belongs to the account too
        account.failed = [
            Failed(r["id"], r["error"]) for r in read_results(out, ["id", "error"]) if r["error"]
        ]
    return account


def join(parts: str, out: str) -> None:
    """Shards of results as one file of lines; the shards are removed when it is there."""
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
    plain = [None if said is None else said.plain() for said, _ in answers]
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
    """The model folder again, for as long as this process lives: weights may stay mapped."""
    folder = Path(tempfile.mkdtemp(prefix="undertone-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return unpack(files, folder)


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Lay a model folder's files into a folder."""
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
