"""Self-contained HTML pages: a template, its content and the plotting library, compressed."""

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from scaling.analysis.series import setting_name, setting_text
from scaling.reporting.drawing import NumberedFigure, Panel
from scaling.runs.record import bits

DIGITS = 6  # of every drawn number: more than an eye can see, and a third of the bytes


def render(template: str, content: dict[str, Any]) -> str:
    """The page of this template with this content; Markdown is not escaped."""
    html = ".html" in template
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(name_of=setting_name, written=setting_text, in_bits=bits)
    library = {"plotly": _compressed_plotly()} if html else {}
    return environment.get_template(template).render(**content, **library)


def plain(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Panels as plain JSON values."""
    return [
        {
            "title": panel.title,
            "caption": panel.caption,
            "figure": _rounded(json.loads(panel.figure.to_json())),
        }
        for panel in panels
    ]


def figures_as_json(plates: Sequence[NumberedFigure]) -> list[dict[str, Any]]:
    """Numbered figures as plain JSON values; ``first`` is true for the first of its number."""
    return [
        {
            "code": plate.code,
            "first": plate.code not in [other.code for other in plates[:at]],
            "title": plate.title,
            "panels": plain(plate.panels),
            "missing": plate.missing,
        }
        for at, plate in enumerate(plates)
    ]


def figure_rows(plates: Sequence[NumberedFigure]) -> list[dict[str, Any]]:
    """Every drawn point of every figure as a row of a table, in the units of its axes."""
    return list(_drawn_rows(plates)) or [{"figure": None}]


def _drawn_rows(plates: Sequence[NumberedFigure]) -> Iterator[dict[str, Any]]:
    for plate in plates:
        for panel in plate.panels:
            axes = panel.figure.layout.xaxis.title.text, panel.figure.layout.yaxis.title.text
            for number, trace in enumerate(panel.figure.data):
                error = getattr(trace, "error_y", None)
                errors = error.array if error is not None and error.array is not None else None
                for at, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
                    yield {
                        "figure": plate.code,
                        "panel": panel.title,
                        "trace": number,
                        "name": trace.name or ("band" if trace.fill else trace.mode),
                        "x": x,
                        "y": y,
                        "error": None if errors is None else errors[at],
                        "x_axis": axes[0],
                        "y_axis": axes[1],
                    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


@cache
def _compressed_plotly() -> str:
    """plotly.js, gzip and base64: a third of its size, unpacked by the page itself."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
