"""A report as JSON, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corun.evaluation.report import (
    MetricFacts,
    Report,
    Score,
    SetComparison,
    SetScore,
    plain,
)
from corun.evaluation.resampling import Comparison, Interval

SCHEMA = 2
"""Of report.json; raised when its fields change."""


def report_json(report: Report, folder: Path | None = None) -> str:
    """The whole report as JSON text; missing values are null, infinite ones "inf".

    Args:
        report: what to write.
        folder: where it will lie: paths of pictures below it are written relative to it, so
            that the folder can be moved, others absolute. Without, they stay as they are.
    """
    pictures = report.pictures
    if folder is not None:
        pictures = _each_path(pictures, lambda path: _seen_from(Path(path), folder))
    content = {
        "schema": SCHEMA,
        **asdict(report),
        "pictures": pictures,
        "set_comparisons": [
            {**_without_comparison(asdict(c)), **c.comparison._asdict()}
            for c in report.set_comparisons
        ],
        "table": list(report.rows()),
        "significance": [
            {
                "dataset": dataset,
                "metric": facts.name,
                "first": first,
                "second": second,
                "difference": c.difference,
                "low": c.interval.low,
                "high": c.interval.high,
                "p_value": c.p_value,
                "photos": c.photos,
            }
            for dataset in report.datasets
            for facts in report.columns(dataset)
            for (first, second), c in report.comparisons(dataset, facts.name).items()
            if c.photos
        ],
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False)


def _without_comparison(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "comparison"}


def _plain(value: Any) -> Any:
    """With every number as JSON knows it."""
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def read_report(path: Path) -> Report:
    """Reads what `report_json` wrote.

    Raises:
        ValueError: another schema, or no JSON.
        KeyError: a field is missing.
        TypeError: a field is of another kind.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}, not {SCHEMA}; run corun evaluate again")
    return Report(
        methods=tuple(content["methods"]),
        datasets={name: tuple(photos) for name, photos in content["datasets"].items()},
        metrics=tuple(MetricFacts(**facts) for facts in content["metrics"]),
        scores=tuple(
            Score(**{**score, "value": None if (v := score["value"]) is None else _number(v)})
            for score in content["scores"]
        ),
        set_scores=tuple(
            SetScore(
                **{
                    **score,
                    "value": _number(score["value"]),
                    "interval": Interval(*map(_number, score["interval"])),
                    "parts": {key: _number(value) for key, value in score["parts"].items()},
                    "missing": tuple(score["missing"]),
                }
            )
            for score in content["set_scores"]
        ),
        problems=tuple(content["problems"]),
        notes=tuple(content["notes"]),
        pictures=_each_path(content["pictures"], lambda name: str(path.parent / name)),
        provenance=content["provenance"],
        sources=content["sources"],
        set_comparisons=tuple(
            SetComparison(
                c["dataset"],
                c["metric"],
                c["first"],
                c["second"],
                Comparison(
                    _number(c["difference"]),
                    Interval(*map(_number, c["interval"])),
                    _number(c["p_value"]),
                    c["photos"],
                ),
            )
            for c in content["set_comparisons"]
        ),
    )


def _each_path(
    pictures: dict[str, dict[str, dict[str, str]]], change: Callable[[str], str]
) -> dict[str, dict[str, dict[str, str]]]:
    return {
        dataset: {
            method: {photo: change(path) for photo, path in own.items()}
            for method, own in methods.items()
        }
        for dataset, methods in pictures.items()
    }


def _seen_from(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
