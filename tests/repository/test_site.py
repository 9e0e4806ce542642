"""The documents as a site: built without a warning, and read without a network."""

import re
import subprocess
import sys

import pytest

from tests.helpers.browser import opened
from tests.helpers.clone import CLONE


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="`make site` installs it")
    folder = tmp_path_factory.mktemp("site")
    words = (
        "-E",
        "--fail-on-warning",
        "--quiet",
        "-b",
        "html",
        "-c",
        "configs/site",
        "docs",
        folder,
    )
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=CLONE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page_that_the_index_leads_to(site):
    index = (site / "index.html").read_text()
    for document in (CLONE / "docs").rglob("*.md"):
        page = document.relative_to(CLONE / "docs").with_suffix(".html")
        assert (site / page).exists()
        assert page.name == "index.html" or f'href="{page}"' in index, f"{page} is in no contents"


def test_every_module_of_datasets_and_model_is_in_the_reference():
    for package in ("datasets", "model"):
        said = (CLONE / f"docs/api/{package}.md").read_text()
        for path in (CLONE / package).rglob("*.py"):
            module = path.relative_to(CLONE).with_suffix("").as_posix().replace("/", ".")
            if not module.endswith("__init__"):
                assert f".. automodule:: {module}\n" in said, f"{module} is not in the reference"


def test_no_page_names_a_resource_of_another_machine(site):
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text()):
            assert not re.search(r'(?:src|href)="(?:https?:)?//', tag), f"{page.name}: {tag}"


@pytest.mark.parametrize("name", ["index", "targets", "api/model"])
def test_a_page_opens_in_a_browser_without_errors(site, tmp_path, name):
    result = opened(site / f"{name}.html", tmp_path)
    assert "CONSOLE" not in result.stderr
    assert "Longwave" in result.stdout
