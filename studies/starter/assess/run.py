"""The whole assessment of a run: every fold's model under all conditions, on its own test part.

run/fold-k/{model/, fold.json}     a model, and the ids of the recordings it is tested on
run/only-CORPUS/model/             if there: trained on one corpus, tested on the other
out/scores/                        the predictions, so that a second call is instant
out/assessment.json                every metric
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.starter import clips as recordings
from studies.starter import sentences
from studies.starter.assess.bars import bars
from studies.starter.assess.cases import CONDITIONS, ONCE, Part
from studies.starter.assess.metrics import summary
from studies.starter.assess.rival import n_grams
from studies.starter.assess.scores import Row, opened, rows_of
from studies.starter.assess.tables import score, table
from studies.starter.clips import Spoken
from undertone.errors import DataError, ProtocolError
from undertone.evaluation.card import code_version, this_machine
from undertone.files import spawned_pool, write_json

__all__ = ["FILE", "SCHEMA", "assess", "parts"]

SCHEMA = 1
FILE = "assessment.json"
Tell = Callable[[str, int, int], None]
"""Called with what is under way, how many conditions are done, and of how many."""
CROSS = {"only-ravdess": "emodb", "only-emodb": "ravdess"}


def assess(
    run: Path,
    data: Path,
    out: Path,
    tell: Tell | None = None,
    conditions: Sequence[str] = tuple(CONDITIONS),
    jobs: int = 1,
) -> dict[str, Any]:
    """Every metric of a run, also left in ``out/assessment.json``; ``data`` holds the real corpora.

    Fewer ``conditions`` only predict, so that the work can be cut into pieces: metrics need all of them.
    ``jobs`` models predict at once, each in a process of its own.
    """
    known = recordings.read(data)
    folds = parts(run, known, sentences.four(sentences.read(data, "dev")))
    crossed = _crossed(run, known)
    first = next(iter(folds))
    work = [
        Work(run / fold / "model", part, name, out)
        for fold, part in folds.items()
        for name in conditions
        if fold == first or name not in ONCE
    ]
    count = len(work)
    work += [Work(run / name / "model", part, "clean", out) for name, part in crossed.items()]
    rows = dict(zip(work, _all_rows(work, tell, jobs), strict=True))
    if set(conditions) < set(CONDITIONS):
        return {}
    answers: dict[str, dict[str, list[Row]]] = {name: {} for name in conditions}
    for one in work[:count]:
        answers[one.condition][one.fold] = rows[one]
    values = {
        "schema": SCHEMA,
        "data": counts(folds),
        **summary(answers),
        "rival": _rival(data),
        "cross_corpus": {
            f"{one.fold.removeprefix('only-')} → {CROSS[one.fold]}": score(table(rows[one], "speech"))
            for one in work[count:]
        },
        "model": described(run / "final" / "model"),
        "code": code_version(),
        "machine": this_machine(),
    }
    values["bars"] = bars(values)
    write_json(out / FILE, values, indent=1)
    return values


@dataclass(frozen=True, eq=False)
class Work:
    """One model under one condition."""

    model: Path
    part: Part
    condition: str
    out: Path

    @property
    def fold(self) -> str:
        return self.model.parent.name

    def rows(self) -> list[Row]:
        kept = self.out / "scores" / self.fold / f"{self.condition}.jsonl"
        return rows_of(self.model, self.part, self.condition, kept)


def _all_rows(work: Sequence[Work], tell: Tell | None, jobs: int) -> list[list[Row]]:
    opened.cache_clear()  # a folder may hold another model than when it was last opened
    if jobs == 1:
        return _counted(map(Work.rows, work), work, tell)
    with spawned_pool(jobs) as pool:
        return _counted(pool.map(Work.rows, work, chunksize=5), work, tell)


def _counted(results: Iterable[list[Row]], work: Sequence[Work], tell: Tell | None) -> list[list[Row]]:
    rows, waiting = [], iter(results)
    for done, one in enumerate(work):
        if tell is not None:
            tell(f"{one.fold}: {one.condition}", done, len(work))
        rows.append(next(waiting))
    return rows


def parts(run: Path, known: Sequence[Spoken], texts: Sequence[sentences.Sentence]) -> dict[str, Part]:
    """What each fold's model is tested on, by its ``fold.json``; no clip in two folds."""
    tested: dict[str, Part] = {}
    by_id = {(clip.corpus, clip.id): clip for clip in known}
    used: dict[Spoken, str] = {}
    for path in sorted(run.glob("fold-*/fold.json")):
        fold = path.parent.name
        listed = json.loads(path.read_text(encoding="utf-8"))
        names = [(corpus, name) for corpus in recordings.CORPORA for name in listed.get(corpus, ())]
        if lost := [name for name in names if name not in by_id]:
            raise DataError(f"{path}: '{lost[0][1]}' and {len(lost) - 1} more are not in the data")
        mine = [by_id[name] for name in names]
        for clip in mine:
            if clip in used:
                raise ProtocolError(f"{clip.corpus}/{clip.id} is tested in {used[clip]} and in {fold}")
            used[clip] = fold
        tested[fold] = Part(mine, texts)
    if not tested:
        raise DataError(f"{run}: no fold-*/fold.json; `python -m studies.starter train` makes them")
    _refuse_shared_speakers(tested)
    return tested


def _refuse_shared_speakers(tested: Mapping[str, Part]) -> None:
    where: dict[str, str] = {}
    for fold, part in tested.items():
        for clip in part.clips:
            if where.setdefault(clip.speaker, fold) != fold:
                raise ProtocolError(f"{clip.speaker} is tested in {where[clip.speaker]} and in {fold}")


def _crossed(run: Path, known: Sequence[Spoken]) -> dict[str, Part]:
    return {
        name: Part([clip for clip in known if clip.corpus == other])
        for name, other in CROSS.items()
        if (run / name / "model" / "card.json").is_file()
    }


def counts(folds: Mapping[str, Part]) -> dict[str, Any]:
    """Clips and speakers of each corpus that were tested, and sentences of each class."""
    clips = [clip for part in folds.values() for clip in part.clips]
    values: dict[str, Any] = {
        corpus: {
            "clips": sum(clip.corpus == corpus for clip in clips),
            "speakers": len({clip.speaker for clip in clips if clip.corpus == corpus}),
        }
        for corpus in recordings.CORPORA
    }
    texts = next(iter(folds.values())).sentences
    values["goemotions"] = {label: n for label, n in sentences.counts(texts).items() if label != "dropped"}
    return values | {"folds": len(folds)}


def _rival(data: Path) -> dict[str, Any]:
    """The n-gram regression in both forms of the text."""
    train, test = (sentences.four(sentences.read(data, split)) for split in ("train", "dev"))

    def form(
        rows: Sequence[sentences.Sentence], rewrite: Callable[[str], str]
    ) -> tuple[list[str], list[str]]:
        return [rewrite(row.text) or row.text for row in rows], [str(row.label) for row in rows]

    return {
        name: n_grams(form(train, rewrite), form(test, rewrite))
        for name, rewrite in (("raw", str), ("plain", sentences.plain))
    }


def described(model: Path) -> dict[str, Any]:
    """What is shown of the final model's card; nothing where there is no model yet."""
    if not (model / "card.json").is_file():
        return {}
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    kept = {key: card[key] for key in ("corpus", "licence", "training", "abstain", "system") if key in card}
    size = sum(path.stat().st_size for path in model.iterdir() if path.is_file())
    return kept | {"bytes": size}
