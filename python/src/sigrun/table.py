"""Tables for terminals and documents."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """Markdown that reads well as plain text: the first `texts` columns to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(c.ljust(w) if i < texts else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + ("-" if i < texts else ":") for i, w in enumerate(widths)) + "|")
    return "\n".join(lines)
