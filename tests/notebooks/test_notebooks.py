"""Every notebook runs from top to bottom, in a kernel of its own, as a reader would run it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_there_are_notebooks():
    assert "learning_time_spectrum" in {path.stem for path in NOTEBOOKS}


def test_a_notebook_is_kept_with_what_it_shows(path):
    """The site shows these outputs: `python scripts/run_notebooks.py` writes them."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    shown = "".join(
        text for output in outputs for text in output.get("text", output.get("data", {}).get("text/plain", ""))
    )
    assert not re.search(r"/(tmp|home|root|Users)/", shown)


# Libraries of the kernel's own machinery warn of things that are not the notebook's.
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs(path, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises CellExecutionError with the cell and its traceback
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
