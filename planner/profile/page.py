"""A profile as one page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from planner.profile.tables import Sheet

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #d8dee6; }
th:first-child, td:first-child { text-align: left; font-weight: 600; } table.facts td { text-align: left; }
img { width: 100%; margin: .5rem 0 2rem; } li { color: #8a5a00; } .scroll { overflow-x: auto; }
"""


def write_page(file: Path, title: str, sheets: Sequence[Sheet], warnings: Sequence[str], picture: Path) -> None:
    """Write tables, warnings and a picture as HTML.

    Args:
        file: The page.
        title: Its title.
        sheets: The tables.
        warnings: What is odd about the profile.
        picture: A PNG to show.
    """
    image = base64.b64encode(picture.read_bytes()).decode()
    odd = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    file.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<img alt="TTFT, ITL and throughput of the profile" src="data:image/png;base64,{image}">'
        f"{f'<h2>Odd</h2><ul>{odd}</ul>' if odd else ''}{''.join(map(_table, sheets))}</body></html>\n",
        encoding="utf-8",
    )


def _table(sheet: Sheet) -> str:
    heads = "".join(f"<th>{html.escape(heading)}</th>" for heading in sheet.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in sheet.rows)
    kind, head = ("", f"<thead><tr>{heads}</tr></thead>") if any(sheet.headings) else (' class="facts"', "")
    return (
        f'<h2>{html.escape(sheet.title)}</h2><div class="scroll"><table{kind}>{head}<tbody>{rows}</tbody></table></div>'
    )
