"""How Sphinx makes a site of the documents: `make site`, then open site/index.html."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

project = "Longwave"
copyright = "the Longwave authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "Longwave"
html_copy_source = False
# Nothing of a page comes from another machine.
html_theme_options = {"footer_icons": []}
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
FIELD = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): (?=\S)")
"""A line of a class's docstring that says what one of its values is."""


def fields(
    app: object, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    """Make a field list of what a class's docstring says of its values, a line each."""
    if what == "class":
        lines[:] = [FIELD.sub(r":\1: ", line) for line in lines]


def setup(app: Any) -> None:
    """Let docstrings be read as they are written here."""
    app.connect("autodoc-process-docstring", fields)
