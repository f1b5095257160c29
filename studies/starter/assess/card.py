"""The model card, written from the figures: what it is for, what it reaches, where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.starter.assess.cases import FOUR
from studies.starter.assess.prose import FAILURES, INTENDED, SAYS, TRAINED
from studies.starter.assess.words import bar_lines, filled, grid, points, spread

__all__ = ["card"]

Figures = Mapping[str, Any]
CORPORA = {"ravdess": "RAVDESS (English)", "emodb": "EmoDB (German)"}
CONDITIONS = {
    "clean": "as recorded",
    "gain": "random gain, ±12 dB",
    "noise": "white noise, 10 dB below the active speech",
    "telephone": "telephone band, 300–3400 Hz",
    "second": "one second from inside the speech (5 draws)",
}
FACTS = {
    "sex": ("by sex", {"f": "women", "m": "men"}),
    "language": ("by language", {}),
    "seconds": ("by length of the speech", {}),
    "snr": ("by signal-to-noise ratio, estimated from the clip", {}),
}
GROUPS = {
    "ravdess": "RAVDESS, the four classes",
    "emodb": "EmoDB",
    "goemotions": "GoEmotions, words alone",
    "timit": "TIMIT, read speech",
    "ravdess, other emotions": "RAVDESS: fear, disgust, surprise",
    "silence": "generated silence",
    "noise": "generated noise",
    "tones": "generated tones",
    "music": "generated music",
    "laughter": "generated laughter (a caricature)",
}


def card(values: Figures) -> str:
    """The whole card as Markdown."""
    parts = [
        _head(values["model"]),
        INTENDED,
        _training(values["model"].get("training", {})),
        "## What it reaches\n\n" + _how(values["data"]),
        _speech(values["speech"]),
        _breakdown(values["breakdown"]),
        _words(values),
        _pairs(values["pairs"]),
        _calibration(values["calibration"]),
        _abstention(values["abstention"]),
        _cross(values["cross_corpus"]),
        "### What it was built to reach\n\n" + bar_lines(values["bars"]),
        FAILURES,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(model: Figures) -> str:
    licence = model.get("licence", "CC-BY-NC-SA-4.0")
    about = f" {model['bytes'] / 1e6:.1f} MB." if model.get("bytes") else ""
    terms = filled(
        f"**Licence of the weights: {licence}** (not for commercial use, share alike), because RAVDESS",
        "and the",
        "TIMIT sample are. undertone's code stays Apache-2.0.",
    )
    written = "<!-- written by `python -m studies.starter evaluate`: do not edit -->"
    return f"# undertone-starter: model card\n\n{written}\n\n{SAYS}{about}\n\n{terms}"


def _training(training: Figures) -> str:
    if not training.get("command"):
        return TRAINED
    lines = [f"Command: `{training['command']}`, seed {training.get('seed', 0)}. Its data, by hash:\n"]
    lines += [f"- {name}: `{mark[:16]}`" for name, mark in _flat(training.get("data", {}))]
    if note := training.get("note"):  # where the weights are not what that one command gives today
        lines.append(f"\n{note}")
    return TRAINED + "\n\n" + "\n".join(lines)


def _flat(values: Figures, prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        pairs += _flat(value, f"{prefix}{name} ") if inner else [(f"{prefix}{name}", str(value))]
    return pairs


def _how(data: Figures) -> str:
    speakers = " and ".join(f"{data[c]['speakers']} of {t.split()[0]}" for c, t in CORPORA.items())
    count = sum(data["goemotions"].values())
    return filled(
        f"Of the {data['folds']} models of a cross-validation over speakers ({speakers}), each tested",
        "only on speakers that it was not trained on; temperatures, fusion and threshold come from the other",
        "folds' speakers and from sentences of the training split. Words: the development split of",
        f"GoEmotions ({count} sentences). The shipped model was trained in the same way on all speakers, so",
        "that it cannot itself be tested on these corpora. UA is the mean of the classes' recalls, chance",
        "25.0. In brackets 95 % intervals, over speakers (t) or sentences (bootstrap). Every clip was judged",
        "alone.",
    )


def _speech(values: Figures) -> str:
    rows = [
        [title, *(spread(values[corpus][condition]) for corpus in CORPORA)]
        for condition, title in CONDITIONS.items()
    ]
    recalls = [
        f"{title.split()[0]}: "
        + ", ".join(f"{n} {points(r)}" for n, r in zip(FOUR, values[c]["clean"]["recalls"], strict=True))
        + "."
        for c, title in CORPORA.items()
    ]
    eight = f"RAVDESS in its eight classes (chance 12.5): UA {spread(values['ravdess8'])}."
    table = grid(["", *CORPORA.values()], rows)
    return f"### Speech alone, four classes (UA)\n\n{table}\n\n{filled('Recall,', *recalls, eight)}"


def _breakdown(values: Figures) -> str:
    rows = [
        [title, names.get(kind, kind), spread(one), str(one["n"]), str(one["units"])]
        for fact, (title, names) in FACTS.items()
        for kind, one in values.get(fact, {}).items()
    ]
    table = grid(["", "", "UA", "clips", "speakers"], rows)
    note = filled(
        "Length and signal-to-noise ratio go with corpus and speaker here: these rows describe,",
        "they don't explain.",
    )
    return f"### The same by group (both corpora, as recorded)\n\n{table}\n\n{note}"


def _words(values: Figures) -> str:
    titles = {"raw": "as written", "plain": "lower case, no punctuation, no emoji"}
    rows = [
        [title, spread(values["text"][form]["macro_f1"]), spread(values["rival"][form]["macro_f1"])]
        for form, title in titles.items()
    ]
    table = grid(["GoEmotions, development split", "starter", "n-grams and logistic regression"], rows)
    return f"### Words alone, four classes (macro-F1)\n\n{table}"


def _pairs(values: Figures) -> str:
    groups = {"both corpora": values} | {t: values["by_corpus"][c] for c, t in CORPORA.items()}
    rows = [
        [title, *(spread(one[side]) for side in ("speech", "text", "product", "fused"))]
        for title, one in groups.items()
    ]
    drawn = values["fused"]["pairings"]
    how = filled(
        f"Each clip paired with a sentence of its class, {len(drawn)} times; paired data, not a corpus: real",
        "speech says what it says for a reason, and its two sides are less independent than these.",
    )
    table = grid(["", "speech", "words", "product rule", "fusion"], rows)
    note = filled(
        f"The fusion is {points(values['gain']['value'])} points above the better side; over the pairings",
        "it lies",
        f"between {points(min(drawn))} and {points(max(drawn))}.",
    )
    return f"### Speech and words together (UA)\n\n{how}\n\n{table}\n\n{note}"


def _calibration(values: Figures) -> str:
    rows = []
    for name, one in values.items():
        line = [name, str(one["n"]), points(one["ece"]), points(one["floor"])]
        for score in ("brier", "nll"):
            rivals = [one.get(f"{score}{rival}") for rival in ("", "_uncalibrated", "_prior")]
            line.append(" / ".join("–" if value is None else f"{value:.3f}" for value in rivals))
        rows.append(line)
    how = filled(
        "ECE over ten bins of equal mass, in points, beside the ECE that a perfectly calibrated model with",
        "the same confidences shows by chance; Brier score and negative log likelihood: of the model,",
        "before calibration,",
        "of the prior.",
    )
    table = grid(["", "n", "ECE", "floor", "Brier", "NLL"], rows)
    return f"### How far its probabilities can be trusted\n\n{how}\n\n{table}"


def _abstention(values: Figures) -> str:
    silent = values["abstained"]
    rows = [[t, str(silent[n]["n"]), spread(silent[n])] for n, t in GROUPS.items() if n in silent]
    notes = []
    if "timit" in values:
        neutral, either = values["timit"]["neutral"], values["timit"]["neutral_or_abstained"]
        notes.append(f"Read speech (TIMIT) is called neutral in {spread(neutral)} % were it not to abstain,")
        notes.append(f"neutral or nothing in {spread(either)} %.")
    for corpus, one in values.get("answered", {}).items():
        notes.append(f"UA where it answers, {CORPORA[corpus].split()[0]}: {spread(one)}.")
    how = filled(
        "Below a confidence that was chosen on speakers kept aside it gives no label (`--abstain` sets",
        "another;",
        "probabilities are given all the same).",
    )
    table = grid(["", "n", "% without a label"], rows)
    return f"### When it gives no label\n\n{how}\n\n{table}\n\n{filled(*notes)}"


def _cross(values: Figures) -> str:
    if not values:
        return ""
    how = filled(
        "Another language, other actors, other rooms: nearer to what a stranger's recording gets than",
        "the rows",
        "above.",
    )
    table = grid(["", "UA", "clips"], [[name, spread(one), str(one["n"])] for name, one in values.items()])
    return f"### Trained on one corpus, tested on the other (UA)\n\n{how}\n\n{table}"
