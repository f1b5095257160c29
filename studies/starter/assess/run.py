"""The whole assessment of a run: every fold's model is asked all conditions on what it has never met.

run/fold-k/{model/, fold.json}     a model, and the ids of the recordings it is tested on
run/only-CORPUS/model/             if there: trained on one corpus, tested on the other
out/scores/                        what was answered, so that a second call is instant
out/assessment.json                every figure
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from studies.starter import clips as recordings
from studies.starter import sentences
from studies.starter.assess.bars import bars
from studies.starter.assess.figures import figures
from studies.starter.assess.questions import CONDITIONS, ONCE, Side
from studies.starter.assess.rival import n_grams
from studies.starter.assess.scores import Ask, Row, asked
from studies.starter.assess.tables import score, table
from studies.starter.clips import Spoken
from undertone.errors import DataError, ProtocolError
from undertone.evaluation.card import code_version, this_machine

__all__ = ["FILE", "SCHEMA", "Open", "assess", "sides"]

SCHEMA = 1
FILE = "assessment.json"
Open = Callable[[Path], Ask]
"""From a model folder to its public face."""
Tell = Callable[[str, int, int], None]
"""What is under way, how many conditions are done, and of how many."""
CROSS = {"only-ravdess": "emodb", "only-emodb": "ravdess"}


def assess(
    run: Path,
    data: Path,
    out: Path,
    open_model: Open,
    tell: Tell | None = None,
    conditions: Sequence[str] = tuple(CONDITIONS),
    jobs: int = 1,
) -> dict[str, Any]:
    """Every figure of a run, also left in ``out/assessment.json``; ``data`` holds the real corpora.

    Fewer ``conditions`` only ask, so that the work can be cut into pieces: figures need all of them.
    ``jobs`` models are asked at once, each in a process of its own; ``open_model`` must then be importable.
    """
    known = recordings.read(data)
    folds = sides(run, known, sentences.four(sentences.read(data, "dev")))
    crossed = _crossed(run, known)
    first = next(iter(folds))
    work = [
        Work(run / fold / "model", side, name, out)
        for fold, side in folds.items()
        for name in conditions
        if fold == first or name not in ONCE
    ]
    count = len(work)
    work += [Work(run / name / "model", side, "clean", out) for name, side in crossed.items()]
    rows = dict(zip(work, _all_asked(work, open_model, tell, jobs), strict=True))
    if set(conditions) < set(CONDITIONS):
        return {}
    answers: dict[str, dict[str, list[Row]]] = {name: {} for name in conditions}
    for one in work[:count]:
        answers[one.condition][one.fold] = rows[one]
    found = {
        "schema": SCHEMA,
        "data": counts(folds),
        **figures(answers),
        "rival": _rival(data),
        "cross_corpus": {
            f"{one.fold.removeprefix('only-')} → {CROSS[one.fold]}": score(table(rows[one], "speech"))
            for one in work[count:]
        },
        "model": described(run / "final" / "model"),
        "code": code_version(),
        "machine": this_machine(),
    }
    found["bars"] = bars(found)
    _write(out / FILE, found)
    return found


@dataclass(frozen=True, eq=False)
class Work:
    """One model asked in one way."""

    model: Path
    side: Side
    condition: str
    out: Path

    @property
    def fold(self) -> str:
        return self.model.parent.name

    def do(self, open_model: Open) -> list[Row]:
        ask = partial(_opened, open_model, self.model)
        kept = self.out / "scores" / self.fold / f"{self.condition}.jsonl"
        return asked(self.model, self.side, self.condition, ask, kept)


@lru_cache(1)
def _opened(open_model: Open, model: Path) -> Ask:
    """The model that was asked last stays open: conditions come model by model."""
    return open_model(model)


def _all_asked(work: Sequence[Work], open_model: Open, tell: Tell | None, jobs: int) -> list[list[Row]]:
    found: list[list[Row]] = []

    def collect(answers: Iterable[list[Row]]) -> list[list[Row]]:
        waiting = iter(answers)
        for done, one in enumerate(work):
            if tell is not None:
                tell(f"{one.fold}: {one.condition}", done, len(work))
            found.append(next(waiting))
        return found

    _opened.cache_clear()  # a folder may hold another model than when it was last opened
    if jobs == 1:
        return collect(one.do(open_model) for one in work)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return collect(pool.map(partial(_do, open_model), work, chunksize=5))


def _do(open_model: Open, work: Work) -> list[Row]:
    return work.do(open_model)


def sides(run: Path, known: Sequence[Spoken], texts: Sequence[sentences.Sentence]) -> dict[str, Side]:
    """What each fold's model is tested on, as its ``fold.json`` says; no clip in two folds."""
    found: dict[str, Side] = {}
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
        found[fold] = Side(mine, texts)
    if not found:
        raise DataError(f"{run}: no fold-*/fold.json; `python -m studies.starter train` makes them")
    _refuse_shared_speakers(found)
    return found


def _refuse_shared_speakers(found: Mapping[str, Side]) -> None:
    where: dict[str, str] = {}
    for fold, side in found.items():
        for clip in side.clips:
            if where.setdefault(clip.speaker, fold) != fold:
                raise ProtocolError(f"{clip.speaker} is tested in {where[clip.speaker]} and in {fold}")


def _crossed(run: Path, known: Sequence[Spoken]) -> dict[str, Side]:
    return {
        name: Side([clip for clip in known if clip.corpus == other])
        for name, other in CROSS.items()
        if (run / name / "model" / "card.json").is_file()
    }


def counts(folds: Mapping[str, Side]) -> dict[str, Any]:
    """Clips and speakers of each corpus that were tested, and sentences of each class."""
    clips = [clip for side in folds.values() for clip in side.clips]
    found: dict[str, Any] = {
        corpus: {
            "clips": sum(clip.corpus == corpus for clip in clips),
            "speakers": len({clip.speaker for clip in clips if clip.corpus == corpus}),
        }
        for corpus in recordings.CORPORA
    }
    texts = next(iter(folds.values())).sentences
    found["goemotions"] = {label: n for label, n in sentences.counts(texts).items() if label != "dropped"}
    return found | {"folds": len(folds)}


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
    """What the card of the model one deploys says of itself; nothing where there is none yet."""
    if not (model / "card.json").is_file():
        return {}
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    kept = {key: card[key] for key in ("corpus", "licence", "training", "abstain", "system") if key in card}
    size = sum(path.stat().st_size for path in model.iterdir() if path.is_file())
    return kept | {"bytes": size}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
