"""What systems reach over real pretrained encoders, under speaker folds: probe and acoustic features beside.

    UNDERTONE_DATA=… python benchmarks/transfer_accuracy.py SECTION … [--out DIR] [--seeds 3] [--folds 9]

frozen       RAVDESS, EmoDB and nEMO in four classes: the probe, ``speech`` and acoustic features
average      the same corpora: ``speech`` over means without deviations, beside the probe of the same states
layers       the probe on each hidden state, on several, and on frames of speech alone
tuned        RAVDESS: the two upper blocks of Whisper base, or low-rank maps in all, beside frozen ones
granularity  ``multilevel`` beside ``speech``, with the transcripts and with shuffled ones; its members apart
fusion       corpora (``--corpora``) whose words carry no emotion: fusion systems (``--systems``) over each
             ``--average`` frames as one, beside ``speech``
silence      RAVDESS: a model of 12 speakers' clips, whole and cut to their speech, as ``predict`` takes it to
             the clips of six others; and ``speech`` cross-validated over speech alone (``--corpora``)
words        GoEmotions in four classes: MiniLM's probe, frozen, and tuned; dev is the test part
stress       RAVDESS: noise and a telephone's band, of the runs of ``frozen`` and ``tuned``

Everything is an ordinary recipe (recipes/transfer) and run; what is finished is not done again. One JSON line
a run: UA of the pooled folds, mean of the seeds, with its interval over speakers, and the difference from the
opponent that the line names, paired over speakers.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.append(str(Path(__file__).parents[1]))  # ``studies`` is not installed

import numpy as np

from _timing import line
from studies.starter import sentences
from undertone import api
from undertone import manifest as manifests
from undertone.evaluation import metrics
from undertone.evaluation.results import Result, compare, evaluate
from undertone.experiment.crossval import crossval
from undertone.experiment.prepare import prepare
from undertone.experiment.recipe import load_recipe, recipes_folder
from undertone.experiment.stress import stress
from undertone.store import Store
from undertone.types import Utterance

NEMO = {"anger": "angry", "happiness": "happy", "sadness": "sad", "neutral": "neutral"}
SYSTEMS = (
    *("concat", "perspective", "multilevel", "unison"),
    *("mmer", "pooled", "bayesian", "timnet", "clap", "paired"),
)
CORPORA = ("emodb", "ravdess", "nemo")
HELD = 2200
"""Training sentences of GoEmotions that choose the epoch."""
ALONE = ("speech.copies=0", "training.epochs=6", "training.rate=3e-4", "training.averaging=8")
"""Blocks that learn from the recordings alone: by heart, from which they gain next to nothing."""


class Bench:
    """Runs under one folder, made when they are wanted."""

    def __init__(self, data: Path, options: argparse.Namespace) -> None:
        self.data, self.out = data, options.out
        self.seeds, self.folds, self.systems = options.seeds, options.folds, options.systems
        self.corpora, self.average = options.corpora, options.average
        self.out.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.out / "store")

    def manifest(self, corpus: str, spoken: bool = False) -> Path:
        """A corpus' four classes, or GoEmotions' sentences; ``spoken``: without silence around speech."""
        path = self.out / f"{corpus}{'-spoken' * spoken}.jsonl"
        if path.is_file():
            return path
        if corpus == "goemotions":
            manifests.write(
                path, goemotions(self.data), manifests.Meta("goemotions", None, tuple(sentences.MAPPING))
            )
        elif corpus == "nemo":
            options = {"columns": {"path": "audio"}, "label_map": {**NEMO, "fear": None, "surprised": None}}
            prepare("table", self.data / "nemo" / "manifest.csv", path, options=options, spoken=spoken)
        else:
            prepare(corpus, self.data / corpus, path, labels=f"{corpus}4", spoken=spoken)
        return path

    def run(self, name: str, recipe: str, corpus: str, *changes: str, manifest: Path | None = None) -> Result:
        """A run of a recipe of recipes/transfer on a corpus."""
        file = manifest or self.manifest(corpus)
        speakers = len({u.speaker for u in manifests.read(file).utterances})
        folds = () if corpus == "goemotions" else (f"protocol.folds={min(self.folds, speakers)}",)
        own = (f'manifest="{file}"', f'name="{name}"', f"protocol.seeds={self.seeds}", *folds, *changes)
        loaded = load_recipe(recipes_folder() / "transfer" / f"{recipe}.toml", own)
        done = crossval([loaded], self.out / "runs", store=self.store, final=False)
        if done.failures:
            raise SystemExit(f"{name}: {done.failures[0].why}")
        return evaluate(done.runs[0])


def goemotions(data: Path) -> list[Utterance]:
    """The sentences of the four classes: training, some of it for validation, and dev as the test part."""
    made = []
    for part in ("train", "dev"):
        rows = sentences.four(sentences.read(data, part))
        held = (
            set(np.random.default_rng(7).permutation(len(rows))[:HELD].tolist()) if part == "train" else set()
        )
        for index, row in enumerate(rows):
            split = "test" if part == "dev" else "validation" if index in held else "train"
            name = f"{part}-{index}-{row.id}"
            made.append(
                Utterance(
                    name,
                    "none.wav",
                    speaker=name,
                    text=row.text,
                    text_source="gold",
                    label=row.label,
                    extra={"split": split},
                )
            )
    return made


def show(section: str, result: Result, against: Result | None = None, **more: Any) -> None:
    """One line: the run's scores and its difference from another run."""
    interval = result.intervals["ua"]
    values: dict[str, Any] = {"ua": 100 * result.seeds["ua"].mean}
    values |= {"interval": [round(100 * interval.low, 1), round(100 * interval.high, 1)]}
    values |= {"seeds": [round(100 * x, 1) for x in result.seeds["ua"].values]}
    values |= {"macro_f1": 100 * result.seeds["macro_f1"].mean, "seconds": result.run.seconds}
    if against is not None:
        (paired,) = [
            c.paired for c in compare([against, result], against) if c.name == result.name and c.paired
        ]
        d = paired.difference
        values |= {"against": against.name, "ratio": result.seeds["ua"].mean / against.seeds["ua"].mean}
        values |= {"difference": [round(100 * x, 1) for x in (d.value, d.low, d.high)]}
    line(f"transfer/{section}/{result.name}", **values, n=len(result.run.predictions.ids), **more)


