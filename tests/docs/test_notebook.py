"""The notebook of the tutorials runs from its first cell to its last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "known_haze.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_the_notebook_runs_and_the_haze_goes(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs pip install 'corun-dehaze[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="needs pip install 'corun-dehaze[dev]'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept clean
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    hazy, dehazed, best = (float(number) for number in re.findall(r"([\d.]+) dB", printed))
    assert hazy < dehazed < best
