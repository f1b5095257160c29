"""One utterance, looked at closely: its wave, where its words are, and what each of them said.

The data is ``example.json`` of a run's folder; ``evaluation.report`` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undertone.evaluation.page import bars, card, esc, hue

__all__ = ["close_look"]

WIDTH, WAVE = 1100.0, 96.0
TIERS = ("word", "syllable", "phone")
NARROW = 6.6
"""Pixels that a letter needs: a segment too narrow for its text shows none."""


def close_look(example: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The whole panel."""
    truth, said = str(example.get("truth")), str(example.get("label"))
    verdict = "rightly" if truth == said else f"but it is <b>{esc(truth)}</b>"
    lead = (
        f"<p><code>{esc(example.get('id', ''))}</code> · called "
        f'<b style="color:{hue(said, _place(said, labels))}">{esc(said)}</b>, {verdict}.</p>'
    )
    parts = [lead, _sentence(example), _waveform(example)]
    panels = "".join(_posteriors(example, labels)) + _sides(example)
    return "".join(parts) + (f'<div class="grid">{panels}</div>' if panels else "")


def _place(label: str, labels: Sequence[str]) -> int:
    return list(labels).index(label) if label in labels else 0


def _words(example: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [w for w in example.get("words") or () if w.get("contribution") is not None]


def _strength(contribution: float, words: Sequence[Mapping[str, Any]]) -> float:
    most = max((abs(float(w["contribution"])) for w in words), default=0.0)
    return abs(contribution) / most if most > 0 else 0.0


def _sentence(example: Mapping[str, Any]) -> str:
    """The words, each shaded by how much it spoke for (or against) the label."""
    words = _words(example)
    if not words:
        return f"<blockquote>{esc(example.get('text') or '')}</blockquote>"
    shown = []
    for word in words:
        value = float(word["contribution"])
        colour = "--accent" if value >= 0 else "--bad"
        share = 62 * _strength(value, words)
        tip = f"{value:+.2f}"
        shade = f"color-mix(in srgb, var({colour}) {share:.0f}%, transparent)"
        shown.append(f'<mark title="{tip}" style="background:{shade}">{esc(word["text"])}</mark>')
    return f"<blockquote>{' '.join(shown)}</blockquote>"


def _waveform(example: Mapping[str, Any]) -> str:
    duration = float(example.get("duration") or 0)
    if duration <= 0:
        return ""
    shown, height = _wave(example.get("wave") or {}), WAVE
    tiers = example.get("tiers") or {}
    for tier in TIERS:
        if tiers.get(tier):
            words = _words(example) if tier == "word" else []
            shown += _tier(tier, tiers[tier], words, duration, height)
            height += 34
    body = ""
    for second in range(int(duration) + 1):
        x = WIDTH * second / duration
        body += f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height + 14:.0f}"/>'
        body += f'<text x="{x + 5:.1f}" y="{height + 14:.0f}">{second} s</text>'
    body += shown
    label = "waveform with its words, syllables and phones"
    return (
        '<div class="card scroll"><div style="min-width:900px">'
        f'<svg viewBox="0 0 {WIDTH:g} {height + 18:g}" role="img" aria-label="{label}">{body}</svg>'
        "</div></div>"
        '<p class="note">A word is shaded by its contribution: what the label\'s log-probability '
        'loses without it. <span style="color:var(--accent)">For</span> the label, '
        '<span style="color:var(--bad)">against</span> it.</p>'
    )


def _wave(wave: Mapping[str, Sequence[float]]) -> str:
    low, high = list(wave.get("low") or ()), list(wave.get("high") or ())
    if not low or len(low) != len(high):
        return ""
    peak = max(max(map(abs, low)), max(map(abs, high)), 1e-6)
    middle, reach = WAVE / 2, (WAVE / 2 - 4) / peak
    step = WIDTH / len(low)
    up = [f"{i * step:.1f} {middle - reach * v:.1f}" for i, v in enumerate(high)]
    down = [f"{i * step:.1f} {middle - reach * v:.1f}" for i, v in enumerate(low)]
    return f'<path d="M{"L".join(up + down[::-1])}Z" fill="var(--soft)" opacity=".75"/>'


def _tier(
    name: str,
    segments: Sequence[Mapping[str, Any]],
    words: Sequence[Mapping[str, Any]],
    duration: float,
    top: float,
) -> str:
    spoke = {(round(float(w["start"]), 3), w["text"]): w for w in words if w.get("start") is not None}
    body = ""
    for segment in segments:
        start, end, text = float(segment["start"]), float(segment["end"]), str(segment["text"])
        x, width = WIDTH * start / duration, max(1.0, WIDTH * (end - start) / duration)
        fill, opacity, tip = "var(--faint)", 1.0, f"{name} {text}: {start:.2f}-{end:.2f} s"
        word = spoke.get((round(start, 3), segment["text"]))
        if word is not None:
            value = float(word["contribution"])
            fill = "var(--accent)" if value >= 0 else "var(--bad)"
            opacity, tip = 0.07 + 0.6 * _strength(value, words), f"{tip}, contribution {value:+.2f}"
        body += (
            f'<rect x="{x:.1f}" y="{top + 4:.0f}" width="{width:.1f}" height="28" rx="5" fill="{fill}" '
            f'opacity="{opacity:.2f}" stroke="var(--panel)"><title>{esc(tip)}</title></rect>'
        )
        if width >= NARROW * len(text):
            kind = "ink bold" if name == "word" else ""
            body += (
                f'<text class="{kind}" x="{x + width / 2:.1f}" y="{top + 22:.0f}" '
                f'text-anchor="middle" pointer-events="none">{esc(text)}</text>'
            )
    return body


def _posteriors(example: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    titles = {"fused": "Together", "speech": "Speech alone", "text": "Words alone"}
    shown = []
    for side, title in titles.items():
        posterior = (example.get("perspectives") or {}).get(side)
        if posterior:
            rows = [(esc(c), float(posterior.get(c, 0)), hue(c, i)) for i, c in enumerate(labels)]
            shown.append(card(title, bars(rows), "posterior, in points"))
    return shown


def _sides(example: Mapping[str, Any]) -> str:
    sides = example.get("modalities") or {}
    if not sides:
        return ""
    most = max(max(abs(float(v)) for v in sides.values()), 1e-6)
    rows = "".join(
        f'<div class="bar"><span>{esc(name)}</span><i><b style="width:{abs(float(v)) / most:.1%};'
        f'background:var({"--accent" if float(v) >= 0 else "--bad"})"></b></i><em>{float(v):+.2f}</em></div>'
        for name, v in sides.items()
    )
    note = "what the label's log-probability loses when that side is taken away"
    return card("What each side contributed", f'<div class="bars">{rows}</div>', note)
