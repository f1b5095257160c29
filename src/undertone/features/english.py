"""Whether a text reads as English: another script, another language and noise do not.

Short and odd English passes: a text is refused for what speaks against English, not for lack of what speaks
for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

__all__ = ["not_english"]

ENGLISH = frozenset(
    """
    the be to of and a in that have i it for not on with he as you do at this but his by from they we say her
    she or an will my one all would there their what so up out if about who get which go me when make can like
    time no just him know take people into year your good some could them see other than then now look only
    come its over think also back after use two how our work first well way even new want because any these
    give day most us is are was were been has had did does says got im ive id ill youre youve hes shes
    its were theyre dont doesnt didnt cant wont isnt wasnt arent couldnt wouldnt shouldnt thats whats theres
    lets gonna wanna gotta yeah yes yep nope ok okay oh wow hey hi hello bye please thanks thank thx sorry
    love hate happy sad angry mad glad fun funny cool nice great best better worse worst bad hope feel feels
    feeling sure really very too much more never always ever still again here where why every everyone someone
    anyone everything something anything nothing thing things man guy guys girl woman kid life world god damn
    hell shit fuck fucking lol lmao wtf omg tbh damned stupid dumb awesome amazing beautiful congrats cute
    wish happened going doing being having getting making looking trying need needs let tell right wrong
    true real old big little long last next same own down off those through before made may must should might
    many another such few lot place home house night today tomorrow yesterday friend friends family mom dad
    name game team play watch read hear talk call wait stop start keep try help find left end put mean
    pretty enough already maybe though without around while both between under since dude bro welcome agreed
    exactly absolutely honestly literally actually totally probably seriously clearly definitely
    """.split()
)
"""Words that speak for English."""

OTHERS = (
    frozenset(
        """
    du da te ti mi es di og var tu sei lo ze ik
    ich dich mich nicht und der das ist sind ein eine einen mit auf auch wir ihr euch uns sie habe haben dass
    wie aber nur noch schon sehr wenn weil kann mein dein kein keine warum heute immer gut danke bitte ja nein
    je tu nous vous ils elle elles est suis sont avec mais pas pour dans une des les aux cette ce ca qui que
    quoi moi toi tres bien merci oui non jamais toujours rien tout aussi alors pourquoi bonjour fait faire
    yo tú usted ellos nosotros el los las unos está estoy eres soy muy pero porque como cuando donde qué quien
    hoy mañana siempre nunca gracias hola bueno malo también esto eso nada todo mucho puedo quiero tengo
    io lui lei noi voi loro sono sei siamo il gli della delle che chi cosa perché quando molto bene grazie
    ciao oggi domani sempre mai niente tutto anche questo quello non voglio ho hai mio tuo
    eu você ele ela nós eles estou são foi muito mas porque não sim obrigado obrigada hoje amanhã sempre nunca
    tudo nada isso isto meu minha teu com uma também quero tenho
    ik jij hij zij wij jullie ben bent zijn heb hebt heeft niet geen een het van met maar ook wel nog waarom
    vandaag altijd nooit goed dank graag nee mijn jouw
    ja ty on ona my wy oni jestem jest nie tak bardzo ale czy co jak kiedy gdzie dlaczego dzisiaj zawsze nigdy
    dobrze dziękuję proszę mam masz ma się że mnie ciebie wszystko nic też ten to
    jag du han hon vi ni är inte och att det som på med för men också varför idag alltid aldrig bra tack nej
    jeg ikke og er hvad hvorfor altid aldrig godt tak mig dig deg meg det som ja nei
    minä sinä hän me te he olen olet on ei ja että mutta miksi tänään aina kiitos hyvä kyllä en
    ben sen biz siz onlar bir ve değil çok ama neden bugün her zaman teşekkürler iyi evet hayır var yok için
    já ty jsem jsi je není ale proč dnes vždy nikdy děkuji dobře ano ne jsme mám
    én te ő mi ti ők vagyok nem és hogy de miért ma mindig soha köszönöm jó igen nagyon
    eu tu el ea noi voi ei sunt este nu și dar de ce azi mereu niciodată mulțumesc bine da foarte
    aku kamu dia kami kita mereka tidak bukan dan yang ini itu dengan untuk tapi kenapa selalu terima kasih
    """.split()
    )
    - ENGLISH
    - frozenset("ma el de en ben co io ne er men bien vi ce yo ho".split())
)
"""Words that speak for another language that is written with the same letters."""
BOTH = frozenset(
    "a an as at do fast gut hat he i in it man me most no of on or so to was we will am so".split()
)
"""Words of English that other languages write the same; they speak for neither."""
FEW = 0.2
"""Of four words or more, at least this share is known in English."""

UNSEEN = re.compile(
    "[jqvxz]{2}|q[^u]|[bcdfgkpvxz]j|j[bcdfghklmnpqrstvwxz]|v[bcdfghjkmnpqtwxz]|[fkpvwxyz]q|[bdfgjkmnpqsvwz]x"
    "|x[bdgjkmnrvxz]|z[bcdfgjknpqrtvx]|[fgkpqvwxy]z|[bcdfghjklmnpqrstvwxz]{6}|([a-z])\\1{3}"
)
"""Letters in an order in which English does not have them."""
WORD = re.compile(r"[^\W\d_]+")
PLAIN = re.compile("[a-z]+")


def not_english(text: str) -> str | None:
    """Why the text is no English; None where it may be.

    >>> not_english("Ich hasse dich")
    'another language than English'
    >>> not_english("aaaaaaaa")
    'no words'
    >>> not_english("Noooo way, lmao")
    """
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return "no words"
    scripts = Counter(unicodedata.name(c, "OTHER").split()[0] for c in letters)
    script, _ = scripts.most_common(1)[0]
    if script != "LATIN":
        return f"{script.capitalize()} script"
    words = [word.replace("'", "") for word in WORD.findall(re.sub("['’]", "", text.casefold()))]
    short = [re.sub(r"(.)\1{2,}", r"\1", word) for word in words]  # soooo good
    known = sum(
        word in ENGLISH for word, as_is in zip(short, words, strict=True) if len(word) > 1 or word == as_is
    )
    sure = sum(word in ENGLISH and word not in BOTH for word in short)
    marked = sum(not PLAIN.fullmatch(word) for word in words)
    other = sum(word in OTHERS for word in words) + marked
    if other > sure or (len(words) >= 4 and known < FEW * len(words)):
        return "another language than English" if other else "no words of English"
    noise = sum(bool(UNSEEN.search(word)) or len(set(word)) < len(word) / 3 for word in words)
    return "no words" if noise and not known and 3 * noise >= len(words) else None
