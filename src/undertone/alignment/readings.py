"""How numbers, times, money and abbreviations are read aloud in English.

Each reader takes a token that ``transcript`` has matched and returns lower-case words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from undertone.alignment import numbers

__all__ = ["LATIN", "READERS"]

_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "sr": "senior",
    "jr": "junior", "st": "saint", "vs": "versus", "etc": "et cetera", "mt": "mount", "lt": "lieutenant",
    "sgt": "sergeant", "capt": "captain", "gen": "general", "gov": "governor", "rev": "reverend",
    "hon": "honorable", "approx": "approximately", "dept": "department",
}  # fmt: skip
_SYMBOLS = {"&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "°": "degrees"}
_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
LATIN = {"e.g.": "for example", "i.e.": "that is"}
_MAX_DIGITS = 15


def _money(token: str) -> str:
    whole_name, part_name = _CURRENCIES[token[0]]
    match = re.match(r"([\d,]+)(?:\.(\d+))?\s?(\w*)", token[1:].strip())
    assert match is not None  # the token's pattern says so
    whole, fraction, scale = match[1].replace(",", ""), match[2], match[3].lower()
    if scale:
        return f"{_amount(whole, fraction)} {_SCALES.get(scale, scale)} {whole_name}s"
    pieces = []
    if int(whole) or not fraction:
        pieces.append(f"{_cardinal(whole)} {_counted(whole_name, int(whole))}")
    if fraction and int(fraction):
        if len(fraction) != 2:
            return f"{_amount(whole, fraction)} {whole_name}s"
        pieces.append(f"{numbers.cardinal(int(fraction))} {_counted(part_name, int(fraction))}")
    return " and ".join(pieces) or f"zero {whole_name}s"


def _counted(noun: str, count: int) -> str:
    if count == 1 or noun in {"yen", "sen"}:
        return noun
    return "pence" if noun == "penny" else noun + "s"


def _time(token: str) -> str:
    match = re.match(r"(\d+):(\d+)(?::(\d+))?\s?([ap])?", token, re.IGNORECASE)
    assert match is not None
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    words = [numbers.cardinal(hour)]
    if minute:
        words.append(("oh " if minute < 10 else "") + numbers.cardinal(minute))
    elif not half:
        words.append("o'clock" if 1 <= hour <= 12 else "hundred")
    if second and int(second):
        words.append(f"and {numbers.cardinal(int(second))} seconds")
    return " ".join([*words, f"{half.lower()} m" if half else ""])


def _hour(token: str) -> str:
    match = re.match(r"(\d+)\s?([ap])", token, re.IGNORECASE)
    assert match is not None
    return f"{numbers.cardinal(int(match[1]))} {match[2].lower()} m"


def _ordinal(token: str) -> str:
    return numbers.ordinal(_integer(token[:-2]))


def _decade(token: str) -> str:
    value = re.sub(r"\D", "", token)
    if len(value) == 4:
        return numbers.plural(
            numbers.year(int(value)) if 1100 <= int(value) < 2100 else numbers.cardinal(int(value))
        )
    return numbers.plural(numbers.cardinal(int(value)))


def _fraction(token: str) -> str:
    top, bottom = (int(part) for part in token.split("/"))
    if (top, bottom) == (1, 2):
        return "one half"
    if (top, bottom) == (24, 7) or bottom < 2 or top >= bottom:
        return f"{numbers.cardinal(top)} {numbers.cardinal(bottom)}"
    name = {2: "half", 4: "quarter"}.get(bottom) or numbers.ordinal(bottom)
    return f"{numbers.cardinal(top)} {name if top == 1 else numbers.plural(name).replace('halfs', 'halves')}"


def _number(token: str) -> str:
    sign = {"-": "minus ", "+": "plus "}.get(token[0], "")
    body = token.lstrip("+-")
    unit = {"%": " percent", "°": " degrees"}.get(body[-1], "")
    whole, _, fraction = body.rstrip("%° ").partition(".")
    if fraction:
        return sign + _amount(whole, fraction) + unit
    is_year = not sign and not unit and len(whole) == 4 and 1100 <= int(whole) < 2100
    return sign + (numbers.year(int(whole)) if is_year else _cardinal(whole)) + unit


def _amount(whole: str, fraction: str | None) -> str:
    return numbers.decimal(str(_integer(whole or "0")), fraction) if fraction else _cardinal(whole)


def _cardinal(text: str) -> str:
    bare = text.replace(",", "")
    spelled = (len(bare) > 1 and bare[0] == "0") or (
        len(bare) >= 7 and "," not in text and not bare.endswith("000")
    )
    return numbers.digits(bare) if spelled or len(bare) > _MAX_DIGITS else numbers.cardinal(int(bare))


def _integer(text: str) -> int:
    """A rank or the whole part of a decimal, cut to what has a name."""
    return int(re.sub(r"\D", "", text)[:_MAX_DIGITS] or "0")


READERS: dict[str, Callable[[str], str]] = {
    "money": _money,
    "time": _time,
    "hour": _hour,
    "ordinal": _ordinal,
    "decade": _decade,
    "fraction": _fraction,
    "number": _number,
    "dotted": lambda token: LATIN[token.lower()],
    "abbreviation": lambda token: _ABBREVIATIONS[token[:-1].lower()],
    "symbol": lambda token: _SYMBOLS[token],
}
