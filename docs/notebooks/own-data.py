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
# # Own data
# From a table of clips to a report and a model. The clips stand in for yours: they are **synthesised**, so
# the figures say that everything works, and nothing about people. It needs `undertone[demo,report]` and the
# encoders in the box.

# %%
import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import undertone
from undertone.evaluation import results

plt.rcParams |= {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False}
COLOURS = {"angry": "#c8452f", "happy": "#e0a92e", "sad": "#3f6fae", "neutral": "#8a8f98"}
SIZE = 240

# %% [markdown]
# ## A table as people have it
# A path, what is said, who says it, and a label in words of one's own.

# %%
# !undertone -q prepare demo data/demo --size {SIZE} --out data/demo.jsonl
with Path("data/demo.jsonl").open(encoding="utf-8") as lines, Path("clips.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["file", "says", "speaker", "emotion"])
    for one in map(json.loads, lines):
        table.writerow([Path("data") / one["audio"], one["text"], one["speaker"], one["label"].upper()])
print(*Path("clips.csv").read_text().splitlines()[:4], sep="\n")

# %% [markdown]
# ## Into a manifest, and what it holds

# %%
# !undertone prepare table clips.csv --out data/own.jsonl \
#   --map file=audio --map says=text --map emotion=label \
#   --label-map ANGRY=angry --label-map HAPPY=happy --label-map SAD=sad --label-map NEUTRAL=neutral
# !undertone audit data/own.jsonl --protocol kfold-speaker

# %% [markdown]
# ## From the simplest system up
# `probe` is a logistic regression on what the encoder's frozen states hold; what does not beat it has
# learned nothing more. No speaker is in two parts of a fold.

# %%
# !undertone -q crossval transfer/probe transfer/speech transfer/text transfer/concat \
#   --set manifest=data/own.jsonl --set training.epochs=15
# !undertone report runs/probe runs/speech runs/text runs/concat --out report.html

# %%
found = {name: results.evaluate(Path("runs") / name) for name in ("probe", "speech", "text", "concat")}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(3, 2), layout="constrained")
for row, result in enumerate(found.values()):
    ua = result.intervals["ua"]
    left.barh(row, 100 * ua.value, color="#8fb3d6")
    left.plot([100 * ua.low, 100 * ua.high], [row, row], color="#23415f", linewidth=2)
left.axvline(25, color="#9c3d10", linestyle=":")
left.set(
    yticks=range(len(found)),
    yticklabels=found,
    xlabel="UA, points; interval over speakers",
    xlim=(0, 100),
)
left.invert_yaxis()
labels = found["concat"].run.predictions.labels
counts = np.array(found["concat"].confusion)
right.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
for (truth, predicted), value in np.ndenumerate(counts):
    right.text(predicted, truth, f"{value:.0f}", ha="center", va="center")
right.set(
    xticks=range(4),
    xticklabels=labels,
    yticks=range(4),
    yticklabels=labels,
    xlabel="predicted",
    ylabel="labelled",
)
right.set_title("concat")
# %% [markdown]
# ## The model
# `runs/concat/final` was trained on all clips, as long as the folds needed. Calibration comes from the
# folds.

# %%
judge = undertone.load("runs/concat")
with Path("clips.csv").open() as file:
    row = next(csv.DictReader(file))
answer = judge.predict(row["file"], text=row["says"])
figure, axis = plt.subplots(figsize=(6, 1.8), layout="constrained")
axis.barh(
    list(answer.probabilities),
    list(answer.probabilities.values()),
    color=[COLOURS[one] for one in answer.probabilities],
)
axis.set(
    xlim=(0, 1), title=f"“{row['says']}”, labelled {row['emotion'].lower()}: {answer.label or 'no label'}"
)

# %% [markdown]
# `undertone serve --model runs/concat` serves it. On: [own data or language](../guides/own-data.md), or
# [compare systems](compare-systems.py).
