"""Self-contained HTML pages: a template, its content and the plotting library, compressed."""

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from scaling.analysis.series import setting_name, setting_text
from scaling.reporting.drawing import Panel
from scaling.runs.record import bits

DIGITS = 6  # of each drawn number: invisible in a plot, and a third of the bytes


def render(template: str, content: dict[str, Any]) -> str:
    """Render a template with its content; HTML is escaped, Markdown is not."""
    html = ".html" in template
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["setting_name"] = setting_name
    environment.globals.update(setting_name=setting_name, setting_text=setting_text, in_bits=bits)
    library = {"plotly": _compressed_plotly()} if html else {}
    return environment.get_template(template).render(**content, **library)


def panels_as_json(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return panels as plain JSON values."""
    return [
        {
            "title": panel.title,
            "caption": panel.caption,
            "figure": _rounded(json.loads(panel.figure.to_json())),
        }
        for panel in panels
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


@cache
def _compressed_plotly() -> str:
    """Return plotly.js, gzip and base64: a third of its size; the page unpacks it."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
