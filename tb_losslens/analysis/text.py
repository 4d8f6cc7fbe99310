"""Numbers as a reader wants them: at most three significant digits, with their units, no line break before a unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tb_losslens.analysis.finding import Pooled

THIN = "\u202f"

_CONTROL = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code != ord("\n")}
_IN_LINE = {**_CONTROL, ord("\n"): "\ufffd"}


def visible(text: str, *, lines: bool = False) -> str:
    """Text with its control characters made visible: what a user named must not steer a terminal. `lines` keeps line breaks."""
    return str(text).translate(_CONTROL if lines else _IN_LINE)


def number(value: float, digits: int = 3) -> str:
    """At most `digits` significant digits: 0.00123, 0.31, 12.4, 1,230, 1.2e+07; "unknown" for NaN."""
    value = float(value)
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    size = abs(rounded)
    if size >= 1e6 or size < 1e-4:
        mantissa, _, exponent = f"{rounded:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    if size >= 1000:
        return f"{rounded:,.0f}"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{rounded:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float, digits: int = 2) -> str:
    """As `number`, with its sign: +0.31, −1.2; "0" has none. A zero at the end stays, so that jumps line up: +0.30."""
    text = number(abs(value), digits)
    if 1e-4 <= abs(value) < 10 ** (digits - 1) and "e" not in text:
        text = text if "." in text else f"{text}."
        first = next(i for i, c in enumerate(text) if c in "123456789")
        text = text.ljust(first + digits + (text[0] != "0"), "0").rstrip(".")
    return f"+{text}" if value > 0 else f"\u2212{text}" if value < 0 else text


def percent(part: float) -> str:
    """A part of 1 as percent: 84 %."""
    value = 100 * part
    return f"{value:.1f}{THIN}%" if 0 < abs(value) < 1 else f"{value:.0f}{THIN}%"


def times(ratio: float) -> str:
    """A factor: ×51, ×0.13."""
    return f"×{number(ratio)}"


def p_value(p: float) -> str:
    """A p-value: p < 0.001, p = 0.02."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"


def up_and_down(pooled: Pooled, *, repeated: bool) -> str:
    """How many boundaries go up and down, with the p-value where they are so many observations.

    Under a repeated order (`repeated`) the same batches meet at each boundary, and all of them are one observation.
    """
    count = f"{pooled.up:,} up, {pooled.down:,} down of {pooled.total:,}"
    if repeated and pooled.p > 0.05:
        return f"{count}; the order of samples repeats, so the same batches meet each time and this counts as one observation"
    return f"{count} ({p_value(pooled.p)})"


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 batch, 12 boundaries."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        noun = noun[:-1] + "ie"
    return f"{count:,} {noun}{'es' if noun.endswith('batch') else 's'}"


def some(items: Iterable[object], most: int = 5) -> str:
    """A short list: 3, 7 and 9; beyond `most` the rest is counted."""
    words = [f"{item:,}" if isinstance(item, int) else str(item) for item in items]
    if len(words) > most:
        return ", ".join(words[:most]) + f" and {len(words) - most:,} more"
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else "none"


def lower_first(sentence: str) -> str:
    """The sentence as it reads after a colon: its first letter small, unless it starts an abbreviation."""
    if len(sentence) > 1 and sentence[0].isupper() and sentence[1].islower():
        return sentence[0].lower() + sentence[1:]
    return sentence


def sentences(parts: Sequence[str]) -> str:
    """Sentences joined by spaces, each closed with a full stop, empty ones left out."""
    return " ".join(part if part[-1] in ".:!?`" else f"{part}." for part in (p.strip() for p in parts) if part)
