"""Predictions that were made elsewhere, as a run: the same metrics, intervals, tests, card and report.

By an LLM, a cloud service, another toolkit or another paper's code: a csv or JSON lines with the id of each
utterance and its label, with posteriors where they are known. What such a model was trained on and what
chose it is unknown, and stamped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertone import splits
from undertone.corpora.files import delimiter_of, read_csv, read_objects
from undertone.errors import ConfigError, DataError, ManifestError, ProtocolError, no_such
from undertone.evaluation import card as cards
from undertone.evaluation import facts, metrics, runs
from undertone.experiment.material import LabelledCorpus, read_corpus
from undertone.files import locked, write_json, write_lines
from undertone.labels.published import recalled
from undertone.labels.synonyms import meaning

__all__ = ["ALL", "ELSEWHERE", "overlap_stamps", "read_predictions", "score"]

ALL = "all"
"""The protocol in which every labelled utterance is tested."""
ELSEWHERE = "made elsewhere: what it was trained on and what chose it is unknown"
LABELS, IDS = ("label", "prediction", "predicted", "emotion"), ("id", "utterance", "name", "file", "path")
"""Columns that are read for the label and for the id, the first that is there."""


def score(
    predictions: Path,
    manifest: Path,
    folder: Path,
    *,
    split: str = ALL,
    folds: int = 5,
    like: Path | None = None,
    renamed: Mapping[str, str] | None = None,
    missing: bool = False,
    over: bool = False,
    trained: Mapping[str, Iterable[str]] | None = None,
    allow_overlap: bool = False,
) -> Path:
    """Write ``predictions`` into ``folder`` as a run, which ``evaluate`` and ``report`` read like any other.

    ``split``: ``all``, a protocol, or the ``split.json`` of a run; ``like`` takes that run's split and card.
    ``renamed``: labels of the predictions → classes of the manifest. With ``missing``, tested utterances that
    have no prediction count as wrong; without, they are an error. ``trained``: the corpora that each part of
    the model was trained on; this manifest's own is refused, or with ``allow_overlap`` stamped.
    """
    if not manifest.is_file():
        raise ManifestError(f"{manifest}: no such manifest; `undertone prepare` makes one")
    corpus = read_corpus(str(manifest))
    stamps = overlap_stamps(trained or {}, corpus.name, allow_overlap)
    other = cards.read(like) if like is not None else None
    made = splits.read(like / "split.json") if like is not None else _split(split, folds, corpus)
    tested = {i for fold in made.folds for i in fold.test}
    if strange := sorted(tested - corpus.by_id.keys()):
        raise ProtocolError(
            f"{manifest}: the split tests {len(strange)} utterances that it lacks, first '{strange[0]}'"
        )
    by_seed = read_predictions(predictions, corpus.labels, renamed or {})
    for seed, rows in by_seed.items():
        lacking = sorted(tested - rows.keys())
        if lacking and not missing:
            raise DataError(
                f"{predictions}: {len(lacking)} of {len(tested)} tested utterances have no prediction"
                f"{f' of seed {seed}' if len(by_seed) > 1 else ''}, first '{lacking[0]}'; "
                "--missing counts them as wrong"
            )
        if not tested & rows.keys():
            raise DataError(
                f"{predictions}: none of its ids is tested (it has '{min(rows)}', wanted is '{min(tested)}')"
            )
    with locked(folder):
        if any(folder.glob("*/*/metrics.json")):
            if not over:
                raise ConfigError(
                    f"{folder}: there is a run of that name: --name makes another, --over replaces this one"
                )
            runs.clear(folder)
        cards.write(folder, _card(corpus, made, tuple(sorted(by_seed)), other, stamps))
        splits.write(folder / "split.json", made)
        facts.write(folder, facts.facts(corpus.utterances, made))
        for fold in made.folds:
            for seed, rows in by_seed.items():
                _write(folder / fold.name / str(seed), fold, seed, rows, corpus)
    return folder


def overlap_stamps(trained: Mapping[str, Iterable[str]], corpus: str, allowed: bool) -> list[str]:
    """Stamps for what was trained on the corpus it is scored on; refused unless ``allowed``."""
    lines = recalled(trained, corpus)
    if lines and not allowed:
        raise ProtocolError(f"{lines[0]}: --allow-overlap scores it all the same and stamps every number")
    return [f"overlap: {line}" for line in lines]


def _split(name: str, folds: int, corpus: LabelledCorpus) -> splits.Split:
    if name == ALL:
        ids = tuple(sorted(u.id for u in corpus.utterances if u.label is not None))
        return splits.Split(ALL, (splits.Fold(ALL, (), (), ids),))
    if name in splits.PROTOCOLS:
        return splits.make(corpus.utterances, name, folds=folds)
    if Path(name).is_file():
        return splits.read(Path(name))
    raise ConfigError(no_such("split", name, [ALL, *splits.PROTOCOLS]) + "; or a file split.json")


def _card(
    corpus: LabelledCorpus,
    split: splits.Split,
    seeds: tuple[int, ...],
    like: cards.Card | None,
    stamps: Sequence[str] = (),
) -> cards.Card:
    labelled = [u.label for u in corpus.utterances if u.label is not None]
    own = cards.Card(
        corpus=corpus.name,
        labels=corpus.label_set,
        protocol=split.protocol,
        seeds=seeds,
        counts={label: labelled.count(label) for label in corpus.labels},
        data=corpus.mark,
        split=split.hash,
        folds=len(split.folds),
        stamps=(*split.stamps, ELSEWHERE, *stamps),
        selection="unknown",
        calibration="unknown",
        code=cards.code_version(),
        machine=cards.this_machine(),
    )
    return own if like is None else replace(own, protocol=like.protocol, unit=like.unit)


def _write(
    place: Path, fold: splits.Fold, seed: int, rows: Mapping[str, dict[str, float]], corpus: LabelledCorpus
) -> None:
    """A fold's predictions and metrics; without a prediction an utterance is an abstention."""
    nothing = dict.fromkeys(corpus.labels, math.nan)
    posteriors = [rows.get(i, nothing) for i in fold.test]
    truth = [str(corpus.by_id[i].label) for i in fold.test]
    table = np.array([[p[label] for label in corpus.labels] for p in posteriors])
    lines = [
        {
            "id": i,
            "label": max(p, key=p.__getitem__) if i in rows else None,
            "probabilities": p if i in rows else {},
            "truth": label,
            "fold": fold.name,
            "seed": seed,
        }
        for i, p, label in zip(fold.test, posteriors, truth, strict=True)
    ]
    indices = np.array([corpus.labels.index(label) for label in truth])
    write_lines(place / "predictions.jsonl", lines)
    write_json(place / "metrics.json", metrics.summary(indices, table, corpus.labels), indent=1)


