"""What targets beside the class reach on the demo corpus, whose best scores are known, and their ablations.

    undertone prepare demo runs/demo/audio --out runs/demo/corpus.jsonl
    python benchmarks/targets.py runs/demo/corpus.jsonl --out runs/targets [--only NAME …]

Trains ``unison``'s recipe in five folds (``loso``), seed 0, and prints a JSON line for each run: UA, CCC of
arousal and valence with their share of the ceiling, KL to the votes, macro-F1 by EMO-SUPERB's rule. Then the
ablations, differences paired over sessions. Finished folds are not trained again.

    planted      the recipe as it is: planted classes, further targets on a detached trunk
    shared       planted classes, one trunk for all targets
    majority     the raters' majority as the class, ties without one; several emotions beside it
    soft         the fractions of the votes beside that majority, one trunk
    soft-drop    as ``soft``, utterances without agreement left out
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from undertone import manifest as manifests
from undertone.corpora.demo.raters import rated_ceilings
from undertone.evaluation.rated import Rated, compare_rated
from undertone.evaluation.results import Result, evaluate
from undertone.experiment.crossval import crossval
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.store import Store
from undertone.types import Utterance

PAIRS = (("soft", "majority"), ("soft", "soft-drop"), ("shared", "planted"))


def majority(utterance: Utterance) -> Utterance:
    """The utterance labelled by its raters; without a label where two classes have as many votes."""
    ranked = sorted(utterance.votes.values(), reverse=True)
    tie = len(ranked) > 1 and ranked[0] == ranked[1]
    return replace(utterance, label=None if tie else max(utterance.votes, key=utterance.votes.__getitem__))


def recipes(corpus: Path) -> dict[str, Recipe]:
    """Every run by name; the manifest of the raters' labels is written beside the corpus."""
    voted = corpus.with_stem(f"{corpus.stem}-votes")
    read = manifests.read(corpus)
    manifests.write(voted, [majority(u) for u in read.utterances], read.meta)

    def made(name: str, manifest: Path, *options: str) -> Recipe:
        return load_recipe(Path("demo/unison"), [f"name={name}", f"manifest={manifest}", *options])

    votes = 'target=["class","distribution","multilabel","dimensions"]'
    return {
        "planted": made("planted", corpus),
        "shared": made("shared", corpus, "target_trunk=shared"),
        "majority": made("majority", voted, 'target=["class","multilabel","dimensions"]'),
        "soft": made("soft", voted, votes, "target_trunk=shared"),
        "soft-drop": made("soft-drop", voted, votes, "target_trunk=shared", "protocol.no_agreement=drop"),
    }


def line(name: str, result: Result, rated: Rated) -> dict[str, object]:
    """One run's scores."""
    best = rated_ceilings()["full_knowledge"]
    values = rated.plain()
    shares = {d: round(v.value / best[f"ccc_{d}"], 4) for d, v in rated.ccc.items()}
    return {
        "run": name,
        "ua": result.seeds["ua"].mean,
        **values,
        "ccc_of_ceiling": shares,
        "best_kl": best["kl"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/targets"))
    parser.add_argument("--only", nargs="+", default=[])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    done: dict[str, Rated] = {}
    for name, recipe in recipes(args.corpus).items():
        if args.only and name not in args.only:
            continue
        store = Store(args.out / "store")
        crossval([recipe], args.out / "runs", store=store, processes=1, final=False, over=True)
        result = evaluate(args.out / "runs" / name)
        assert result.rated is not None
        done[name] = result.rated
        print(json.dumps(line(name, result, result.rated)), flush=True)
    for ours, theirs in PAIRS:
        if ours in done and theirs in done:
            gaps = compare_rated(done[ours], done[theirs])
            plain = {
                k: [round(x, 4) for x in (g.difference.value, g.difference.low, g.difference.high)]
                for k, g in gaps.items()
            }
            print(json.dumps({"difference": f"{ours} - {theirs}", **plain}), flush=True)


if __name__ == "__main__":
    main()
