"""Pieces of a self-contained HTML page. All text is escaped here."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

STYLE = """
:root { color-scheme: light dark; --text: #222; --faint: #555; --page: #fff; --line: #ddd;
        --panel: #f6f6f6; --good: #176b3a; --fair: #8a5a00; --bad: #a02000; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
       max-width: 70rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: 0; }
h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; margin-top: 1.6rem; }
nav { margin: 0.6rem 0; } nav a { margin-right: 1rem; white-space: nowrap; }
a { color: inherit; } .lead { font-size: 1.15rem; }
.note, figcaption { color: var(--faint); font-size: 0.92rem; }
figure { margin: 1rem 0; overflow-x: auto; }
img { display: block; max-width: max(100%, 34rem); height: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th.number { text-align: right; }
td.number { text-align: right; } td.number, td.short { white-space: nowrap; }
td.long { min-width: 16rem; }
.wide { overflow-x: auto; }
pre { background: var(--panel); padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
.bad { color: var(--bad); font-weight: 600; }
.PASS, .REVIEW, .FAIL { font-weight: 600; }
.PASS { color: var(--good); } .REVIEW { color: var(--fair); } .FAIL { color: var(--bad); }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #ddd; --faint: #aaa; --page: #1a1a1a; --line: #444; --panel: #262626;
          --good: #6fc791; --fair: #e0b050; --bad: #ff8a6a; }
  /* Pictures are drawn on white: they are inverted, and their hues turned back. */
  img { filter: invert(0.9) hue-rotate(180deg); }
}
@media print {
  :root { color-scheme: light; font-size: 10pt; }
  body { max-width: none; margin: 0; font-size: 1rem; } img { max-width: 100%; }
  nav { display: none; } .wide, pre { overflow: visible; } pre { white-space: pre-wrap; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  table { font-size: 8.5pt; } th, td { padding-right: 0.5rem; }
  td.short { white-space: normal; } td.long { min-width: 0; }
}
"""

_SHORT, _LONG = 24, 80  # characters of a cell that is not broken, and of one that needs room

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing may be fetched, whatever text the data bring along."""


def page(title: str, content: str) -> str:
    """A whole page that needs nothing but itself; `content` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{content}\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Text as a paragraph; `kind` is a class of the style."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>\n"


def bullets(texts: Iterable[str]) -> str:
    """Texts as a list; nothing if there are none."""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>\n" if items else ""


def section(title: str, content: str, anchor: str = "") -> str:
    """Content, which is HTML, below a heading, which is text; `anchor` is what a link leads to."""
    attribute = f' id="{anchor}"' if anchor else ""
    return f"<h2{attribute}>{html.escape(title)}</h2>\n{content}"


def table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None, marked: str = "") -> str:
    """A DataFrame without its index; `formats` says how numbers of a column are written.

    Of the column `marked` each word is a class of the style.
    """
    formats = formats or {}
    numeric = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in frame}
    numeric |= dict.fromkeys(formats, True)
    head = "".join(
        _cell("th", str(name).replace("_", " "), "number" if numeric[name] else "")
        for name in frame
    )
    rows = []
    for row in frame.itertuples(index=False):
        cells = []
        for name, value in zip(frame.columns, row, strict=True):
            text = format(value, formats[name]) if name in formats else str(value)
            size = "short" if len(text) <= _SHORT else "long" if len(text) > _LONG else ""
            kind = text if name == marked else "number" if numeric[name] else size
            cells.append(_cell("td", text, kind))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cell(tag: str, text: str, kind: str) -> str:
    attribute = f' class="{html.escape(kind)}"' if kind else ""
    return f"<{tag}{attribute}>{html.escape(text)}</{tag}>"


def picture(image: Path | bytes, caption: str) -> str:
    """A PNG file, or an SVG drawing, as part of the page.

    The caption also describes it to who does not see it.
    """
    kind, data = ("png", image.read_bytes()) if isinstance(image, Path) else ("svg+xml", image)
    text = base64.b64encode(data).decode("ascii")
    caption = html.escape(caption, quote=True)
    return (
        f'<figure><img alt="{caption}" src="data:image/{kind};base64,{text}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )
