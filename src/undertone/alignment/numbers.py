"""Numbers in English words.

>>> cardinal(1205)
'one thousand two hundred and five'
>>> ordinal(21), year(1999), year(2007), digits("007")
('twenty first', 'nineteen ninety nine', 'two thousand seven', 'zero zero seven')
"""

from __future__ import annotations

__all__ = ["cardinal", "decimal", "digits", "ordinal", "plural", "year"]

ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen""".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
             "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
LARGEST = 10**15
"""From this number upwards each digit is read by itself."""


def cardinal(number: int) -> str:
    """``number`` in words; digit by digit from a quadrillion upwards."""
    if number < 0:
        return "minus " + cardinal(-number)
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return TENS[tens] + (f" {ONES[rest]}" if rest else "")
    if number >= LARGEST:
        return digits(str(number))
    scale, name = next((s, n) for s, n in SCALES if number >= s)
    head, rest = divmod(number, scale)
    joint = " and " if 0 < rest < 100 else " "
    return f"{cardinal(head)} {name}" + (joint + cardinal(rest) if rest else "")


def ordinal(number: int) -> str:
    """``number`` as a rank: 3 → third."""
    *front, last = cardinal(number).split()
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return " ".join([*front, last])


def year(number: int) -> str:
    """A year between 1100 and 2099 as it is read aloud."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:  # 2000 … 2009
        return cardinal(number).replace(" and ", " ")
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """Every digit by itself, in words."""
    return " ".join(ONES[int(d)] for d in text)


def decimal(whole: str, fraction: str) -> str:
    """``3.14`` → three point one four."""
    return f"{cardinal(int(whole or '0'))} point {digits(fraction)}"


def plural(words: str) -> str:
    """The last word in the plural: ninety → nineties, hundred → hundreds."""
    *front, last = words.split()
    if last.endswith("y"):
        last = last[:-1] + "ies"
    else:
        last += "es" if last.endswith(("x", "s")) else "s"
    return " ".join([*front, last])
