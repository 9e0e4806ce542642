"""The notebook of the documents runs from its first cell to its last."""

import os

import pytest

from tests.helpers.clone import CLONE


@pytest.mark.slow
def test_the_notebook_runs_and_prints_the_promised_results(ray_session, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="`make site` installs it")
    nbclient = pytest.importorskip("nbclient", reason="`make site` installs it")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(CLONE / "docs/quickstart.ipynb", as_version=4)
    folders = 'corpus_folder, storage = "data/embedded", "runs"'
    first = next(cell for cell in notebook.cells if folders in cell.source)
    own = f'corpus_folder, storage = "{tmp_path}/corpus", "{tmp_path}/runs"'
    first.source = first.source.replace(folders, own)
    resources = {"metadata": {"path": os.fspath(CLONE)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    outputs = [output for cell in cells_of(notebook) for output in cell.outputs]
    text = "\n".join(output.get("text", "") for output in outputs)
    assert "bits a sample, standard error" in text
    assert "16,000 samples: " in text
    assert "on test sees 16,000 samples" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_the_notebook_is_stored_without_outputs():
    nbformat = pytest.importorskip("nbformat", reason="`make site` installs it")
    kept = nbformat.read(CLONE / "docs/quickstart.ipynb", as_version=4)
    assert not any(cell.outputs for cell in cells_of(kept))


def cells_of(notebook):
    """The cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
