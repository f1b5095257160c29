"""The model card's prose."""

from __future__ import annotations

__all__ = ["FAILURES", "INTENDED", "MEASURED", "SAYS", "SEE", "TRAINED"]

SAYS = """\
A small model of how speech and its words sound and read to people: angry, happy, sad or neutral. It runs on
one processor core, without a network connection, on torch alone: `undertone.load("starter")`. It is the
default of `undertone predict` and `undertone serve`."""

INTENDED = """\
## Intended use

- A first try of the toolkit on one's own recordings, offline; teaching; a baseline that larger models must
  beat; sorting recordings that people then listen to.
- Speech alone, words alone, or both. Words count in English only.
- Models over wav2vec 2.0 and BERT are the road to high accuracy: train one, and name it by `--model`.

**A label is what raters would say of a recording, not what a person feels.** The speech it learned from is
acted: actors were told which emotion to show, and the words were labelled by readers who could not ask.

Refrain from decisions about a person (hiring, schooling, insurance, credit, policing, borders, health), from
watching people at work or in class, from lie detection, and from anything without the speakers' knowledge. In
the European Union, inferring emotions at workplaces and in education is prohibited (AI Act, article 5)."""

TRAINED = """\
## What it was trained on

- RAVDESS: 18 actors, eight acted emotions, two English sentences; calm counts as neutral, fear, disgust and
  surprise as none of the four (Livingstone and Russo 2018, CC BY-NC-SA 4.0).
- EmoDB: 8 speakers, four acted emotions, ten German sentences (Burkhardt et al. 2005).
- A sample of TIMIT: 8 speakers, read English, as neutral (CC BY-NC-SA).
- GoEmotions: Reddit comments in English, 28 labels mapped to four; comments of two classes or of another
  emotion have no label (Demszky et al. 2020, CC BY 4.0).
- Generated sounds that nobody speaks, other ones than those of the tests below.

Trained from scratch: nothing in it was pretrained elsewhere. How common a class is in these corpora counts by
half in the speech side's probabilities."""

FAILURES = """\
## Where it fails

- **Spontaneous speech.** Everything here was acted by adults in a quiet room. Expect much less on calls,
  meetings, films; the rows on corpora that were not trained on say how fast it falls.
- **Other languages.** Speech of two was trained on, both Germanic; words count in English only.
- **Children, elderly people, and voices altered by illness** are not in the training data at all.
- **Sarcasm, irony, quotation.** Voice and words are multiplied as if they were independent; where they
  contradict each other, `agree` is false, and the answer is not worth much.
- **Fear, disgust, surprise, boredom** have no label here: they are called something else, unless it abstains.
- **Culture and raters.** The words are comments of one website, labelled by raters of one country; the voices
  are those of actors from North America and Berlin. What counts as angry elsewhere was not asked."""

SEE = """\
Intervals, breakdowns and where the model fails are in the [card](../model-card.md), every number in
`starter.json` beside this page, the training and what else was tried in
[starter-training](starter-training.md), speed in [serving](serving.md)."""

MEASURED = """\
## How it was measured

Five folds over speakers, one model each, tested on the speakers it was not trained on. A fold's temperatures,
fusion and threshold are fitted on the other folds' scores of their own test speakers, and on sentences of
GoEmotions' training split. Every clip is judged alone, by the public
predictor. Level, noise, telephone band and crops are applied to the test clips, with random numbers drawn
from each clip's name. The n-gram regression (words 1 to 2, characters 2 to 5 within words, tf-idf, balanced
classes) is fitted in the same command on the same sentences in the same form. For pairs, the product rule
multiplies the two sides' posteriors. The generators of the sounds that are no speech
(`studies/starter/assess/sounds.py`) are not those of the training."""
