"""Two metrics against each other: every photo a dot, every method's mean a mark."""

from __future__ import annotations

from typing import Any

import numpy as np

from corun.errors import DataError
from corun.evaluation.figures.figure_files import new_figure
from corun.evaluation.report import Report


def score_scatter(report: Report, dataset: str, x: str, y: str) -> Any:
    """The figure.

    Args:
        report: the comparison.
        dataset: one of its data sets.
        x: the metric along the horizontal axis.
        y: the metric along the vertical axis.

    Raises:
        DataError: the report has no such data set or metric.
    """
    if dataset not in report.datasets:
        raise DataError(f"{dataset}: not in the report; it has {', '.join(report.datasets)}")
    facts = {entry.name: entry for entry in report.metrics}
    for name in (x, y):
        if name not in facts:
            raise DataError(f"{name}: not in the report; it has {', '.join(facts)}")
    figure = new_figure(5.5, 4.5)
    axes = figure.subplots()
    for index, method in enumerate(report.methods):
        across = report.values(dataset, method, x)
        along = report.values(dataset, method, y)
        both = np.isfinite(across) & np.isfinite(along)  # an infinite PSNR has no place
        if not both.any():
            continue
        colour = f"C{index % 10}"
        axes.scatter(across[both], along[both], s=8, alpha=0.35, color=colour, linewidths=0)
        axes.scatter(
            across[both].mean(),
            along[both].mean(),
            s=90,
            marker="X",
            color=colour,
            edgecolors="black",
            linewidths=0.8,
            label=method,
            zorder=3,
        )
    axes.set_xlabel(facts[x].heading)
    axes.set_ylabel(facts[y].heading)
    axes.set_title(f"{dataset}: photos and means")
    axes.legend(fontsize=7)
    return figure
