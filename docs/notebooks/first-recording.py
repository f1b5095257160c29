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
# # A first recording
# What the model in the box makes of three acted recordings, and of a call in which two people speak. It
# needs `undertone[starter,vad]` and matplotlib; nothing is downloaded.

# %%
import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

import undertone

COLOURS = {"angry": "#c8452f", "happy": "#e0a92e", "sad": "#3f6fae", "neutral": "#8a8f98", None: "#e4e4e4"}
plt.rcParams |= {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False}
judge = undertone.load("starter")
judge.labels

# %% [markdown]
# ## Three clips
# They come with the model: two of RAVDESS (S. R. Livingstone and F. A. Russo, 2018, CC BY-NC-SA 4.0) and
# one of EmoDB (F. Burkhardt and others, 2005, CC BY 4.0). The model learned from these corpora, so this
# shows what an answer is, not how good it is.

# %%
package = Path(importlib.util.find_spec("undertone_starter").submodule_search_locations[0])
CLIPS = {
    "acted as angry": ("03-01-05-02-01-01-05.flac", "Kids are talking by the door."),
    "acted as sad": ("03-01-04-01-02-01-08.flac", "Dogs are sitting by the door."),
    "acted as happy, in German": ("03a01Fa.flac", None),
}
waves, answers = {}, {}
for name, (file, text) in CLIPS.items():
    waves[name], rate = soundfile.read(package / "examples" / file, dtype="float32")
    answers[name] = judge.predict(waves[name], rate=rate, text=text)

figure, axes = plt.subplots(len(CLIPS), 2, figsize=(9, 5.4), width_ratios=(3, 2), layout="constrained")
for (name, answer), (left, right) in zip(answers.items(), axes, strict=True):
    seconds = np.arange(len(waves[name])) / rate
    left.plot(seconds, waves[name], color=COLOURS[answer.label], linewidth=0.4)
    left.set(title=f"{name}: {answer.label or 'no label'}", yticks=[], xlabel="seconds")
    labels = list(answer.probabilities)
    height = 0.8 / len(answer.perspectives)
    for row, (side, posterior) in enumerate(answer.perspectives.items()):
        right.barh(
            np.arange(len(labels)) + row * height,
            [posterior[label] for label in labels],
            height,
            color=[COLOURS[label] for label in labels],
            alpha=1 if side == "fused" else 0.4 + 0.2 * row,
        )
    right.set(yticks=np.arange(len(labels)) + 0.3, yticklabels=labels, xlim=(0, 1))
    right.invert_yaxis()
    right.set_title(" · ".join(answer.perspectives), fontsize=9)
figure.suptitle("Each clip, and the posterior by both sides, by speech and by words")
# %% [markdown]
# From the top down: both together, the speech alone, the words alone. A sentence about a door carries no
# emotion: the words lean somewhere by chance, and the voice decides. The words of the third are German,
# which the model does not read.

# %% [markdown]
# ## Who felt what, when
# A call has a speaker a channel. This one is put together from the same clips: the first speaker on the
# left channel, the others on the right, with pauses of a second.

# %%
pause = np.zeros(rate, np.float32)
order = [0, 1, 0, 2, 1]  # which clip speaks, one after another
pieces = [waves[name] for name in CLIPS]
left = np.concatenate([np.concatenate([pieces[i] if i == 0 else 0 * pieces[i], pause]) for i in order])
right = np.concatenate([np.concatenate([0 * pieces[i] if i == 0 else pieces[i], pause]) for i in order])
soundfile.write("call.wav", np.stack([left, right], axis=1), rate)

call = judge.predict("call.wav", channels="split")
for turn in call.turns:
    sure = f"{turn.label or 'no label':9} {turn.confidence:.2f}"
    print(f"{turn.start:5.1f} to {turn.end:5.1f} s  {turn.speaker}  {sure}")

# %%
figure, axes = plt.subplots(len(call.speakers), 1, figsize=(9, 3.6), sharex=True, layout="constrained")
for axis, (speaker, wave) in zip(axes, zip(call.speakers, (left, right), strict=True), strict=True):
    axis.plot(np.arange(len(wave)) / rate, wave, color="#303030", linewidth=0.3)
    for turn in (one for one in call.turns if one.speaker == speaker):
        axis.axvspan(turn.start, turn.end, color=COLOURS[turn.label], alpha=0.35)
        axis.text(turn.start, axis.get_ylim()[1], turn.label or "no label", fontsize=9, va="bottom")
    axis.set(ylabel=speaker, yticks=[])
axes[-1].set(xlabel="seconds")
# %% [markdown]
# The same as a table: each speaker's share of their own speech.

# %%
for speaker, one in call.speakers.items():
    shares = ", ".join(f"{label} {share:.0%}" for label, share in one.shares.items())
    print(f"{speaker}: {one.speech:.1f} s of speech in {one.turns} turns: {shares}")

# %% [markdown]
# ## What it does not know
# Noise is no speech: there is no label, and the answer says why.

# %%
noise = np.random.default_rng(0).normal(0, 0.1, 3 * rate).astype(np.float32)
answer = judge.predict(noise, rate=rate)
answer.label, answer.withheld

# %% [markdown]
# On: [recordings](../guides/recordings.md), [what the model reaches](../model-card.md), or a model of [your
# own data](own-data.py).
