"""Syllables from phones: a nucleus each, and before it the longest onset the language allows.

Maximal onset: of the consonants between two vowels, the longest tail that may begin an
English word goes to the later syllable: ``EH K S T R AH`` → ``EH K · S T R AH``.
Works for ARPABET (with or without stress digits, TIMIT's additions too) and IPA;
where no rules are known the split is before the last consonant, which most languages share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from undertone.alignment.nesting import disjoint, nest, parents
from undertone.types import Alignment, Segment

__all__ = ["complete", "is_nucleus", "label", "stress", "syllabify", "syllable_segments"]

ARPABET_VOWELS = frozenset(
    "AA AE AH AO AW AX AXR AX-H AY EH ER EY IH IX IY OW OY UH UW UX EL EM EN ENG".split()
)
"""CMU's and TIMIT's vowels and syllabic consonants, without stress."""

IPA_VOWELS = frozenset("iyɨʉɯuɪʏʊeøɘɵɤoəɛœɜɞʌɔæɐaɶɑɒɚɝᵻᵊ")
SAMPA_VOWELS = frozenset("aeiouyIEOUYAQ@6923{}&")
_SYLLABLE_BEARERS = frozenset({"m", "n", "N", "ŋ", "l", "L"})
_SONORANTS = _SYLLABLE_BEARERS | {"r", "R", "4", "ʁ"}
SYLLABIC = "\N{COMBINING VERTICAL LINE BELOW}\N{COMBINING VERTICAL LINE ABOVE}"
NOT_SYLLABIC = "\N{COMBINING INVERTED BREVE BELOW}"
STRESS_MARKS = {"ˈ": 1, "ˌ": 2, "'": 1}

# what may begin an English syllable, beyond any single consonant but ng and zh
_ONSETS = frozenset(
    """P L,P R,P Y,B L,B R,B Y,T R,T W,T Y,D R,D W,D Y,K L,K R,K W,K Y,G L,G R,G W,G Y,F L,F R,F Y,V Y,V R,
    TH R,TH W,S L,S W,S P,S T,S K,S M,S N,S F,S Y,S V,SH R,SH L,SH M,SH N,SH W,HH Y,HH W,M Y,N Y,L Y,
    S P L,S P R,S P Y,S T R,S T Y,S K L,S K R,S K W,S K Y,S M Y,S F R""".replace("\n", "")
    .replace("    ", "")
    .split(",")
)
_NEVER_FIRST = frozenset({"NG", "NX"})

# IPA consonants to the ARPABET names that the table of onsets uses
_IPA_CONSONANTS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "g": "G", "ɡ": "G", "f": "F", "v": "V", "θ": "TH",
    "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "ɦ": "HH", "m": "M", "n": "N", "ŋ": "NG",
    "l": "L", "ɫ": "L", "ɹ": "R", "r": "R", "ɻ": "R", "ɾ": "T", "j": "Y", "w": "W", "ʍ": "W", "tʃ": "CH",
    "dʒ": "JH", "ʧ": "CH", "ʤ": "JH", "c": "K", "ɟ": "G", "ɲ": "N", "ʎ": "L", "ʔ": "Q",
}  # fmt: skip
_TIMIT_CONSONANTS = {"HV": "HH", "DX": "T", "NX": "N", "BCL": "B", "DCL": "D", "GCL": "G", "PCL": "P",
                     "TCL": "T", "KCL": "K"}  # fmt: skip


def syllabify(phones: Sequence[str], language: str | None = "en") -> list[tuple[int, int]]:
    """Half-open index spans of the syllables of one word's phones; together they cover all phones.

    A word without a nucleus ("hmm", "psst") is one syllable; no phones, no syllables.

    >>> syllabify("EH1 K S T R AH0".split())
    [(0, 2), (2, 6)]
    >>> syllabify(["b", "ˈʌ", "ʔ", "n̩"])
    [(0, 2), (2, 4)]
    """
    english = language is None or language.lower().startswith("en")
    nuclei = [i for i, phone in enumerate(phones) if is_nucleus(phone, english)]
    if language is not None and language.lower().startswith("de"):
        nuclei = sorted({*nuclei, *_elided(phones, nuclei)})
    if not phones:
        return []
    cuts = [_onset(phones, a + 1, b, english) for a, b in pairwise(nuclei)]
    edges = [0, *cuts, len(phones)]
    return list(pairwise(edges))


def _onset(phones: Sequence[str], first: int, nucleus: int, english: bool) -> int:
    """Index at which the syllable of ``nucleus`` begins; consonants ``first..nucleus`` belong to none yet."""
    if first == nucleus:
        return nucleus
    if not english:
        return nucleus - 1
    names = [_consonant(p) for p in phones[first:nucleus]]
    for start in range(len(names)):
        onset = _merge_stops(names[start:])
        if len(onset) == 1 and onset[0] not in _NEVER_FIRST:
            return first + start
        if " ".join(onset) in _ONSETS:
            return first + start
    return nucleus


def _merge_stops(names: Sequence[str]) -> list[str]:
    """A stop's closure and its release are one consonant."""
    return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