def frozen(bench: Bench) -> None:
    acoustic = ("speech.name=acoustic", "speech.layer=last")
    tiny = ("speech.name=whisper-tiny.en", "speech.layer=1-3")
    for corpus in ("ravdess", "emodb", "nemo"):
        probe = bench.run(f"{corpus}-probe", "probe", corpus)
        show("frozen", probe)
        show("frozen", bench.run(f"{corpus}-speech", "speech", corpus), probe)
        small = bench.run(f"{corpus}-tiny-probe", "probe", corpus, *tiny)
        show("frozen", small, probe)
        show("frozen", bench.run(f"{corpus}-tiny-speech", "speech", corpus, *tiny), small)
        show("frozen", bench.run(f"{corpus}-acoustic-probe", "probe", corpus, *acoustic), probe)


def average(bench: Bench) -> None:
    for corpus in bench.corpora:
        for states, window in (
            ("3", "clip"),
            ("2-3", "clip"),
            ("2-4", "clip"),
            ("3", "full"),
            ("2-3", "full"),
        ):
            if window == "full" and corpus != "emodb":
                continue
            name, more = f"{states}-{window}", (f"speech.layer={states}", f"speech.window={window}")
            probe = bench.run(f"{corpus}-probe-{name}", "probe", corpus, *more)
            show("average", probe)
            mean = bench.run(f"{corpus}-average-{name}", "speech", corpus, *more, "model.pooling=average")
            show("average", mean, probe)


