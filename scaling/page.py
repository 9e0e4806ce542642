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

from scaling.figures import Panel
from scaling.series import name_of, written


def render(template: str, content: dict[str, Any]) -> str:
    """The page of this template with this content."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(name_of=name_of, written=written)
    return environment.get_template(template).render(**content, plotly=_compressed_plotly())


def plain(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Panels as plain JSON values."""
    return [
        {
            "title": panel.title,
            "caption": panel.caption,
            "figure": json.loads(panel.figure.to_json()),
        }
        for panel in panels
    ]


@cache
def _compressed_plotly() -> str:
    """plotly.js, gzip and base64: a third of its size, unpacked by the page itself."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
