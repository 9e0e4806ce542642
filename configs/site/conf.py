"""Sphinx settings of the documents' site: `make site` writes site/index.html."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

project = "Longwave"
copyright = "the Longwave authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "Longwave"
html_copy_source = False
# Pages load nothing from another machine.
html_theme_options = {"footer_icons": []}
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
FIELD = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): (?=\S)")
"""Line of a class's docstring that describes one or more of its fields."""


def mark_fields(
    app: object, what: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Turn the lines of a class's docstring that describe fields into a field list."""
    if what == "class":
        lines[:] = [FIELD.sub(r":\1: ", line) for line in lines]


def setup(app: Any) -> None:
    """Register the conversion of docstrings."""
    app.connect("autodoc-process-docstring", mark_fields)
