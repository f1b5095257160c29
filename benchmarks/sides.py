"""Published classifiers as sides: are they the pipeline's, how fast, and what do fusing and fitting give?

    UNDERTONE_DATA=… python -m studies.sides --out runs/sides     the two checkpoints, once (half an hour)
    UNDERTONE_DATA=… python benchmarks/sides.py [--only equal speed pairs shift simulated] [--clips N]

``equal``      posteriors against transformers' pipeline: the largest difference, on real clips and sentences
``speed``      CPU seconds against the pipeline's, in turns; Whisper at 30 s and at the clip's length
``pairs``      RAVDESS clips of the kept actors, each with a GoEmotions dev sentence of its class: untrained,
               and fitted on 40, 200 and 1,000 pairs of half of the actors, tested on the other half's; before
               that, the labels and probabilities that Whisper's two windows share
``shift``      the same with classes in other proportions, against an oracle that states them as the prior
``simulated``  sides drawn from normal logits, rightly and wrongly confident, of ten speakers: do few clips
               hurt?

Such pairs are independent given the class, so they test fusion and calibration, not alignment, and are no
corpus. Intervals of ``pairs`` and ``shift`` are the middle 95 % over draws of actors, sentences and clips.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.append(str(Path(__file__).parents[1]))  # ``studies`` is not installed

import numpy as np
import torch
from numpy.typing import NDArray

from _timing import line, measure, report
from studies.sides.make import Clip, clips
from studies.starter import sentences
from undertone.evaluation import metrics
from undertone.experiment.fuse import Judged, Wishes, joined, make_sides
from undertone.experiment.fusion import choose, fit, logs_of, only, untrained
from undertone.features.classify import ClassifierConfig, classifier
from undertone.models.example import Dimensions
from undertone.models.sides import SideConfig, Sides, SidesConfig

LABELS = ("angry", "happy", "sad", "neutral")
SIZES = (40, 200, 1000)
SHIFTED = (0.05, 0.15, 0.1, 0.7)


def kept(data: Path, count: int) -> list[Clip]:
    """Some of the clips of actors that were not trained on, in a random order that stays."""
    known = clips(data, trained=False)
    return [known[i] for i in np.random.default_rng(0).permutation(len(known))[:count]]


def shares(classes: Sequence[str], logits: NDArray[np.float32]) -> dict[str, float]:
    return dict(zip(classes, torch.from_numpy(logits[0]).softmax(-1).tolist(), strict=True))


def equal(root: Path, data: Path, speech: Any, text: Any) -> None:
    """The largest difference of any probability from the pipeline's."""
    from transformers import pipeline

    waves = [clip.wave() for clip in kept(data, 4)]
    lines = [s.text for s in sentences.four(sentences.read(data, "dev"))[:60]]
    for side, task, folder, ours, given in (
        ("speech", "audio-classification", root / "whisper-ravdess", speech, waves),
        ("text", "text-classification", root / "minilm-goemotions", text, lines),
    ):
        theirs = pipeline(task, str(folder), device="cpu", dtype=torch.float32)
        far, batched = 0.0, 0.0
        together = [np.asarray(getattr(x, "vectors", x)) for x in ours.encode(given)]
        for one, made in zip(given, together, strict=True):
            alone = ours.encode([one])[0]
            batched = max(batched, float(np.abs(np.asarray(getattr(alone, "vectors", alone)) - made).max()))
            own = shares(ours.labels, made)
            far = max(far, *(abs(own[row["label"]] - row["score"]) for row in theirs(one, top_k=None)))
        line(
            f"sides/{side}-against-pipeline", difference=far, bar=1e-5, batch_to_single=batched, n=len(given)
        )