def layers(bench: Bench) -> None:
    for corpus in ("ravdess", "emodb"):
        last = bench.run(f"{corpus}-probe", "probe", corpus)
        for layer in ("0", "1", "2", "3", "last", "1-3", "2-4", "weighted"):
            show(
                "layers", bench.run(f"{corpus}-probe-{layer}", "probe", corpus, f"speech.layer={layer}"), last
            )
        for pooling in ("mean_std", "attention", "max"):
            name = f"{corpus}-speech-{pooling}"
            show(
                "pooling",
                bench.run(name, "speech", corpus, f"model.pooling={pooling}", "protocol.seeds=1"),
                last,
            )


def tuned(bench: Bench) -> None:
    """Without the refit: validation speakers must be new to the head that tuning begins with."""
    kept = bench.run("ravdess-frozen", "speech-frozen", "ravdess")
    show("tuned", kept)
    warm = (f'training.warm="{kept.run.folder}"', "training.precision=bf16")
    show("tuned", bench.run("ravdess-top2-copies", "speech-top2", "ravdess", *warm), kept)
    more = ("speech.copies=4", "training.epochs=10")
    show("tuned", bench.run("ravdess-frozen-copies", "speech-frozen", "ravdess", *more), kept)
    show("tuned", bench.run("ravdess-top2", "speech-top2", "ravdess", *warm, *ALONE), kept)
    states = bench.run("ravdess-frozen-0-4", "speech-frozen", "ravdess", "speech.layer=0-4")
    lora = ("speech.tune=lora", "training.encoder_rate=5e-4", f'training.warm="{states.run.folder}"')
    show("tuned", bench.run("ravdess-lora", "speech-top2", "ravdess", *warm[1:], *lora), kept)


def shuffled(manifest: Path, out: Path) -> Path:
    """The same recordings, each with another's transcript, and no boundaries."""
    read = manifests.read(manifest)
    texts = [u.text for u in read.utterances]
    random.Random(0).shuffle(texts)
    manifests.write(
        out,
        [replace(u, text=t, alignment=None) for u, t in zip(read.resolved(), texts, strict=True)],
        read.meta,
    )
    return out


def granularity(bench: Bench) -> None:
    for corpus in [name for name in bench.corpora if name != "nemo"]:
        own = bench.out / f"{corpus}-aligned.jsonl"
        file = own if own.is_file() else bench.manifest(corpus)
        kept = bench.run(f"{corpus}-speech", "speech", corpus)
        members = {
            "late": ["late-frame", "late-phone", "late-syllable", "late-word"],
            **{level: [f"late-{level}"] for level in ("frame", "phone", "syllable", "word")},
        }
        show("granularity", bench.run(f"{corpus}-multilevel", "multilevel", corpus, manifest=file), kept)
        other = shuffled(file, bench.out / f"{corpus}-shuffled.jsonl")
        show(
            "granularity",
            bench.run(f"{corpus}-multilevel-shuffled", "multilevel", corpus, manifest=other),
            kept,
        )
        for name, chosen in members.items():
            quoted = ", ".join(f'"{one}"' for one in chosen)
            run = bench.run(
                f"{corpus}-{name}",
                "multilevel",
                corpus,
                f"model.members=[{quoted}]",
                manifest=file,
            )
            show("granularity", run, kept)


def fusion(bench: Bench) -> None:
    fewer = (f"speech.average={bench.average}",) if bench.average > 1 else ()
    for corpus in bench.corpora:
        kept = bench.run(f"{corpus}-speech", "speech", corpus)
        show("fusion", kept, bench.run(f"{corpus}-probe", "probe", corpus))
        for system in bench.systems:
            name = f"{corpus}-{system}" + (f"-{bench.average}" if fewer else "")
            show("fusion", bench.run(name, system, corpus, *fewer), kept)