def read_predictions(
    path: Path, labels: Sequence[str], renamed: Mapping[str, str]
) -> dict[int, dict[str, dict[str, float]]]:
    """By seed and id: the posterior over ``labels``, of a label alone 1 for it.

    A csv or JSON lines; or a run's folder, whose folds' predictions are read.
    """
    files = sorted(path.glob("*/*/predictions.jsonl")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: holds no <fold>/<seed>/predictions.jsonl")
    read: dict[int, dict[str, dict[str, float]]] = defaultdict(dict)
    for file in files:
        for number, row in _rows(file):
            where = f"{file}:{number}"
            name = _field(row, IDS, where)
            seed = int(row.get("seed") or 0)
            if name in read[seed]:
                raise DataError(f"{where}: '{name}' is predicted twice")
            if (posterior := _posterior(row, labels, renamed, where)) is not None:
                read[seed][name] = posterior
    if not any(read.values()):
        raise DataError(f"{path}: holds no predictions")
    return dict(read)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and values of each row."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        yield from read_objects(path)
        return
    for row in (reader := read_csv(path, delimiter=delimiter_of(path))):
        yield reader.line_num, row


def _field(row: Mapping[str, Any], names: Iterable[str], where: str) -> str:
    for name in names:
        if row.get(name):
            return str(row[name])
    raise DataError(f"{where}: no id; a column is wanted that is named {' or '.join(names)}")


def _posterior(
    row: Mapping[str, Any], labels: Sequence[str], renamed: Mapping[str, str], where: str
) -> dict[str, float] | None:
    """None: the model gave no label."""
    given = (
        row.get("probabilities")
        or row.get("posteriors")
        or {
            key.removeprefix("p_"): value
            for key, value in row.items()
            if value not in (None, "") and _class(key.removeprefix("p_"), labels, renamed)
        }
    )
    if given and not any(row.get(name) is None and name in row for name in LABELS):
        return _normalised(given, labels, renamed, where)
    stated = next((row[name] for name in LABELS if row.get(name)), None)
    if stated is None:
        return None
    label = _class(str(stated), labels, renamed)
    if label is None:
        raise ManifestError(
            f"{where}: {no_such('class', str(stated), labels)}; --map '{stated}=CLASS' says which it is"
        )
    return {name: float(name == label) for name in labels}


def _normalised(
    given: Mapping[str, Any], labels: Sequence[str], renamed: Mapping[str, str], where: str
) -> dict[str, float]:
    sums = dict.fromkeys(labels, 0.0)
    try:
        for key, value in given.items():
            if label := _class(key, labels, renamed):
                sums[label] += float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: a posterior is no number") from None
    total = math.fsum(sums.values())
    if not (math.isfinite(total) and total > 0 and min(sums.values()) >= 0):
        raise DataError(f"{where}: posteriors are not negative, and not all zero")
    return {name: value / total for name, value in sums.items()} if abs(total - 1) > 1e-4 else sums


def _class(name: str, labels: Sequence[str], renamed: Mapping[str, str]) -> str | None:
    """The class that a label of the predictions is: of its name, else the only one that means the same."""
    wanted = renamed.get(name, name).strip()
    named = [label for label in labels if label.casefold() == wanted.casefold()]
    means = meaning(wanted) if not named and name not in renamed else None
    same = named or [label for label in labels if means is not None and meaning(label) == means]
    return same[0] if len(same) == 1 or named else None
