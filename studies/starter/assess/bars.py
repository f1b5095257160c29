"""The acceptance bars: what the model was built to reach, beside what it reaches, met or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["bars"]

CHANCE = 0.25
ACTED = ("ravdess", "emodb")
TITLES = {"ravdess": "RAVDESS", "emodb": "EmoDB"}
NOT_SPEECH = ("silence", "noise", "tones", "music")


def bars(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every bar: ``what``, ``value``, ``bound``, ``at_least`` (else: at most), ``met``."""
    lines = [*_speech(values["speech"]), *_words(values), *_both(values["pairs"])]
    lines += [*_sure(values["calibration"]), *_abstaining(values["abstention"])]
    return lines


def _bar(what: str, value: float, bound: float, at_least: bool = True) -> dict[str, Any]:
    met = value >= bound if at_least else value <= bound
    return {"what": what, "value": value, "bound": bound, "at_least": at_least, "met": bool(met)}


def _speech(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = [
        _bar("RAVDESS, 4 classes, UA", values["ravdess"]["clean"]["value"], 0.75),
        _bar("the same under a random gain of ±12 dB", values["ravdess"]["gain"]["value"], 0.72),
        _bar("EmoDB, 4 classes, UA", values["emodb"]["clean"]["value"], 0.86),
        _bar("RAVDESS, 8 classes, UA", values["ravdess8"]["value"], 0.58),
    ]
    for corpus in ACTED:
        for condition, what in (("noise", "white noise at 10 dB"), ("telephone", "telephone band")):
            lost = values[corpus][condition]["drop"]["value"]
            lines.append(_bar(f"{TITLES[corpus]}: UA lost by {what}", lost, 0.10, at_least=False))
    for corpus in ACTED:
        value = values[corpus]["second"]["value"]
        lines.append(_bar(f"{TITLES[corpus]}: UA by one second of speech", value, CHANCE + 0.20))
    return lines


def _words(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for form, title, bound in (("raw", "as written", 0.74), ("plain", "lower case, letters only", 0.73)):
        value, rival = values["text"][form]["macro_f1"]["value"], values["rival"][form]["macro_f1"]["value"]
        lines.append(_bar(f"words alone, {title}, macro-F1", value, bound))
        lines.append(_bar(f"words alone, {title}, against n-grams", value, rival))
    return lines


def _both(pairs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _bar("pairs: UA of the fusion over the better side", pairs["gain"]["value"], 0.10),
        _bar("pairs: UA of the fusion over the product rule", pairs["over_product"]["value"], -0.01),
    ]


def _sure(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for name, one in values.items():
        lines.append(_bar(f"calibration error, {name}", one["ece"], one["bound"], at_least=False))
        for score, title in (("brier", "Brier"), ("nll", "NLL")):
            rivals = [
                one[f"{score}_{rival}"] for rival in ("prior", "uncalibrated") if f"{score}_{rival}" in one
            ]
            line = _bar(f"{title}, {name}: below prior and uncalibrated", one[score], min(rivals), False)
            lines.append(line | {"met": one[score] < min(rivals)})
    return lines


def _abstaining(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    silent, lines = values["abstained"], []
    for corpus, title in (*TITLES.items(), ("goemotions", "GoEmotions")):
        lines.append(_bar(f"{title}: abstained", silent[corpus]["value"], 0.15, at_least=False))
    if "timit" in values:
        lines.append(_read_speech(values["timit"]))
    lines += [_bar(f"generated {kind}: abstained", silent[kind]["value"], 0.90) for kind in NOT_SPEECH]
    return lines


def _read_speech(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read speech is neutral, or else the model should see that it is none of its business."""
    neutral, either = values["neutral"]["value"], values["neutral_or_abstained"]["value"]
    if neutral < 0.60 and either >= 0.80:
        return _bar("TIMIT: neutral or abstained", either, 0.80)
    return _bar("TIMIT: neutral, were it not to abstain", neutral, 0.60)
