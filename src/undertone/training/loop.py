"""The training loop: one ``fit``, read from top to bottom. What varies is passed as functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.config import fingerprint
from undertone.errors import TrainingError
from undertone.models.batch import Batch
from undertone.models.example import IGNORE
from undertone.models.system import System
from undertone.training.averaging import Average
from undertone.training.batching import TrainingStep, deal, evaluation_batches, plan_epoch
from undertone.training.config import Sampling, TrainingConfig
from undertone.training.dataset import Dataset, frame_statistics
from undertone.training.device import accelerator, gather, keep_freed_memory
from undertone.training.heads import solve_heads
from undertone.training.inference import Outputs
from undertone.training.objective import Objective, Share, set_criteria
from undertone.training.optimizer import clip_members, make_optimizer, rate_at, set_rate
from undertone.training.selection import Score, combine, keep_best, keep_planned, restore
from undertone.training.state import Progress, load_state, save_state

if TYPE_CHECKING:
    from accelerate import Accelerator

OBSERVED = 4096
"""About as many utterances are enough to standardise pooled vectors by."""

__all__ = ["Fitted", "Watch", "fit", "seed_everything"]


class Watch(Protocol):
    """Called while a fit runs."""

    def step(self, done: int, total: int, loss: float) -> None:
        """After each step of an epoch."""

    def epoch(self, record: dict[str, Any]) -> None:
        """After each epoch, its record in the history."""


@dataclass(frozen=True)
class Fitted:
    """A trained system with its history."""

    system: System
    history: list[dict[str, Any]]
    """One record an epoch: ``epoch``, ``loss``, every term, ``rate``, ``validation_ua``, ``seconds`` …"""
    best_epoch: dict[str, int]
    """By member, counted from 1."""
    validation: Outputs | None
    """The finished system's outputs for the validation part."""


def fit(
    system: System,
    train: Dataset,
    validation: Dataset | None,
    config: TrainingConfig,
    *,
    score: Score | None = None,
    ends: Mapping[str, int] | None = None,
    seed: int = 0,
    state: Path | None = None,
    origin: str = "",
    watch: Watch | None = None,
) -> Fitted:
    """Train until the epochs are over or no member has improved on the validation part for ``patience``.

    Each member ends at its own best epoch by ``score``, or with ``keep = "last"`` at the last; without a
    validation part, after the number of epochs that ``ends`` has for it, else at the last. With ``state``, a
    file, a killed fit resumes after its last complete epoch, with the same result; ``origin`` identifies the
    data, for other data begin anew.
    """
    assert (validation is None) == (score is None), "a validation part needs a score, and a score needs one"
    keep_freed_memory()
    machine = accelerator(config, state.parent if state else None)
    objective, optimizer = machine.prepare(Objective(system), make_optimizer(system, config))
    _prepare(system, train, config, machine)
    average = Average(system, config.averaging)
    run = _Run(system, objective, optimizer, average, train, config, machine, seed, watch)
    mark = fingerprint(
        [config.plain(), system.config.plain(), ends, seed, origin, train.ids, validation and validation.ids]
    )
    progress, best = _resume(run, state, mark)

    last = max(ends.values()) if ends else system.solutions or config.epochs
    last_counts = config.keep == "last" and not system.solutions
    while progress.epoch < last and (system.solutions or progress.stale < config.patience):
        started = time.perf_counter()
        record = run.epoch(progress.epoch)
        progress.epoch += 1
        with average.in_place():
            if validation is not None and score is not None:
                record |= keep_best(system, validation, score, progress, best, last_counts)
            elif ends:
                keep_planned(system, ends, progress, best)
        record["seconds"] = time.perf_counter() - started
        progress.history.append(record)
        run.report(record)
        if state is not None and machine.is_main_process:
            save_state(state, mark, progress, system, optimizer, best, run.scale, average)

    for tracker in machine.trackers:
        tracker.finish()
    average.settle()
    restore(system, best)
    if system.target.trunk == "detached" and system.target.further and not system.solutions:
        solve_heads(system, train, config.batch)
    outputs = combine(system, validation) if validation is not None else None
    ends = progress.best_epoch or dict.fromkeys(system.members(), progress.epoch)
    return Fitted(system.eval(), progress.history, ends, outputs)