def speed(root: Path, data: Path, speech: Any, text: Any, count: int = 3) -> None:
    """CPU time against the pipeline; and how far Whisper's short window is from the whole one."""
    from transformers import pipeline

    waves = [clip.wave() for clip in kept(data, count)]
    lines = [s.text for s in sentences.four(sentences.read(data, "dev"))[:30]]
    folder = root / "whisper-ravdess"
    short = classifier(ClassifierConfig(name=str(folder), side="speech", window="clip"))
    theirs = pipeline("audio-classification", str(folder), device="cpu", dtype=torch.float32)
    rivals: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: [theirs(wave) for wave in waves],
        "full": lambda: speech.encode(waves),
        "clip": lambda: short.encode(waves),
    }
    times = measure(rivals, 3)
    more = {
        "clips": count,
        "precision": speech.config.precision,
        "machine_bf16": speech.config.precision == "bf16",
    }
    report("sides/whisper-30s-vs-pipeline", times["full"].cpu, times["pipeline"].cpu, **more)
    report("sides/whisper-clip-window-vs-pipeline", times["clip"].cpu, times["pipeline"].cpu, **more)
    words = pipeline(
        "text-classification", str(root / "minilm-goemotions"), device="cpu", dtype=torch.float32
    )
    rivals = {"pipeline": lambda: [words(one) for one in lines], "ours": lambda: text.encode(lines)}
    times = measure(rivals, 3)
    report("sides/minilm-vs-pipeline", times["ours"].cpu, times["pipeline"].cpu, texts=len(lines))


def windows(root: Path, known: Sequence[Clip], full: NDArray[np.float32]) -> None:
    """Whisper's posteriors by the clip's length beside those by 30 s."""
    short = classifier(
        ClassifierConfig(name=str(root / "whisper-ravdess"), side="speech", window="clip", precision="fp32")
    )
    made = torch.from_numpy(np.concatenate([short.encode([clip.wave()])[0] for clip in known])).softmax(-1)
    whole = torch.from_numpy(full).softmax(-1)
    truth = np.array([short.labels.index(clip.label) for clip in known])
    far = (made - whole).abs().amax(-1)
    line(
        "sides/whisper-clip-window-agreement",
        same_labels=float((made.argmax(-1) == whole.argmax(-1)).float().mean()),
        mean_difference=float(far.mean()),
        largest_difference=float(far.max()),
        ua_full=metrics.ua(truth, whole.argmax(-1).numpy(), 4),
        ua_clip=metrics.ua(truth, made.argmax(-1).numpy(), 4),
        n=len(known),
    )


