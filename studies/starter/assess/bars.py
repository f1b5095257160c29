"""What the model was built to reach, beside what it reached: one line each, met or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["bars"]

CHANCE = 0.25
ACTED = ("ravdess", "emodb")
TITLES = {"ravdess": "RAVDESS", "emodb": "EmoDB"}
NOT_SPEECH = ("silence", "noise", "tones", "music")


def bars(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every bar: ``what``, ``value``, ``bound``, ``at_least`` (else: at most), ``met``."""
    lines = [*_speech(found["speech"]), *_words(found), *_both(found["pairs"])]
    lines += [*_sure(found["calibration"]), *_abstaining(found["abstention"])]
    return lines


def _bar(what: str, value: float, bound: float, at_least: bool = True) -> dict[str, Any]:
    met = value >= bound if at_least else value <= bound
    return {"what": what, "value": value, "bound": bound, "at_least": at_least, "met": bool(met)}


def _speech(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = [
        _bar("RAVDESS, 4 classes, UA", found["ravdess"]["clean"]["value"], 0.75),
        _bar("the same under a random gain of ±12 dB", found["ravdess"]["gain"]["value"], 0.72),
        _bar("EmoDB, 4 classes, UA", found["emodb"]["clean"]["value"], 0.86),
        _bar("RAVDESS, 8 classes, UA", found["ravdess8"]["value"], 0.58),
    ]
    for corpus in ACTED:
        for condition, what in (("noise", "white noise at 10 dB"), ("telephone", "telephone band")):
            lost = found[corpus][condition]["drop"]["value"]
            lines.append(_bar(f"{TITLES[corpus]}: UA lost by {what}", lost, 0.10, at_least=False))
    for corpus in ACTED:
        value = found[corpus]["second"]["value"]
        lines.append(_bar(f"{TITLES[corpus]}: UA by one second of speech", value, CHANCE + 0.20))
    return lines


def _words(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for form, title, bound in (("raw", "as written", 0.74), ("plain", "lower case, letters only", 0.73)):
        value, rival = found["text"][form]["macro_f1"]["value"], found["rival"][form]["macro_f1"]["value"]
        lines.append(_bar(f"words alone, {title}, macro-F1", value, bound))
        lines.append(_bar(f"words alone, {title}, against n-grams", value, rival))
    return lines


def _both(pairs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _bar("pairs: UA of the fusion over the better side", pairs["gain"]["value"], 0.10),
        _bar("pairs: UA of the fusion over the product rule", pairs["over_product"]["value"], -0.01),
    ]


def _sure(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for name, one in found.items():
        lines.append(_bar(f"calibration error, {name}", one["ece"], one["bound"], at_least=False))
        for score, title in (("brier", "Brier"), ("nll", "NLL")):
            rivals = [
                one[f"{score}_{rival}"] for rival in ("prior", "uncalibrated") if f"{score}_{rival}" in one
            ]
            line = _bar(f"{title}, {name}: below prior and uncalibrated", one[score], min(rivals), False)
            lines.append(line | {"met": one[score] < min(rivals)})
    return lines


def _abstaining(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    silent, lines = found["abstained"], []
    for corpus, title in (*TITLES.items(), ("goemotions", "GoEmotions")):
        lines.append(_bar(f"{title}: abstained", silent[corpus]["value"], 0.15, at_least=False))
    if "timit" in found:
        lines.append(_read_speech(found["timit"]))
    lines += [_bar(f"generated {kind}: abstained", silent[kind]["value"], 0.90) for kind in NOT_SPEECH]
    return lines


def _read_speech(found: Mapping[str, Any]) -> dict[str, Any]:
    """Read speech is neutral, or else the model should see that it is none of its business."""
    neutral, either = found["neutral"]["value"], found["neutral_or_abstained"]["value"]
    if neutral < 0.60 and either >= 0.80:
        return _bar("TIMIT: neutral or abstained", either, 0.80)
    return _bar("TIMIT: neutral, were it not to abstain", neutral, 0.60)
