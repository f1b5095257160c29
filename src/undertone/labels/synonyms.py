"""Names of emotions in many spellings and languages, and the map from a classifier's own classes to ours.

>>> meaning("Wut"), meaning("ANG"), meaning("male_happy"), meaning("LABEL_3")
('angry', 'angry', 'happy', None)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from undertone.errors import LabelError
from undertone.labels import in_order

__all__ = ["DROPPED", "OTHER", "SYNONYMS", "emotions_in", "known_to", "label_map", "meaning"]

OTHER = "other"
"""What a class may become by name where it is none of the classes that are wanted."""
DROPPED = "-"
"""A class that becomes this is left out: the others share its probability in their proportion."""

SYNONYMS: dict[str, str] = {
    "angry": (
        "ang anger angry rage furious fury mad wut wuetend wütend zorn zornig aerger ärger colere "
        "colère enfado enojo ira rabia enojado rabbia arrabbiato raiva zlosc złość gniew zly zły boos "
        "boosheid woede arg ilska vrede sinne viha öfke kizgin kızgın гнев злость злой 愤怒 生气 憤怒 "
        "怒り 怒 분노 화남 غضب गुस्सा θυμός zloba hněv düh harag"
    ),
    "happy": (
        "hap happy happiness joy joyful freude froh fröhlich froehlich freudig glück glueck glücklich "
        "gluecklich joie heureux alegria alegría feliz felicidad contento gioia felice felicita "
        "felicità felicidade radosc radość szczescie szczęście blij blijdschap vreugde glad gladje "
        "glädje lycka glaede glæde ilo mutluluk mutlu радость счастье счастливый 高兴 快乐 开心 喜悦 "
        "喜び 嬉しい 幸せ 喜 행복 기쁨 سعادة فرح खुशी χαρά radost öröm boldog"
    ),
    "sad": (
        "sad sadness sadnes traurig trauer traurigkeit tristesse triste tristeza tristezza smutek "
        "smutny verdrietig verdriet droefheid ledsen sorg sorgsen trist tristhet suru surullinen "
        "üzgün uzgun üzüntü грусть печаль грустный 悲伤 难过 傷心 悲しみ 悲しい 哀 슬픔 슬퍼 حزن दुख "
        "λύπη smutnost szomorú bánat"
    ),
    "neutral": (
        "neu neutral neutrality neutre neutro neutrale neutralny neutralnosc neutralność neutraal "
        "neutralnost neutralitet neutraali nötr notr neitral нейтральный нейтрально 中性 中立 平静 "
        "中立的 平常 중립 무감정 محايد तटस्थ ουδέτερο neutrální semleges none noemotion"
    ),
    "excited": (
        "exc excited excitement aufgeregt aufregung excité excitation emocionado eccitato podekscytowany"
    ),
    "frustrated": "fru frustrated frustration frustriert frustré frustrado frustrato sfrustrowany",
    "calm": (
        "cal calm calmness ruhig ruhe calme calma calmo spokojny spokoj spokój kalm rustig lugn "
        "rauhallinen спокойствие"
    ),
    "fearful": (
        "fea fear fearful scared afraid angst aengstlich ängstlich furcht peur effrayé miedo paura "
        "medo strach bang angstig rädsla radsla frygt frykt pelko korku страх 恐惧 害怕 恐懼 恐れ "
        "怖い 恐怖 두려움 공포 خوف डर φόβος félelem"
    ),
    "disgusted": (
        "dis disgust disgusted ekel ekelgefühl angeekelt degout dégoût asco disgusto nojo wstret "
        "wstręt walging afkeer avsky inho tiksinti отвращение 厌恶 厭惡 嫌悪 혐오 اشمئزاز घृणा αηδία "
        "znechucení undor"
    ),
    "surprised": (
        "sur surprise surprised surprising überrascht ueberrascht überraschung ueberraschung surpris "
        "sorpresa surpresa sorprendido sorpreso surpreso zaskoczenie zdziwienie verrast verrassing förvåning "
        "forvaning overraskelse yllätys şaşkınlık saskinlik удивление 惊讶 吃惊 驚訝 驚き 놀람 مفاجأة "
        "आश्चर्य έκπληξη překvapení meglepetés pleasantsurprise ps pleasantsurprised"
    ),
    "bored": (
        "bor bored boredom langeweile gelangweilt ennui ennuyé aburrimiento aburrido noia annoiato "
        "tedio nuda znudzenie verveling kyllästyminen скука 无聊 退屈 지루함"
    ),
    OTHER: "oth other others otro otros sonstige andere autre altro inne unknown unk",
}
"""Of each class the names that mean it, in any case, with or without accents. In English, Spanish, French,
German, Italian, Portuguese, Polish, Dutch, the languages of Scandinavia, Finnish, Turkish, Russian, Chinese,
Japanese, Korean, Arabic, Hindi, Greek, Czech and Hungarian. Names that are only near a class (annoyance,
love, contempt) become none: whoever wants them there states it."""
NEAR = (
    "annoyed annoyance irritated amused amusement elated cheerful laughter sorrow grief depressed relaxed "
    "anxious anxiety panic contempt contemptuous astonished positive negative tired sleepy sleepiness pride "
    "proud shame tender tenderness love hate stress stressed"
)
"""Labels that people give, and that are none of the classes."""
CODES = frozenset("ang hap sad neu exc fru fea dis sur joy wut".split())
"""Words of three letters that count as a part of a name too: most others are syllables or initials."""
LONG = 4
NO_PART = frozenset("none bang".split())
"""Words that mean something else inside a name."""


def _plain(name: str) -> str:
    """Without case, accents, spaces and punctuation."""
    spread = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in spread if not unicodedata.combining(c) and c.isalnum())


_MEANING = {_plain(word): name for name, words in SYNONYMS.items() for word in (*words.split(), name)}

_EMOTIONS = {word for word, name in _MEANING.items() if name != OTHER} | set(NEAR.split())


def meaning(name: str) -> str | None:
    """Our class of that name, or None; of a name of several parts (``male_happy``), that of the one that has
    any."""
    if (whole := _MEANING.get(_plain(name))) is not None:
        return whole
    parts = [part for part in re.split(r"[\W_\d]+", name) if part]
    known = {_MEANING[_plain(part)] for part in parts if _plain(part) in _MEANING}
    return known.pop() if len(known) == 1 else None


def emotions_in(name: str) -> list[str]:
    """The emotion words in a name, as they are written there.

    A name that is nothing but one may be of any length; as a part of a longer name short words are none.

    >>> emotions_in("anna_02_ANGRY_take1"), emotions_in("ps"), emotions_in("ps_02"), emotions_in("contempt")
    (['ANGRY'], ['ps'], [], ['contempt'])
    """
    if _plain(name) in _EMOTIONS:
        return [name]
    return [
        word
        for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", name))
        if _is_part(_plain(word))
    ]


def _is_part(word: str) -> bool:
    known = word in _EMOTIONS and word not in NO_PART
    return known and (len(word) >= LONG or word in CODES or not word.isascii())


def label_map(
    classes: Sequence[str],
    given: Mapping[str, str],
    where: str,
    *,
    rest: str | None = None,
    wanted: Sequence[str] | None = None,
) -> dict[str, str]:
    """Each of a classifier's classes with ours, ``other`` or ``-``; LabelError names what has none.

    ``given``: what some become by the user's word. ``rest``: what those become that nothing else decides.
    ``wanted``: the classes that there may be; what means another is undecided too.
    """
    if unknown := [name for name in given if name not in classes]:
        raise LabelError(f"{where}: has no class '{unknown[0]}' (its classes: {', '.join(classes)})")
    mapped: dict[str, str] = {}
    undecided = []
    for name in classes:
        target = given.get(name) or meaning(name)
        if name not in given and (target is None or (wanted and target not in wanted)):
            target = rest
        if target is None:
            undecided.append(name)
        elif wanted and target not in (*wanted, DROPPED):
            raise LabelError(f"{where}: '{name}' cannot become '{target}' (classes: {', '.join(wanted)})")
        else:
            mapped[name] = target
    if undecided:
        raise LabelError(_undecided(undecided, where, len(undecided) == len(classes)))
    if not set(mapped.values()) - {OTHER, DROPPED}:
        raise LabelError(f"{where}: none of its classes is an emotion that is wanted")
    return mapped


def _undecided(names: Sequence[str], where: str, all_of_them: bool) -> str:
    quoted = ", ".join(f"'{name}'" for name in names[:4]) + (" …" if len(names) > 4 else "")
    what = "are no known emotions" if all_of_them else "has no class here" if len(names) == 1 else "have none"
    return (
        f"{where}: {quoted} {what}: --map '{names[0]}=CLASS' for each (several may share one),"
        " or --rest other or drop for all that are left"
    )


def known_to(mapped: Mapping[str, str]) -> tuple[str, ...]:
    """The classes that something became, in the canonical order, ``other`` last."""
    names = set(mapped.values()) - {DROPPED}
    return (*in_order(names - {OTHER}), *([OTHER] if OTHER in names else []))