def is_nucleus(phone: str, english: bool = True) -> bool:
    """Whether the phone is a vowel or a syllabic consonant, in ARPABET or IPA; SAMPA where not English."""
    bare = phone.strip("ˈˌ'").rstrip("012")
    if bare.upper() in ARPABET_VOWELS and len(bare) > 1:
        return True
    if any(mark in bare for mark in SYLLABIC):
        return True
    vowels = IPA_VOWELS if english else IPA_VOWELS | SAMPA_VOWELS
    return bool(bare) and bare[0] in vowels and NOT_SYLLABIC not in bare


def _elided(phones: Sequence[str], nuclei: Sequence[int]) -> list[int]:
    """Indices of sonorants that carry a syllable where German drops the schwa: ``l a p m`` for "Lappen".

    A nasal or an l with no vowel after it, behind an obstruent or lengthened (``U n n``: "Stunden").
    """
    result = []
    for i in range(1, len(phones)):
        before, phone, after = phones[i - 1], phones[i], i + 1
        if phone not in _SYLLABLE_BEARERS or after in nuclei or list(phones[after : after + 1]) == [phone]:
            continue
        if phone == before or (i - 1 not in nuclei and before not in _SONORANTS):
            result.append(i)
    return result


def _consonant(phone: str) -> str:
    bare = phone.strip("ˈˌ'").rstrip("0123456789ːʰʷʲ\N{COMBINING BRIDGE BELOW}")
    if bare in _IPA_CONSONANTS:
        return _IPA_CONSONANTS[bare]
    upper = bare.upper()
    return _TIMIT_CONSONANTS.get(upper, upper)


def stress(phones: Sequence[str]) -> int | None:
    """1 primary, 2 secondary, 0 none; None where the phones carry no stress marks.

    >>> stress(["B", "AH0"]), stress(["ˈʌ"]), stress(["ah"])
    (0, 1, None)
    """
    for phone in phones:
        if phone[:1] in STRESS_MARKS:
            return STRESS_MARKS[phone[0]]
        if is_nucleus(phone) and phone[-1] in "012":
            return int(phone[-1])
    return None


def label(phones: Sequence[str]) -> str:
    """A syllable's name: its phones, joined so that it stays one token in every file format."""
    return "_".join(phones)


def syllable_segments(
    words: Sequence[Segment], phones: Sequence[Segment], language: str | None = "en"
) -> list[Segment]:
    """The syllable tier that follows from words and phones (each disjoint and in order).

    Phones in no word are left out; a syllable's score is its phones' mean weighted by duration.
    """
    groups: dict[int, list[Segment]] = {}
    for phone, word in zip(phones, parents(phones, words), strict=True):
        if word >= 0:
            groups.setdefault(word, []).append(phone)
    result = []
    for members in groups.values():
        for a, b in syllabify([p.text for p in members], language):
            result.append(_join(members[a:b]))
    return disjoint(result)


def _join(phones: Sequence[Segment]) -> Segment:
    start, end = phones[0].start, phones[-1].end
    scores = [(p.score, p.duration) for p in phones if p.score is not None]
    weight = sum(duration for _, duration in scores)
    score = round(sum(s * d for s, d in scores) / weight, 4) if weight else None
    return Segment(label([p.text for p in phones]), start, end, score)


def complete(alignment: Alignment, language: str | None = None) -> Alignment:
    """The alignment with syllables derived where it has words and phones but no syllables."""
    words, phones = alignment.word, alignment.phone
    if words and phones and not alignment.syllable:
        return nest(words, syllable_segments(words, phones, language), phones)
    return alignment