def silence(bench: Bench) -> None:
    for spoken in (False, True):
        held = manifests.read(bench.manifest("ravdess", spoken=spoken))
        speakers = sorted({str(u.speaker) for u in held.utterances})
        learned = bench.out / ("ravdess-12-spoken.jsonl" if spoken else "ravdess-12.jsonl")
        some = [u for u in held.resolved() if u.speaker in speakers[:12]]
        manifests.write(learned, some, held.meta)
        own = (f'manifest="{learned}"', f'name="{learned.stem}"', "protocol.folds=3", "protocol.seeds=1")
        recipe = load_recipe(recipes_folder() / "transfer" / "probe.toml", own)
        run = crossval([recipe], bench.out / "runs", store=bench.store).runs[0]
        others = [u for u in held.resolved() if u.speaker in speakers[12:]]
        judged = api.predict([u.audio for u in others], run / "final", explain=False)
        classes = held.meta.classes
        truth = np.array([classes.index(str(u.label)) for u in others])
        answers = np.array([classes.index(p.label) if p.label else -1 for p in judged])
        ua = metrics.ua(truth, answers, len(classes))
        stated = evaluate(run).seeds["ua"].mean
        line(f"transfer/silence/{learned.stem}", predict=100 * ua, ratio=ua / stated, report=100 * stated)
    for corpus in bench.corpora:
        for states in ("2-3", "3"):
            more, file = f"speech.layer={states}", bench.manifest(corpus, spoken=True)
            probe = bench.run(f"{corpus}-spoken-probe-{states}", "probe", corpus, more, manifest=file)
            show("silence", probe)
            made = bench.run(f"{corpus}-spoken-{states}", "speech", corpus, more, manifest=file)
            show("silence", made, probe)


def words(bench: Bench) -> None:
    fixed = ("protocol.split=fixed", "protocol.refit=false")
    probe = bench.run("words-probe", "text-probe", "goemotions", *fixed, "training.class_weights=false")
    show("words", probe)
    show(
        "words",
        bench.run(
            "words-frozen", "text", "goemotions", *fixed, "training.class_weights=false", "training.epochs=15"
        ),
        probe,
    )
    learn = (
        "text.tune=full",
        "model.text_pooling=mean",
        "model.width=384",
        "model.dropout=0.1",
        "training.epochs=3",
        "training.rate=1e-4",
        "training.layer_decay=0.85",
        "training.encoder_rate=1e-4",
        "training.averaging=0",
        "training.smoothing=0",
        "training.class_weights=false",
        "training.precision=fp32",
    )
    show("words", bench.run("words-tuned", "text", "goemotions", *fixed, *learn), probe)


def worse(bench: Bench) -> None:
    names = ("probe", "speech", "top2", "frozen", "frozen-copies", "top2-copies")
    for name in (f"ravdess-{one}" for one in names if (bench.out / "runs" / f"ravdess-{one}").is_dir()):
        result = evaluate(bench.out / "runs" / name)
        for sweep, rows in stress(result.run.folder).items():
            for row in rows:
                line(f"transfer/stress/{name}/{sweep}/{row['at']}", ua=100 * row["ua"], ece=100 * row["ece"])


SECTIONS = {
    "frozen": frozen,
    "average": average,
    "layers": layers,
    "tuned": tuned,
    "granularity": granularity,
    "fusion": fusion,
    "silence": silence,
    "words": words,
    "stress": worse,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="+", choices=[*SECTIONS])
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--folds", type=int, default=9, help="folds of speakers, one a speaker where there are fewer"
    )
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="of the section fusion")
    parser.add_argument(
        "--corpora",
        nargs="+",
        default=CORPORA,
        help="of the sections average, fusion, granularity and silence",
    )
    parser.add_argument("--average", type=int, default=1, help="of fusion: so many frames become one")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    data = Path(os.environ.get("UNDERTONE_DATA") or "")
    if not (data / "ravdess").is_dir():
        raise SystemExit("UNDERTONE_DATA names no folder with ravdess: nothing is measured")
    for section in options.sections:
        began = time.process_time()
        SECTIONS[section](Bench(data, options))
        line(f"transfer/{section}", cpu_minutes=(time.process_time() - began) / 60)


if __name__ == "__main__":
    main()
