"""Runs the notebooks and keeps their outputs, with which the site shows them.

    python scripts/run_notebooks.py [NAME ...]

Each runs from top to bottom in an empty folder. What means nothing to a reader is not kept: times of cells, the version
of the kernel, what libraries say on stderr.
"""

import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(path: Path) -> None:
    """Execute one notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    metadata = dict(notebook.metadata)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=600, record_timing=False, resources=resources).execute()
    notebook.metadata = nbformat.from_dict(metadata)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size / 1024:,.0f} KiB")


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(found.stem for found in NOTEBOOKS.glob("*.ipynb")):
        run(NOTEBOOKS / f"{name}.ipynb")
