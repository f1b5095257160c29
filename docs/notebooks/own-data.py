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
# From a folder of clips to a report and a model, by one call. The clips stand in for yours: they are
# **synthesised**, so the figures say that everything works, and nothing about people. It needs
# `undertone[demo,report]` and the encoders in the box.

# %%
import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import undertone

plt.rcParams |= {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False}
COLOURS = {"angry": "#c8452f", "happy": "#e0a92e", "sad": "#3f6fae", "neutral": "#8a8f98"}
SIZE = 240

# %% [markdown]
# ## A folder as people have it
# A folder for each emotion, the speaker in the file's name, the words in a text beside it.

# %%
# !undertone -q prepare demo data/demo --size {SIZE} --out data/demo.jsonl
for line in Path("data/demo.jsonl").read_text(encoding="utf-8").splitlines():
    one = json.loads(line)
    audio = Path("data") / one["audio"]
    place = Path("clips") / one["label"] / f"speaker-{one['speaker']}_{one['id']}{audio.suffix}"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(audio, place)
    place.with_suffix(".txt").write_text(one["text"], encoding="utf-8")
print(*sorted(path.as_posix() for path in Path("clips").rglob("*.txt"))[::60], sep="\n")

# %% [markdown]
# ## What there is, and what will be done
# Nothing is trained yet. It says what it takes for labels, speakers and words, chooses the folds that the
# speakers allow, and estimates the time on this machine.

# %%
undertone.study("clips", "mine", plan_only=True, say=print)
# %% [markdown]
# ## Do it
# Each choice becomes a recipe in `mine/recipes`; stopped, the same call goes on. No speaker is in two parts
# of a fold, and the model is chosen on validation, never on test.

# %%
done = undertone.study("clips", "mine")
found = {result.name: result for result in done.results}
print(f"chosen: {done.chosen}; report: mine/report.html; model: mine/final")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(3, 2), layout="constrained")
for row, result in enumerate(found.values()):
    ua = result.intervals["ua"]
    left.barh(row, 100 * ua.value, color="#8fb3d6")
    left.plot([100 * ua.low, 100 * ua.high], [row, row], color="#23415f", linewidth=2)
left.axvline(25, color="#9c3d10", linestyle=":")
left.set(
    yticks=range(len(found)), yticklabels=found, xlabel="UA, points; interval over speakers", xlim=(0, 100)
)
left.invert_yaxis()
chosen = found[done.chosen]
labels = chosen.run.predictions.labels
counts = np.array(chosen.confusion)
right.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
for (truth, predicted), value in np.ndenumerate(counts):
    share = value / counts[truth].sum()
    right.text(
        predicted, truth, f"{value:.0f}", ha="center", va="center", color="white" if share > 0.6 else "black"
    )
ticks = range(len(labels))
right.set(
    xticks=ticks, xticklabels=labels, yticks=ticks, yticklabels=labels, xlabel="predicted", ylabel="labelled"
)
right.set_title(done.chosen)
# %% [markdown]
# ## The model
# `mine/final` was trained on all clips, as long as the folds needed; its calibration comes from the folds.

# %%
judge = undertone.load("mine")
clips = sorted(Path("clips").rglob("*.wav"))[::80]
figure, axes = plt.subplots(len(clips), 1, figsize=(6.5, 1.5 * len(clips)), sharex=True, layout="constrained")
for axis, clip in zip(axes, clips, strict=True):
    words = clip.with_suffix(".txt").read_text(encoding="utf-8")
    answer = judge.predict(clip, text=words)
    axis.barh(
        list(answer.probabilities),
        list(answer.probabilities.values()),
        color=[COLOURS[one] for one in answer.probabilities],
    )
    axis.set(xlim=(0, 1))
    axis.set_title(f"“{words}”, labelled {clip.parent.name}: {answer.label or 'no label'}", fontsize=9)

# %% [markdown]
# `undertone serve --model mine` serves it. On: [own data or language](../guides/own-data.md), or
# [compare systems](compare-systems.py).
