# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Compare systems
# Which systems find what was planted? The speech here is **synthesised**, with the emotion put into the
# voice, into the words, or into neither alone: into *which word is stressed*. So it is known what each
# system could reach at best, and the comparison says how systems differ, not how well they do on people. It
# needs `undertone[demo,report]` and the encoders in the box.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from undertone.evaluation import metrics, results
from undertone.experiment.crossval import crossval
from undertone.experiment.recipe import load_recipe

plt.rcParams |= {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False}
SIZE = 240  # utterances; 1,000 are what `undertone demo` takes
EPOCHS = 12

# %%
# !undertone -q prepare demo data/demo --size {SIZE} --out data/demo.jsonl
# !undertone audit data/demo.jsonl --protocol loso

# %% [markdown]
# ## The same folds for all
# Each of five sessions is tested once by a model that has seen neither its speakers nor its sentences.
# `probe` gets Whisper base's frozen states from the box, the others the acoustic frames of their recipes;
# nothing is downloaded.

# %%
RUNS = {
    "probe": "transfer/probe",
    "speech": "demo/speech",
    "text": "demo/text",
    "concat": "demo/concat",
    "unison": "demo/unison",
}
common = [
    "manifest=data/demo.jsonl",
    "protocol.split=loso",
    "protocol.refit=false",
    f"training.epochs={EPOCHS}",
]
recipes = [load_recipe(Path(recipe), [f"name={name}", *common]) for name, recipe in RUNS.items()]
crossval(recipes, Path("runs"))
found = {name: results.evaluate(Path("runs") / name) for name in RUNS}

# %% [markdown]
# ## The mean, and how far to trust it
# Intervals count sessions, since their speakers talk with each other. Dotted: what speech alone, text alone
# and their late fusion can reach at best on this corpus.

# %%
ceilings = json.loads(Path("data/demo/card.json").read_text())["ceilings"]
figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
for row, result in enumerate(found.values()):
    ua = result.intervals["ua"]
    axis.plot(
        [100 * ua.low, 100 * ua.high],
        [row, row],
        color="#3f6fae",
        linewidth=6,
        alpha=0.35,
        solid_capstyle="round",
    )
    axis.plot(100 * ua.value, row, "o", color="#23415f")
    axis.text(100 * ua.value, row - 0.18, f"{100 * ua.value:.0f}", ha="center", fontsize=9)
for name in ("speech", "late_fusion"):
    axis.axvline(100 * ceilings[name]["ua"], color="#9c3d10", linestyle=":", linewidth=1.2)
    axis.text(
        100 * ceilings[name]["ua"],
        -0.9,
        f"best of {name.replace('_', ' ')}",
        ha="center",
        fontsize=8,
        color="#9c3d10",
    )
axis.set(
    yticks=range(len(found)),
    yticklabels=found,
    xlabel="UA, points (chance: 25), interval over sessions",
    xlim=(15, 100),
)
axis.invert_yaxis()

# %% [markdown]
# ## What each system can use
# The same tests, divided by what carries the emotion. Words and voices are found by everything that gets
# them; a stressed word that means its opposite only by systems that match words with their speech.

# %%
kinds = ("prosody", "words", "both", "stress")


def by_kind(result: results.Result) -> list[float]:
    predictions = result.run.predictions
    kind = np.array([result.run.facts[one]["kind"] for one in predictions.ids])
    predicted = predictions.predicted()[0]
    return [100 * metrics.ua(predictions.truth[kind == one], predicted[kind == one]) for one in kinds]


grid = np.array([by_kind(result) for result in found.values()])
figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
image = axis.imshow(grid, cmap="YlGnBu", vmin=25, vmax=100, aspect="auto")
for (row, column), value in np.ndenumerate(grid):
    axis.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if value > 65 else "black")
axis.set(xticks=range(len(kinds)), xticklabels=kinds, yticks=range(len(found)), yticklabels=found)
axis.set_title("UA by what carries the emotion")
figure.colorbar(image, label="points")
# %% [markdown]
# ## Is one better than another?
# Each against one reference, named in advance, over the same utterances.

# %%
for one in results.compare(list(found.values()), found["concat"]):
    difference = one.paired.difference
    low, high = 100 * difference.low, 100 * difference.high
    print(f"{one.name:8} {100 * difference.value:+6.1f} ({low:+.1f} to {high:+.1f})")

# %% [markdown]
# `undertone report runs/probe runs/unison --out report.html` writes all of it as a page, with the protocol
# of every number. Larger corpora, three seeds and what each part is worth:
# [results](../results/systems.md).
