"""The pages with the figures; all are written from the one list, and a test compares them with it.

DOCS/model-card.md            the card
DOCS/results/starter.json     the figures
DOCS/results/starter.md       what was to be reached and what was, and how to measure it again
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undertone.files import write_whole

__all__ = ["card", "results", "write_pages"]

Values = Mapping[str, Any]
WRITTEN = "<!-- written by `python -m studies.starter evaluate`: do not edit -->"
TITLES = {
    "within": "Speakers it never met, speech alone",
    "left out": "A corpus it never met, speech alone",
    "open": "`starter-open`",
    "worse": "Recordings made worse",
    "words": "Words alone",
    "pairs": "Speech and words together",
    "sure": "How far its probabilities can be trusted",
    "abstains": "When it gives no label",
    "groups": "The same by group",
}

SAYS = """\
How speech and its words sound and read to people: angry, happy, sad or neutral. Small heads over
pretrained encoders (`undertone-encoders`): three blocks of Whisper base for the voice, MiniLM for English
words, its upper three blocks tuned. It runs on one processor core, without a network connection, and is
the default of `undertone predict` and `undertone serve`."""

TWO = """\
| | `starter` | `starter-open` |
|---|---|---|
| learned from | RAVDESS, EmoDB, nEMO, TIMIT (read), GoEmotions, DailyDialog | EmoDB, GoEmotions |
| licence of the weights | CC BY-NC-SA 4.0: not for commercial use | CC BY 4.0: usable in a product, named |
| take it for | research, trying out, teaching | what is sold |

The encoders are MIT (Whisper) and Apache-2.0 (MiniLM) in both; undertone's code is Apache-2.0."""

INTENDED = """\
## Intended use

A first try of the toolkit on one's own recordings, offline; teaching; a baseline that larger models must
beat; sorting recordings that people then listen to. Speech alone, words alone, or both; words count in
English only, and without a recording as written ones, unless they are given as spoken (`spoken=True`).

**A label is what raters would say of a recording, not what a person feels.** The speech it learned from
is acted: actors were told which emotion to show, and the words were labelled by readers who could not
ask.

Refrain from decisions about a person (hiring, schooling, insurance, credit, policing, borders, health),
from watching people at work or in class, from lie detection, and from anything without the speakers'
knowledge. In the European Union, inferring emotions at workplaces and in education is prohibited (AI Act,
article 5)."""

TRAINED = """\
## What it was trained on

- RAVDESS: 18 actors, eight acted emotions, two English sentences; calm counts as neutral, fear, disgust
  and surprise as none of the four (Livingstone and Russo 2018, CC BY-NC-SA 4.0).
- EmoDB: 8 speakers, four acted emotions, ten German sentences (Burkhardt et al. 2005, CC BY 4.0).
- nEMO: 6 speakers, six acted emotions, 90 Polish sentences (Christop 2024, CC BY-NC-SA 4.0).
- A sample of TIMIT: 8 speakers, read English, as neutral, in small doses (CC BY-NC-SA).
- GoEmotions: Reddit comments in English, 28 labels mapped to four (Demszky et al. 2020, CC BY 4.0).
- DailyDialog: turns of written dialogues (Li et al. 2017; Poria et al. 2021, CC BY-NC-SA 4.0).
- Each recording also in two variants (pace, microphone, room, noise or generated music, telephone's
  band, codec, level), in two with noise alone (3 to 20 dB), and in one with up to three voices that read in
  the background (four TIMIT speakers, 3 to 20 dB; the four others are behind the tests; not for
  `starter-open`); generated sounds that nobody speaks, other ones than those of the tests.

Most classifiers learn from recordings as they are (90 % of draws) and variants (10 %). Others learn from
noise (45 %), voices (10 %) and variants (10 %) too, and answer as far as a region seems to be in noise.

Every region of speech is brought to one level, here as in use. In every corpus the four classes are drawn
alike; its other emotions come on top."""