def _prepare(system: System, train: Dataset, config: TrainingConfig, machine: Accelerator) -> None:
    """Set what follows from the training part before any step, and the gathering over processes."""
    _check_targets(system, train)
    if config.standardise and (statistics := frame_statistics(train, _frames_of(system, machine.device))):
        system.standardise(*statistics)
    if system.observes:
        encoded = _frames_of(system, machine.device)
        some = np.arange(0, len(train), max(1, len(train) // OBSERVED))
        for part in evaluation_batches(train.lengths[some], config.batch):
            system.observe(encoded(train.batch(some[part])))
    set_criteria(system, train, config, config.class_weights)
    if machine.num_processes > 1:
        system.gather = gather


def _check_targets(system: System, train: Dataset) -> None:
    """Refuse a training part in which nothing is known of a target."""
    for kind in system.target.weights:
        rated = None if kind == "class" else train.rated("ratings" if kind == "dimensions" else "votes")
        known = (
            (train.targets != IGNORE).any()
            if kind == "class"
            else rated is not None and np.isfinite(rated).any()
        )
        if not known:
            what = {"class": "a label", "dimensions": "ratings of its dimensions"}.get(kind, "votes")
            raise TrainingError(f"no utterance of the training part has {what}")


def _frames_of(system: System, device: torch.device) -> Callable[[Batch], Batch]:
    """From a batch to the one whose frames are standardised, by encoders as they are at the start."""

    @torch.no_grad()
    def encoded(batch: Batch) -> Batch:
        return system.eval().encoded(batch.to(device))

    return encoded


def _resume(run: _Run, state: Path | None, mark: str) -> tuple[Progress, dict[str, Any]]:
    """The progress of a killed fit of the same mark, else that of a new one."""
    if run.config.tracker != "none":
        run.machine.init_trackers("undertone", config={**run.config.plain(), "seed": run.seed})
    loaded = load_state(state, mark, run.system, run.optimizer, run.average) if state else None
    if loaded is None:
        return Progress(), {}
    progress, best, scale = loaded
    if scale and run.machine.scaler is not None:
        run.machine.scaler.load_state_dict(scale)
    return progress, best


@dataclass(frozen=True)
class _Run:
    """What is the same in every epoch."""

    system: System
    objective: torch.nn.Module
    """The system with its loss, wrapped for the processes and the precision there are."""
    optimizer: torch.optim.Optimizer
    average: Average
    train: Dataset
    config: TrainingConfig
    machine: Accelerator
    seed: int
    watch: Watch | None

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train on every batch once; returns the record of the epoch: its mean losses."""
        if self.system.solutions:
            parts = evaluation_batches(self.train.lengths, self.config.batch)
            losses = self.system.solve((self.train.batch(part) for part in parts), epoch)
            return {"epoch": epoch + 1, **losses, "rate": 0.0}
        seed_everything(self.seed, epoch, self.machine.process_index)
        self.objective.train()
        second = 0 < self.config.second_stage <= epoch
        if second:
            self.optimizer.state.clear()
            set_criteria(self.system, self.train, self.config, False)
        steps = self._plan(epoch, "undersampled" if second else self.config.sampling)
        dropped = self._modality_dropout(epoch)
        totals: dict[str, float] = {}
        last = len(steps) * (self.config.second_stage or self.config.epochs)
        for index, step in enumerate(steps):
            share = rate_at(epoch * len(steps) + index, last, self.config)
            set_rate(self.optimizer, self.config.second_rate / self.config.rate if second else share)
            for name, value in (losses := self._step(step, dropped, epoch)).items():
                totals[name] = totals.get(name, 0.0) + value
            if self.watch is not None:
                self.watch.step(index + 1, len(steps), losses["loss"])
        means = {name: value / len(steps) for name, value in totals.items()}
        return {"epoch": epoch + 1, **means, "rate": self.optimizer.param_groups[0]["lr"]}

    def _plan(self, epoch: int, sampling: Sampling) -> list[TrainingStep]:
        batches = plan_epoch(
            self.train.lengths,
            self.train.classes,
            batch=self.config.batch,
            pool=self.config.pool,
            sampling=sampling,
            seed=self.seed,
            epoch=epoch,
        )
        rank, processes = self.machine.process_index, self.machine.num_processes
        steps = list(deal(batches, rank=rank, processes=processes, parts=self.config.accumulate))
        if not steps:
            raise TrainingError(f"{len(self.train)} examples are too few for {processes} processes")
        return steps

    def _step(self, step: TrainingStep, dropped: NDArray[np.bool_], epoch: int) -> dict[str, float]:
        """One update of the parameters; returns the loss and its terms."""
        counts, processes = self.train.counts, self.machine.num_processes
        labels = max(1, int(counts[step.whole].sum()))
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for part in step.parts:
            batch = _without(self.train.batch(part), dropped[part]).to(self.machine.device)
            share = Share(int(counts[part].sum()) / labels * processes, processes, len(step.parts))
            # processes exchange gradients once a step, with its last part
            last = part is step.parts[-1]
            with nullcontext() if last else self.machine.no_sync(self.objective):
                loss = self.objective(batch, share)
                _check_loss(loss.total, loss.terms, epoch, batch.ids)
                self.machine.backward(loss.total)
            sums["loss"] = sums.get("loss", 0.0) + float(loss.total.detach())
            for name, value in loss.terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(step.parts)
        self._clip(epoch, step)
        self.optimizer.step()
        self.average.follow()
        return sums

    def _clip(self, epoch: int, step: TrainingStep) -> None:
        self.machine.unscale_gradients(self.optimizer)
        for name, norm in clip_members(self.system, self.config.clip).items():
            if not torch.isfinite(norm) and self.machine.scaler is None:  # a scaler skips such a step itself
                part = f" of '{name}'" if name else ""
                ids = [self.train.ids[i] for i in step.whole]
                raise TrainingError(f"the gradient{part} is {float(norm)} in epoch {epoch + 1}, {_who(ids)}")

    def _modality_dropout(self, epoch: int) -> NDArray[np.bool_]:
        """(n, 2): which examples lose speech / text this epoch; the same in every process."""
        share = self.system.config.modality_dropout
        draw = np.random.default_rng([self.seed, epoch, 1]).random(len(self.train))
        return np.stack([draw < share / 2, draw > 1 - share / 2], axis=1)

    @property
    def scale(self) -> dict[str, Any] | None:
        """The state of fp16's gradient scaler."""
        return None if self.machine.scaler is None else dict(self.machine.scaler.state_dict())

    def report(self, record: dict[str, Any]) -> None:
        """Pass the record to the tracker and to ``watch``."""
        self.machine.log({k: v for k, v in record.items() if k != "epoch"}, step=record["epoch"])
        if self.watch is not None and self.machine.is_main_process:
            self.watch.epoch(record)


def _without(batch: Batch, dropped: NDArray[np.bool_]) -> Batch:
    """The batch without the dropped modalities; an utterance keeps its only one."""
    if not dropped.any():
        return batch
    missing = torch.from_numpy(dropped) & batch.present.all(-1, keepdim=True)
    return batch.without(speech=missing[:, 0], text=missing[:, 1])


def _check_loss(loss: torch.Tensor, terms: dict[str, torch.Tensor], epoch: int, ids: tuple[str, ...]) -> None:
    if not torch.isfinite(loss):
        values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items())
        raise TrainingError(
            f"the loss is {float(loss.detach())} in epoch {epoch + 1} ({values}), {_who(ids)}"
        )


def _who(ids: Iterable[str]) -> str:
    names = list(ids)
    return f"batch of {len(names)}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"


def seed_everything(*numbers: int) -> None:
    """One seed for torch's streams, made of several numbers."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
