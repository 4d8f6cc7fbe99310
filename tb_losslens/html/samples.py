"""What is known of single samples: a sentence for each part, and the samples that stay high as a table."""

from __future__ import annotations

from typing import Any

from tb_losslens.analysis.samples import Samples
from tb_losslens.analysis.text import number, percent
from tb_losslens.html.markup import Markup, prose, tag


def samples_panel(samples: Samples | None) -> Markup | None:
    """The panel; None for a run without a batch."""
    if samples is None:
        return None
    size = f"{samples.distinct:,} of them, seen {samples.visits:,} times" if samples.visits else ""
    high = (samples.found.get("high") or {}).get("samples") or []
    return tag(
        "div",
        tag("h3", "Samples ", tag("small", size)),
        tag("ul", [tag("li", prose(text)) for text in samples.text], class_="said-of") if samples.text else None,
        _table(high) if high else None,
        [tag("p", prose(text), class_="note") for text in samples.untold],
        class_="panel",
    )


def _table(high: list[dict[str, Any]]) -> Markup:
    heads = [
        tag("th", text, scope="col", class_="number")
        for text in ("sample", "losses read", "mean rank", "first loss", "last loss")
    ]
    rows = [
        tag(
            "tr",
            [
                tag("td", text, class_="number")
                for text in (
                    f"{one['id']:,}",
                    f"{one['losses']:,}",
                    percent(one["rank"]),
                    number(one["first"]),
                    number(one["last"]),
                )
            ],
        )
        for one in high
    ]
    return tag(
        "div", tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="boundaries of-samples"), class_="scroll"
    )