FAILURES = """\
## Where it fails

- **Spontaneous speech.** Everything here was acted by adults in a quiet room. The rows on corpora that it
  never met say how fast it falls; calls and meetings are farther still.
- **Noise and other voices.** White noise 10 dB below the speech costs several points, and two people who
  read in the background far more (the rows on recordings made worse).
- **Other languages.** Voices of three were learned from; words count in English only.
- **Children, elderly people, and voices altered by illness** are not in the training data at all.
- **Sarcasm, irony, quotation.** Voice and words are multiplied as if they were independent; where they
  contradict each other, `agree` is false, and the answer is not worth much.
- **Fear, disgust, surprise, boredom** have no label here: they are called something else, unless it
  abstains.
- **Culture and raters.** The words are comments of one website and dialogues of textbooks; the voices are
  those of actors from North America, Berlin and Poland. What counts as angry elsewhere was not asked."""

MEASURED = """\
## How it was measured

*Unseen speakers*: five folds over speakers, a model each. *Left out*: a model of two corpora on all of
the third. Temperatures, their growth with the distance from known speech, fusion and threshold are fitted
as `studies/starter/calibrate.py` says, never on what is tested. UA is the mean of four recalls, chance
25; in brackets 95 % intervals over speakers (t) or sentences (bootstrap). Beside each: a linear probe of
the same frozen encoder, and eGeMAPS functionals with a support vector machine (Gaussian kernel, C = 1),
on the same clips and folds, in the same command. Recordings as they are were judged from the pooled
regions of the training (the predictor's numbers to rounding), all others by the public predictor. Pairs:
ten sentences of the clip's class; independent given the class, and no corpus of their own. Turns of
dialogues are judged as spoken words, no class being likelier beforehand (the probe's classes count the same
too), GoEmotions' sentences as written ones. Noise, codecs and cuts are drawn from each clip's name."""


def write_pages(values: Values, docs: Path) -> None:
    """The card, the figures and the results page below a folder."""
    pages = {
        "model-card.md": card(values),
        "results/starter.json": json.dumps(values, ensure_ascii=False, indent=1) + "\n",
        "results/starter.md": results(values),
    }
    for name, text in pages.items():
        write_whole(docs / name, text)


def card(values: Values, model: str = "starter") -> str:
    """The card as Markdown; of ``starter-open`` with its own title."""
    groups = [
        f"### {title}\n\n{table([f for f in values['figures'] if f['group'] == group])}"
        for group, title in TITLES.items()
    ]
    parts = [
        f"# undertone-{model}: model card\n\n{WRITTEN}", SAYS, TWO, INTENDED, TRAINED,
        "## What it reaches\n\nAll of `starter`, but for the rows that name `starter-open`.",
        *groups, MEASURED, FAILURES,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def results(values: Values) -> str:
    """The results page: what has a bar, met or not."""
    lines = [figure for figure in values["figures"] if figure["bar"] is not None]
    met = sum(bool(figure["met"]) for figure in lines)
    how = textwrap.fill(
        f"{met} of {len(lines)} figures reach their bars. All figures are on the "
        "[card](../model-card.md) and in `starter.json` beside this page; what was tried is in "
        "[starter-training](starter-training.md).",
        110,
    )
    commands = "python -m studies.starter train\npython -m studies.starter evaluate --pages docs"
    parts = [
        f"# The starter: what it was to reach, and what it reaches\n\n{WRITTEN}",
        how,
        f"```sh\n{commands}\n```",
        table(lines),
        MEASURED,
        f"Machine: {values['machine']}. Code: {values['code']}.",
    ]
    return "\n\n".join(parts) + "\n"


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of figures."""
    rows = [["", "measured", "probe", "eGeMAPS + SVM", "wanted", "met"]]
    for figure in figures:
        value = f"{figure['value']:.1f}"
        if figure["low"] is not None:
            value += f" ({figure['low']:.1f}–{figure['high']:.1f})"
        more, bar = figure["more"], figure["bar"]
        beside = [f"{more[kind]:.1f}" if kind in more else "" for kind in ("probe", "svm")]
        wanted = "" if bar is None else f"{'≥' if figure['at_least'] else '≤'} {bar:g}"
        met = {None: "", True: "yes", False: "**no**"}[figure["met"]]
        rows.append([figure["what"], value, *beside, wanted, met])
    rows.insert(1, ["---"] * len(rows[0]))
    keep = [k for k in range(len(rows[0])) if k < 2 or any(row[k] for row in rows[2:])]
    return "\n".join("| " + " | ".join(row[k] for k in keep) + " |" for row in rows)