def logits_of(
    path: Path, ids: Sequence[str], make: Callable[[int], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(n, K) of each id, kept in a file as they are made."""
    done: dict[str, NDArray[np.float32]] = {}
    if path.is_file():
        with np.load(path) as file:
            done = dict(zip(file["ids"].tolist(), file["logits"], strict=True))
    for number, one in enumerate(ids):
        if one not in done:
            done[one] = make(number)
            if number % 20 == 0 or number == len(ids) - 1:
                np.savez(path, ids=np.array(list(done)), logits=np.stack(list(done.values())))
    return np.stack([done[one] for one in ids])


class Pairs:
    """The kept clips' and sentences' logits, and draws of pairs of them."""

    def __init__(self, root: Path, data: Path, speech: Any, text: Any, count: int) -> None:
        self.clips = kept(data, count)
        rows = sentences.four(sentences.read(data, "dev"))
        self.speech = logits_of(
            root / "kept-speech.npz",
            [c.id for c in self.clips],
            lambda i: speech.encode([self.clips[i].wave()])[0][0],
        )
        self.text = logits_of(
            root / "kept-text.npz", [s.id for s in rows], lambda i: text.encode([rows[i].text])[0].vectors[0]
        )
        self.of_clips = np.array([LABELS.index(c.label) for c in self.clips])
        self.of_rows = np.array([LABELS.index(str(s.label)) for s in rows])
        self.actors = np.array([c.speaker for c in self.clips])

    def draw(
        self,
        rng: np.random.Generator,
        actors: Sequence[str],
        pool: NDArray[Any],
        n: int,
        prior: Sequence[float] | None,
    ) -> Judged:
        """``n`` pairs of the actors' clips with sentences of the pool; classes as the clips have them, or as
        the prior states."""
        mine = np.flatnonzero(np.isin(self.actors, actors))
        if prior is None:
            chosen = rng.permutation(np.resize(rng.permutation(mine), n))
        else:
            wanted = rng.choice(4, n, p=prior)
            chosen = np.array([rng.choice(mine[self.of_clips[mine] == k]) for k in wanted])
        said = np.array([rng.choice(pool[self.of_rows[pool] == self.of_clips[i]]) for i in chosen])
        parts = (torch.from_numpy(self.speech[chosen]), torch.from_numpy(self.text[said]))
        present = torch.ones(2, n, dtype=torch.bool)
        return Judged(parts, present, torch.from_numpy(self.of_clips[chosen]), self.actors[chosen])

    def halves(self, rng: np.random.Generator) -> tuple[list[str], list[str], NDArray[Any], NDArray[Any]]:
        """Two groups of actors, two of sentences."""
        actors = rng.permutation(np.unique(self.actors)).tolist()
        rows = rng.permutation(len(self.of_rows))
        return actors[::2], actors[1::2], rows[::2], rows[1::2]


def ua(logs: torch.Tensor, data: Judged) -> float:
    return metrics.ua(data.labels.numpy(), logs.argmax(-1).numpy(), logs.shape[-1])


def ece(logs: torch.Tensor, data: Judged) -> float:
    return metrics.ece(data.labels.numpy(), logs.exp().numpy())


def nll(logs: torch.Tensor, data: Judged) -> float:
    return float(-logs.gather(-1, data.labels[:, None]).mean())


def spread(values: Sequence[float]) -> dict[str, Any]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "mean": round(float(np.mean(values)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def pairs(system: Sides, made: Pairs, draws: int) -> None:
    """Untrained against either side, and the curve of what fitting adds."""
    rows: dict[str, list[float]] = {}
    picked: dict[int, list[str]] = {n: [] for n in SIZES}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        some, rest, learned, unseen = made.halves(rng)
        test = made.draw(rng, rest, unseen, 600, None)
        plain = untrained(system)
        logs = {"untrained": logs_of(system, plain, test)}
        logs |= {s: logs_of(system, plain, only(test, i)) for i, s in enumerate(("speech", "text"))}
        for n in SIZES:
            data = made.draw(rng, some, learned, n, None)
            best, _ = choose(system, data)
            picked[n].append(best.name)
            logs[f"fitted on {n}"] = logs_of(system, fit(system, data, best), test)
        for name, values in logs.items():
            rows.setdefault(f"{name}/ua", []).append(ua(values, test))
            rows.setdefault(f"{name}/ece", []).append(ece(values, test))
        gain = ua(logs["untrained"], test) - max(ua(logs["speech"], test), ua(logs["text"], test))
        rows.setdefault("untrained over better side/points", []).append(100 * gain)
        for n in SIZES:
            over = ua(logs[f"fitted on {n}"], test) - ua(logs["untrained"], test)
            rows.setdefault(f"fitted on {n} over untrained/points", []).append(100 * over)
    for name, values in rows.items():
        line(f"sides/pairs/{name}", **spread(values), draws=draws, clips=len(made.clips))
    for n, names in picked.items():
        line(f"sides/pairs/chosen on {n}", **{one: names.count(one) for one in dict.fromkeys(names)})


def shift(system: Sides, made: Pairs, draws: int, n: int = 200) -> None:
    """Of what an oracle prior gains over the even one, the share that fitted biases gain."""
    gains: dict[str, list[float]] = {"oracle": [], "fitted": []}
    right: dict[str, list[float]] = {"untrained": [], "oracle": [], "fitted": []}
    oracle = Sides(system.config.model_copy(update={"prior": SHIFTED}), system.dimensions).eval()
    for seed in range(draws):
        rng = np.random.default_rng([1, seed])
        some, rest, learned, unseen = made.halves(rng)
        data, test = made.draw(rng, some, learned, n, SHIFTED), made.draw(rng, rest, unseen, 600, SHIFTED)
        best, _ = choose(system, data)
        logs = {
            "untrained": logs_of(system, untrained(system), test),
            "oracle": logs_of(oracle, untrained(oracle), test),
            "fitted": logs_of(system, fit(system, data, best), test),
        }
        for name in gains:
            gains[name].append(nll(logs["untrained"], test) - nll(logs[name], test))
        for name in right:
            right[name].append(metrics.wa(test.labels.numpy(), logs[name].argmax(-1).numpy()))
    for name, values in right.items():
        line(f"sides/shift/{name}/wa", **spread(values), n=n, draws=draws)
    recovered = {
        "loss": float(np.mean(gains["fitted"]) / np.mean(gains["oracle"])),
        "wa": float(
            (np.mean(right["fitted"]) - np.mean(right["untrained"]))
            / (np.mean(right["oracle"]) - np.mean(right["untrained"]))
        ),
    }
    line("sides/shift/recovered", **recovered, bar=0.8, oracle_loss_gain=float(np.mean(gains["oracle"])))


def drawn(
    rng: np.random.Generator, n: int, speakers: int, worth: Sequence[float], confident: Sequence[float]
) -> Judged:
    """Clips of speakers whose logits are normal around the class, ``worth`` apart, times ``confident``; every
    speaker has a bias of their own."""
    labels = rng.integers(0, 4, n)
    who = np.arange(n) % speakers
    parts = []
    for apart, scale in zip(worth, confident, strict=True):
        bias = 0.5 * rng.standard_normal((speakers, 4))
        logits = apart * np.eye(4)[labels] + rng.standard_normal((n, 4)) * apart**0.5 + bias[who]
        parts.append(torch.from_numpy((scale * logits).astype(np.float32)))
    present = torch.ones(len(parts), n, dtype=torch.bool)
    return Judged(tuple(parts), present, torch.from_numpy(labels), np.array([f"s{i:02d}" for i in who]))


def simulated(draws: int) -> None:
    """Differences of fitted and untrained UA on 4,000 clips of other speakers, by size and by confidence."""
    sides = tuple(SideConfig(name=s, side=s, classes=(0, 1, 2, 3)) for s in ("speech", "text"))
    system = Sides(SidesConfig(members=sides), Dimensions(classes=4, speech=4, text=4)).eval()
    for what, confident in (("calibrated", (1.0, 1.0)), ("overconfident", (1.0, 4.0)), ("timid", (0.4, 1.0))):
        for n in (40, 200):
            gained, losses = [], []
            for seed in range(draws):
                rng = np.random.default_rng([2, seed])
                data, test = (drawn(rng, k, s, (1.5, 2.0), confident) for k, s in ((n, 10), (4000, 40)))
                best, _ = choose(system, data)
                before = logs_of(system, untrained(system), test)
                after = logs_of(system, fit(system, data, best), test)
                gained.append(100 * (ua(after, test) - ua(before, test)))
                losses.append(nll(before, test) - nll(after, test))
            worse = float(np.mean(np.array(gained) < -1))
            more = {"below_untrained_by_a_point": worse, "loss_gain": float(np.mean(losses)), "draws": draws}
            line(f"sides/simulated/{what}/{n}-clips/points", **spread(gained), **more)


PARTS = ("equal", "speed", "pairs", "shift", "simulated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--root", type=Path, default=Path("runs/sides"), help="where the checkpoints are")
    parser.add_argument("--clips", type=int, default=288, help="kept clips that are judged")
    parser.add_argument("--draws", type=int, default=20)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    if "simulated" in chosen.only:
        simulated(chosen.draws)
    data = os.environ.get("UNDERTONE_DATA")
    rest = [part for part in chosen.only if part != "simulated"]
    if rest and not data:
        print("skipped: UNDERTONE_DATA does not name the folder with ravdess and goemotions", file=sys.stderr)
        return
    if rest:
        names = str(chosen.root / "whisper-ravdess"), str(chosen.root / "minilm-goemotions")
        sides = make_sides(names[:1], names[1:], Wishes(classes=LABELS, precision="fp32"))
        system = joined(sides, Wishes(classes=LABELS)).system
        speech, text = (one.member for one in sides)
        root = Path(str(data))
        if "equal" in rest:
            equal(chosen.root, root, speech, text)
        if "speed" in rest:
            speed(chosen.root, root, speech, text)
        if {"pairs", "shift"} & set(rest):
            made = Pairs(chosen.root, root, speech, text, chosen.clips)
            windows(chosen.root, made.clips[:40], made.speech[:40])
            if "pairs" in rest:
                pairs(system, made, chosen.draws)
            if "shift" in rest:
                shift(system, made, chosen.draws)
    line("sides/all", cpu_s=round(time.process_time() - started, 1))


if __name__ == "__main__":
    main()
