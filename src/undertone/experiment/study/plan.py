"""What a study will do with some clips in the time it is given: folds, systems, seeds; as ordinary recipes.

How long it takes is estimated from two measurements on this machine: some clips through the encoder, and a
fixed piece of training's arithmetic, whose time on a reference machine is known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from undertone import packed
from undertone.config import dump_toml
from undertone.errors import ConfigError
from undertone.experiment.recipe import Recipe, load_recipe, recipes_folder
from undertone.experiment.study.look import FEW, Survey
from undertone.files import write_json, write_whole

__all__ = [
    "ALIGNED",
    "TUNED",
    "WARM",
    "Speed",
    "StudyPlan",
    "PlannedRun",
    "budget_seconds",
    "keep_plan",
    "kept_plan",
    "plan_study",
    "write_recipes",
]

FOLDS = 9
"""At most: with more speakers, several are tested at once."""
FEWER_FOLDS = 5
ALIGNED = ("unison",)
"""Systems that pool speech by words, so that these need times."""
TUNED, WARM = "speech-top2", "speech-frozen"
"""The two upper blocks of the speech encoder learn, from the head of the frozen run."""
UNITS = {"s": 1, "m": 60, "h": 3600}
SECONDS = {
    "probe": 4.0, "speech": 20.0, "text": 14.0, "concat": 30.0, "unison": 120.0, WARM: 11.0, TUNED: 830.0,
}  # fmt: skip
"""Processor seconds of one job over a thousand clips on a core of an AMD EPYC, fp32: the reference."""
START = 5.0
"""Of a process: what it imports."""
JOB = 1.0
"""Of a job, whatever its clips."""


@dataclass(frozen=True)
class Speed:
    """How fast this machine is now."""

    encoding: float
    """Seconds of one process for a second of audio."""
    slower: float
    """Seconds that a processor second of the reference takes."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: a recipe of ``recipes/transfer`` (or ``demo``), its changes, and why it is there."""

    name: str
    base: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a study, and their cost."""

    systems: tuple[PlannedRun, ...]
    folds: int
    seeds: int
    boxed: bool
    """The encoders in the box are there; else acoustic frames and words learned in the fold."""
    left_out: tuple[str, ...]
    """What is not done, and why."""
    seconds: Mapping[str, float]
    """The estimate, by stage."""
    budget: float

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @property
    def names(self) -> list[str]:
        return [wanted.name for wanted in self.systems]

    def lines(self, survey: Survey) -> Iterator[str]:
        """What will be done, for a person."""
        each = survey.groups / self.folds
        tested = "each tests one speaker" if each == 1 else f"each tests about {each:.1f} speakers"
        seeds = f", {self.seeds} seeds" if self.seeds > 1 else ""
        yield f"folds: {self.folds} of speakers, {tested}{seeds}; nobody is in two parts of a fold"
        yield "systems: " + ", ".join(self.names)
        yield from (f"left out: {line}" for line in self.left_out)
        stages = ", ".join(
            f"{name} {clock(seconds)}" for name, seconds in self.seconds.items() if seconds >= 1
        )
        yield f"time: about {clock(self.total)} ({stages}), of a budget of {clock(self.budget)}"

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "systems": self.names,
            "folds": self.folds,
            "seeds": self.seeds,
            "left_out": list(self.left_out),
            "estimate": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
            "budget": self.budget,
        }


def clock(seconds: float) -> str:
    """A duration for a person.

    >>> clock(95), clock(3), clock(7300)
    ('2 min', '3 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def budget_seconds(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1h``.

    >>> budget_seconds("10m")
    600.0
    """
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise ConfigError(f"--budget {text}: a time is wanted, as 10m, 1h or 8h") from None
    if seconds <= 0:
        raise ConfigError(f"--budget {text}: more than nothing is needed")
    return seconds


def measured_speed() -> float:
    """Seconds that a processor second of the reference machine takes on this one, as busy as it is now."""
    import torch

    torch.manual_seed(0)
    rows, weights = torch.randn(256, 1024), torch.randn(1024, 1024, requires_grad=True)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(REPEATED):
            (rows @ weights).square().mean().backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[1] / REFERENCE


REPEATED = 40
REFERENCE = 0.65
"""Seconds of the piece above on one idle core of the reference machine."""


def plan_study(
    survey: Survey, budget: float, speed: Speed, processes: int, *, timed: bool, encoded: float = 0.0
) -> StudyPlan:
    """The most that fits into ``budget`` seconds on so many processes, the heads first.

    ``timed``: words have times, or an aligner that gives them is installed; ``encoded``: the share of the
    clips whose features are in the store.
    """
    boxed = packed.find("whisper-base") is not None
    left_out: list[str] = []
    if not boxed:
        left_out.append(
            f"Whisper: the encoders in the box are not installed ({packed.INSTALL}); acoustic frames"
        )
    systems = [PlannedRun("probe", "probe"), PlannedRun("speech", "speech")]
    if survey.no_words:
        left_out.append(f"text, concat, unison: {survey.no_words}")
    else:
        systems += [PlannedRun("text", "text"), PlannedRun("concat", "concat")]
        if survey.clips < FEW:
            left_out.append(f"unison: {survey.clips} clips are few for it (from {FEW} on)")
        elif not timed:
            left_out.append("unison: the words have no times, and the extra 'align' is not installed")
        else:
            systems.append(PlannedRun("unison", "unison"))
    more = 3 if budget < 4 * 3600 else 5
    tuned = (PlannedRun(WARM, WARM), PlannedRun(TUNED, TUNED)) if boxed and survey.clips >= FEW else ()
    folds = min(FOLDS, survey.groups)
    encoding = survey.seconds * (1 - encoded) * speed.encoding / processes
    start = StudyPlan((*systems, *tuned), folds, more, boxed, tuple(left_out), {}, budget)
    tried = [_estimated(one, survey, speed, processes, encoding) for one in _smaller(start)]
    fitting = [one for one in tried if one.total <= budget]
    if fitting:
        return fitting[0]
    least = tried[-1]
    beyond = f"nothing less would be a study, though the estimate is beyond {clock(budget)}"
    return replace(least, left_out=(*least.left_out, beyond))


def _smaller(plan: StudyPlan) -> Iterator[StudyPlan]:
    """The plan, then with less and less: tuning, seeds, folds, unison, concat."""
    why = f"not in {clock(plan.budget)} on this machine"
    yield plan
    if TUNED in plan.names:
        yield replace(plan, seeds=1)
        plan = _without(plan, (WARM, TUNED), f"tuning of the encoder: {why}")
        yield plan
    one = replace(plan, seeds=1)
    yield one
    if one.folds > FEWER_FOLDS:
        line = f"{one.folds} folds: {why}, so {FEWER_FOLDS}"
        one = replace(one, folds=FEWER_FOLDS, left_out=(*one.left_out, line))
        yield one
    for name in ("unison", "concat"):
        if name in one.names:
            one = _without(one, (name,), f"{name}: {why}")
            yield one


def _without(plan: StudyPlan, names: Sequence[str], line: str) -> StudyPlan:
    kept = tuple(system for system in plan.systems if system.name not in names)
    return replace(plan, systems=kept, left_out=(*plan.left_out, line))


def _estimated(plan: StudyPlan, survey: Survey, speed: Speed, processes: int, encoding: float) -> StudyPlan:
    """The plan with its seconds."""
    jobs = plan.folds * plan.seeds + 1
    work = sum(jobs * (JOB + SECONDS[name] * survey.clips / 1000) for name in plan.names)
    training = (work / processes + 3 * START) * speed.slower
    if TUNED in plan.names:
        copies = load_recipe(Path(f"transfer/{TUNED}")).speech.copies
        encoding += copies * survey.seconds * speed.encoding / processes
    aligning = survey.seconds / 8 * speed.slower / processes if _aligns(plan, survey) else 0.0
    return replace(
        plan,
        seconds={
            "aligning": aligning,
            "encoding": encoding,
            "training": training,
            "report": 5.0 * speed.slower,
        },
    )


def _aligns(plan: StudyPlan, survey: Survey) -> bool:
    return bool(set(plan.names) & set(ALIGNED)) and survey.timed < survey.worded / 2


def keep_plan(path: Path, mark: str, plan: StudyPlan) -> None:
    """Write the plan for these clips and this budget: a study that goes on does not choose anew."""
    write_json(path, {"mark": mark, "plan": asdict(plan)}, indent=1)


def kept_plan(path: Path, mark: str) -> StudyPlan | None:
    """The plan that was written for the same clips and budget; None where there is none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["mark"] != mark:
            return None
        values = dict(kept["plan"])
        systems = tuple(PlannedRun(w["name"], w["base"], tuple(w["changes"])) for w in values.pop("systems"))
        return StudyPlan(systems=systems, left_out=tuple(values.pop("left_out")), **values)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


# ---- recipes --------------------------------------------------------------------------------------------


def write_recipes(plan: StudyPlan, manifest: Path, folder: Path, transcripts: str = "gold") -> list[Recipe]:
    """The plan's recipes, written into ``folder/recipes`` and read from there."""
    return [
        _write(wanted, _changes(plan, wanted, manifest, folder, transcripts), plan, folder)
        for wanted in plan.systems
    ]


def _changes(
    plan: StudyPlan, wanted: PlannedRun, manifest: Path, folder: Path, transcripts: str
) -> Iterable[str]:
    yield f"manifest='{manifest.as_posix()}'"
    yield f"name='{wanted.name}'"
    yield "protocol.split=kfold-speaker"
    yield f"protocol.folds={plan.folds}"
    yield f"protocol.seeds={plan.seeds}"
    lines = ["chosen by `undertone study`", *(f"left out: {line}" for line in plan.left_out)]
    yield f"notes={json.dumps(lines, ensure_ascii=False)}"
    if transcripts != "gold":
        yield f"protocol.transcripts='{transcripts}'"
    yield from wanted.changes
    if wanted.name == TUNED:
        yield f"training.warm='{(folder / 'runs' / WARM).as_posix()}'"


def _write(wanted: PlannedRun, changes: Iterable[str], plan: StudyPlan, folder: Path) -> Recipe:
    base = "transfer" if plan.boxed else "demo"
    recipe = load_recipe(recipes_folder() / base / f"{wanted.base}.toml", list(changes))
    path = folder / "recipes" / f"{wanted.name}.toml"
    head = f"# undertone crossval {path.as_posix()} --out {(folder / 'runs').as_posix()}\n"
    write_whole(path, head + dump_toml(recipe.differences()))
    return load_recipe(path)
