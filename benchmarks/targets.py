"""What targets beside the class reach on the demo corpus, whose best scores are known, and their ablations.

    undertone prepare demo runs/demo/audio --out runs/demo/corpus.jsonl
    python benchmarks/targets.py runs/demo/corpus.jsonl --out runs/targets [--only NAME …] [--seeds 3]
    python benchmarks/targets.py runs/demo/corpus.jsonl --out runs/targets --few 2 --system concat --draws 3

Trains ``unison``'s recipe, or that of ``--system``, in five folds (``loso``) and prints a JSON line for each
run: UA, CCC of arousal and valence with their share of the ceiling, KL to the votes, macro-F1 by EMO-SUPERB's
rule. Then the ablations, differences paired over sessions. Finished folds are not trained again.

    planted      the recipe as it is: planted classes, further targets on a detached trunk
    shared       planted classes, one trunk for all targets
    majority     the raters' majority as the class, ties without one; several emotions beside it
    soft         the fractions of the votes beside that majority, one trunk
    soft-drop    as ``soft``, utterances without agreement left out
    fitted       as ``soft``, several emotions by thresholds fitted on the validation part, not 1/C
    one-hot      the votes alone as target, all of them for their majority, ties without votes
    votes        the same with the votes as they are, ties without votes too: only the fractions differ
    votes-ties   the same with the votes of ties

``--few N`` lets N of the six raters of an utterance train and choose, drawn anew in each of ``--draws``, and
compares with the votes of all six: of two raters, a third of all utterances tie. A share of the utterances
(``--share``) has votes; the others are tested alone.

    keep         the votes alone as target
    drop         the same, ties without votes

``kl_tempered``: KL after one temperature, fitted to the votes of the validation part, those of ties too, so
that runs do not differ by how sure they are.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from undertone import manifest as manifests
from undertone.corpora.demo.raters import rated_ceilings
from undertone.evaluation import metrics
from undertone.evaluation.facts import grouping
from undertone.evaluation.rated import Rated, against_ratings, compare_rated, mean, sums
from undertone.evaluation.raters import divergence, mean_interval
from undertone.evaluation.runs import Run
from undertone.evaluation.runs import read as read_run
from undertone.evaluation.significance import paired_of
from undertone.experiment.crossval import crossval
from undertone.experiment.examples import fold_data
from undertone.experiment.material import open_material
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.labels.rated import fractions
from undertone.models.folder import load
from undertone.store import Store
from undertone.training.inference import infer
from undertone.types import Utterance

PAIRS = (
    ("soft", "majority"),
    ("soft", "soft-drop"),
    ("fitted", "soft"),
    ("shared", "planted"),
    ("votes", "one-hot"),
    ("votes-ties", "votes"),
)
Votes = Mapping[str, Mapping[str, float]]
Floats = NDArray[np.float64]


def majority(utterance: Utterance) -> Utterance:
    """The utterance labelled by its raters; without a label where two classes have as many votes."""
    ranked = sorted(utterance.votes.values(), reverse=True)
    tie = len(ranked) > 1 and ranked[0] == ranked[1]
    best = None if tie or not ranked else max(utterance.votes, key=utterance.votes.__getitem__)
    return replace(utterance, label=best)


def few(utterance: Utterance, raters: int, share: float, draw: int) -> Utterance:
    """With the votes of some of its raters, by their majority; or without votes."""
    rng = random.Random(f"{draw} {utterance.id}")
    named = [name for name, n in sorted(utterance.votes.items()) for _ in range(round(n))]
    chosen = Counter(rng.sample(named, raters)) if rng.random() < share else {}
    return majority(replace(utterance, votes={name: float(n) for name, n in chosen.items()}))


def agreed(utterance: Utterance) -> Utterance:
    """Without votes where there is no majority."""
    return utterance if utterance.label else replace(utterance, votes={})


def one_hot(utterance: Utterance) -> Utterance:
    """All votes for the majority, none where there is none."""
    return replace(utterance, votes={utterance.label: 1.0} if utterance.label else {})


@dataclass(frozen=True)
class Case:
    """A run of the benchmark."""

    recipe: Recipe
    known: Path
    """The manifest by whose votes the temperature is fitted."""


def cases(corpus: Path, args: argparse.Namespace) -> dict[str, Case]:
    """Every run by name; the manifests of other labels and votes are written beside the corpus."""
    read = manifests.read(corpus)
    pre = "" if args.system == "unison" else f"{args.system}-"

    def written(name: str, utterances: list[Utterance]) -> Path:
        path = corpus.with_stem(f"{corpus.stem}-{name}")
        manifests.write(path, utterances, read.meta)
        return path

    def made(name: str, manifest: Path, *options: str, known: Path | None = None) -> Case:
        own = [f"protocol.seeds={args.seeds}", *args.set, f"name={pre}{name}", f"manifest={manifest}"]
        return Case(load_recipe(Path(f"demo/{args.system}"), [*own, *options]), known or corpus)

    alone = 'target=["distribution"]', "target_trunk=shared"
    if args.few:
        thinned = {}
        for draw in range(args.draws):
            name = f"{args.few}-of-{args.share:g}-{draw}"
            thin = [few(u, args.few, args.share, draw) for u in read.utterances]
            keep = written(name, thin)
            drop = written(f"{name}-agreed", [agreed(u) for u in thin])
            for kind, manifest in (("keep", keep), ("drop", drop)):
                thinned[f"{kind}-{name}"] = made(f"{kind}-{name}", manifest, *alone, known=keep)
        return thinned
    labelled = [majority(u) for u in read.utterances]
    voted = written("votes", labelled)
    certain = written("one-hot", [one_hot(u) for u in labelled])
    untied = written("agreed", [agreed(u) for u in labelled])
    votes = 'target=["class","distribution","multilabel","dimensions"]', "target_trunk=shared"
    return {
        "planted": made("planted", corpus),
        "shared": made("shared", corpus, "target_trunk=shared"),
        "majority": made("majority", voted, 'target=["class","multilabel","dimensions"]'),
        "soft": made("soft", voted, *votes),
        "soft-drop": made("soft-drop", voted, *votes, "protocol.no_agreement=drop"),
        "fitted": made("fitted", voted, *votes, 'thresholds="fitted"'),
        "one-hot": made("one-hot", certain, *alone),
        "votes": made("votes", untied, *alone),
        "votes-ties": made("votes-ties", voted, *alone),
    }


def distribution(row: Mapping[str, Any], labels: Sequence[str]) -> Floats:
    """(C,) as it is predicted; where the votes alone are the target it is the posterior."""
    given = row.get("distribution", row["probabilities"])
    return np.array([float(given[name]) for name in labels])


def tempered(run: Run, recipe: Recipe, known: Votes) -> tuple[dict[str, Floats], list[float]]:
    """By utterance the distributions (seeds, C) after one temperature for each training, and these."""
    labels = run.predictions.labels
    material = open_material(run.folder, recipe.manifest, recipe.every_turn, recipe.rated)
    made: dict[str, list[Floats]] = {}
    temperatures = []
    for job in run.jobs:
        data = fold_data(material, recipe, job.fold).validation
        system = load(job.folder).system
        outputs = infer(system, data)
        own = softmax(outputs.logits / float(system.temperature), -1)
        logs = np.log(np.maximum(outputs.asides.get("distribution", own).astype(float), 1e-12))
        share = np.stack([fractions(known.get(i, {}), labels) for i in outputs.ids]).astype(np.float64)
        rated = np.isfinite(share).all(1)

        def loss(heat: float, logs: Floats = logs[rated], share: Floats = share[rated]) -> float:
            return float(divergence(share, softmax(logs / np.exp(heat), -1)).mean())

        heat = float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))
        temperatures.append(heat)
        for name, row in run.rows[run.predictions.seeds.index(job.seed)].items():
            if row["fold"] == job.fold:
                logits = np.log(np.maximum(distribution(row, labels), 1e-12))
                made.setdefault(name, []).append(softmax(logits / heat))
    return {name: np.stack(rows) for name, rows in made.items()}, temperatures


@dataclass(frozen=True)
class Scored:
    """A run against all raters of the corpus."""

    line: dict[str, Any]
    ids: frozenset[str]
    rated: Rated | None
    kl: dict[str, Floats]
    """(U, 2): sums of KL by session and their numbers, as predicted (``kl``) and after the temperature."""


def score(name: str, folder: Path, case: Case, everyone: Mapping[str, Utterance]) -> Scored:
    """One run's scores over ``everyone`` whom it tested, by their votes and planted classes, whatever it was
    trained with."""
    run = read_run(folder)
    whole = {i: {**fact, "votes": dict(everyone[i].votes)} for i, fact in run.facts.items() if i in everyone}
    rows = [{i: row for i, row in one.items() if i in everyone} for one in run.rows]
    run = replace(run, facts=whole)
    run.__dict__["rows"] = rows  # a cached property
    rated = against_ratings(
        run, "session"
    )  # None where the votes alone were learned: the posterior is theirs
    labels, best = run.predictions.labels, rated_ceilings()["full_knowledge"]
    known = {u.id: u.votes for u in manifests.read(case.known).utterances}
    made, heats = tempered(run, case.recipe, known)
    ids = sorted(made)
    share = np.stack([fractions(everyone[i].votes, labels) for i in ids]).astype(float)
    plain = {i: np.stack([distribution(row[i], labels) for row in run.rows]) for i in ids}
    far = {
        key: divergence(share, np.stack([one[i] for i in ids], 1)).mean(0)
        for key, one in (("kl", plain), ("kl_tempered", made))
    }
    units = grouping(run.facts, ids, "session")
    truth = np.array([labels.index(str(everyone[i].label)) for i in ids])
    named = [np.array([labels.index(row[i]["label"]) for i in ids]) for row in run.rows]
    trained = manifests.read(Path(case.recipe.manifest)).utterances
    ccc = rated.ccc if rated else {}
    line = {
        "run": name,
        "seeds": len(run.rows),
        "without_majority": sum(u.label is None for u in trained),
        "without_votes": sum(not u.votes for u in trained),
        "ua_planted": round(float(np.mean([metrics.ua(truth, one, len(labels)) for one in named])), 4),
        **(rated.plain() if rated else {}),
        "ccc_of_ceiling": {d: round(v.value / best[f"ccc_{d}"], 4) for d, v in ccc.items()},
        **{key: mean_interval(values, units).plain() for key, values in far.items()},
        "temperatures": [round(heat, 2) for heat in heats],
        "best_kl": best["kl"],
        "seconds": run.seconds,
    }
    return Scored(line, frozenset(ids), rated, {key: sums(values, units) for key, values in far.items()})


def differences(ours: Scored, theirs: Scored) -> dict[str, list[float]]:
    """By measure the paired difference with its interval."""
    both = compare_rated(ours.rated, theirs.rated) if ours.rated and theirs.rated else {}
    gaps = {name: gap.difference for name, gap in both.items()}
    gaps |= {key: paired_of(ours.kl[key], theirs.kl[key], mean).difference for key in ours.kl}
    return {k: [round(x, 4) for x in (g.value, g.low, g.high)] for k, g in gaps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/targets"))
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--system", default="unison")
    parser.add_argument("--set", nargs="+", default=[], help="options of every recipe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--few", type=int, default=0, help="how many raters of an utterance train")
    parser.add_argument("--share", type=float, default=1.0, help="how many of the utterances have votes")
    parser.add_argument("--draws", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    everyone = {u.id: u for u in manifests.read(args.corpus).utterances}
    done: dict[str, Scored] = {}
    every = cases(args.corpus, args)

    def scored(name: str, those: Mapping[str, Utterance]) -> Scored:
        return score(name, args.out / "runs" / every[name].recipe.title, every[name], those)

    for name, case in every.items():
        if args.only and name not in args.only:
            continue
        store = Store(args.out / "store")
        crossval([case.recipe], args.out / "runs", store=store, processes=1, final=False, over=True)
        done[name] = scored(name, everyone)
        print(json.dumps(done[name].line), flush=True)
        pairs = [*PAIRS, (name.replace("drop", "keep"), name)]
        for ours, theirs in pairs:
            if name not in (ours, theirs) or ours == theirs or not {ours, theirs} <= done.keys():
                continue
            pair = [done[ours], done[theirs]]
            if pair[0].ids != pair[1].ids:  # utterances that both tested
                common = {i: everyone[i] for i in pair[0].ids & pair[1].ids}
                pair = [scored(one, common) for one in (ours, theirs)]
            gap = {"difference": f"{ours} - {theirs}", "utterances": len(pair[0].ids)}
            print(json.dumps(gap | differences(*pair)), flush=True)


if __name__ == "__main__":
    main()
