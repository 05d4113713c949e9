"""Pieces of a self-contained HTML page. All text is escaped here."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.lead { font-size: 1.15rem; } .note, figcaption { color: #555; font-size: 0.92rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; } .wide { overflow-x: auto; }
pre { background: #f6f6f6; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
.bad { color: #a02000; font-weight: 600; }
"""


def section(title: str, content: str) -> str:
    """Content, which is HTML, below a heading, which is text."""
    return f"<h2>{html.escape(title)}</h2>\n{content}"


def table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """A DataFrame without its index; `formats` says how numbers of a column are written."""
    formats = formats or {}
    numeric = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in frame}
    numeric |= dict.fromkeys(formats, True)
    head = "".join(_cell("th", str(name).replace("_", " "), numeric[name]) for name in frame)
    rows = []
    for row in frame.itertuples(index=False):
        cells = []
        for name, value in zip(frame.columns, row, strict=True):
            text = format(value, formats[name]) if name in formats else str(value)
            cells.append(_cell("td", text, numeric[name]))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cell(tag: str, text: str, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


def picture(path: Path, caption: str) -> str:
    """A PNG file as part of the page; the caption also describes it to who does not see it."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    caption = html.escape(caption, quote=True)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
