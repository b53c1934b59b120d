"""Saving figures so that the same content gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corun.errors import ConfigurationError, DataError, MissingExtraError, system_errors_as
from corun.files import written_atomically

FIGURE_SUFFIXES = (".png", ".pdf")

RULES: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 9,
    "svg.hashsalt": "corun",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def new_figure(width: float, height: float) -> Any:
    """An empty `matplotlib.figure.Figure` of a size in inches, without any window system.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "metrics") from error
    with mpl.rc_context(RULES):
        return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path, *, dpi: int = 150, overwrite: bool = False) -> Path:
    """Writes a figure as PNG or PDF, without dates or program versions inside.

    Raises:
        ConfigurationError: another suffix.
        DataError: it cannot be written there, or is there and shall not be replaced.
    """
    suffix = path.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise ConfigurationError(f"{path}: figures are written as .png or .pdf")
    import matplotlib as mpl

    unset = (
        {"Software": None}
        if suffix == ".png"
        else {"CreationDate": None, "Creator": None, "Producer": None}
    )
    with system_errors_as(DataError, f"{path}: cannot be written", "name another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(RULES), written_atomically(path, overwrite=overwrite) as partial:
            figure.savefig(partial, dpi=dpi, metadata=unset)
    return path
