"""Search over settings by Optuna: a study on disk, which resumes. What a trial does is an argument."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import ConfigError, MissingExtra, TrainingError

__all__ = [
    "Range",
    "SearchResult",
    "best_of",
    "open_storage",
    "parse_range",
    "search",
    "study_name",
]

log = logging.getLogger(__name__)

Report = Callable[[int, float], None]
"""Called with a step and the score so far; raises to end a trial that scores badly."""


@dataclass(frozen=True)
class Range:
    """The values one setting may take."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False

    def suggest(self, trial: Any) -> Any:
        """A value for an Optuna trial; ranges over more than a factor of ten are searched by ratio."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.choices))
        log = self.low > 0 and self.high / self.low > 10
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=log)
        return trial.suggest_float(self.key, self.low, self.high, log=log)


@dataclass(frozen=True)
class SearchResult:
    """The best settings of a search."""

    values: Mapping[str, Any]
    score: float
    trials: int


def parse_range(text: str) -> Range:
    """``key=a..b`` (both ends in), or ``key=x,y,z``.

    >>> parse_range("training.rate=1e-4..1e-2")
    Range(key='training.rate', choices=(), low=0.0001, high=0.01, whole=False)
    >>> parse_range("model.width=32,64").choices
    (32, 64)
    """
    key, _, values = text.partition("=")
    ends = re.fullmatch(r"\s*([^.\s]\S*?)\s*\.\.\s*(\S+)\s*", values)
    try:
        if key and ends:
            low, high = ends.groups()
            whole = low.lstrip("-").isdecimal() and high.lstrip("-").isdecimal()
            if float(low) < float(high):
                return Range(key.strip(), low=float(low), high=float(high), whole=whole)
        elif key and values:
            return Range(key.strip(), choices=tuple(_value(v) for v in values.split(",")))
    except ValueError:
        pass
    raise ConfigError(f"'{text}' is neither key=low..high nor key=a,b,c")


def _value(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def search(
    ranges: Sequence[Range],
    attempt: Callable[[Mapping[str, Any], Report], float],
    *,
    trials: int,
    study: Path,
    mark: str = "",
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
) -> SearchResult:
    """The best of ``trials`` settings by ``attempt``'s score, the higher the better.

    ``watch`` is called with how many trials are over, those of earlier calls first.

    ``study`` is a journal file: a search that was killed keeps its finished trials, which count. Trials with
    another ``mark``, that of everything else that determines a score, do not.
    """
    storage, name = open_storage(study), study_name(ranges, mark)
    import optuna

    created = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )

    def objective(trial: Any) -> float:
        def report(step: int, score: float) -> None:
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        values = {r.key: r.suggest(trial) for r in ranges}
        try:
            return attempt(values, report)
        except TrainingError as error:
            log.warning("trial %d with %s: %s", trial.number, values, error)
            raise

    def over() -> int:
        return sum(t.state.is_finished() for t in created.trials)

    if watch is not None:
        watch(over())
    created.optimize(
        objective,
        n_trials=max(0, trials - over()),
        catch=(TrainingError,),
        callbacks=[lambda _study, _trial: watch(over())] if watch is not None else None,
    )
    return best_of(created, study)


def open_storage(study: Path) -> Any:
    """Optuna's storage in a journal file."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ImportError:
        raise MissingExtra("the search over settings", "search") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns with tracebacks
    study.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(study), lock_obj=JournalFileOpenLock(str(study))))


def study_name(ranges: Sequence[Range], mark: str = "") -> str:
    """The name of a study in its journal."""
    return " ".join([",".join(sorted(r.key for r in ranges)), mark]).strip()


def best_of(study: Any, path: Path) -> SearchResult:
    """The best finished trial of an Optuna study."""
    scored = [t for t in study.trials if t.state.name == "COMPLETE" and t.value is not None]
    if not scored:
        raise TrainingError(f"none of {len(study.trials)} trials was completed; see {path}")
    best = max(scored, key=lambda t: t.value)
    ended = sum(t.state.is_finished() for t in study.trials)
    return SearchResult(best.params, float(best.value), ended)
