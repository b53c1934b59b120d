"""Scores from papers, as data with their source: never mixed with what was measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class PublishedScore:
    """One number of a paper.

    Attributes:
        dataset: our name of the data set.
        method: as the paper calls it.
        metric: our name of the metric.
        value: as printed.
        setting: what one has to know to compare.
        source: where it is printed.
    """

    dataset: str
    method: str
    metric: str
    value: float
    setting: str
    source: str


@lru_cache(maxsize=1)
def published_scores() -> tuple[PublishedScore, ...]:
    """Every number we hold, in the order of the file `published_scores.json`."""
    text = (files("corun.evaluation") / "published_scores.json").read_text(encoding="utf-8")
    tables = json.loads(text)["tables"]
    return tuple(
        PublishedScore(
            table["dataset"], method, metric, float(value), table["setting"], table["source"]
        )
        for table in tables
        for method, scores in table["scores"].items()
        for metric, value in scores.items()
    )


def sources_of(scores: Mapping[str, PublishedScore]) -> str:
    """Where the numbers of one row are printed: metrics of one source together."""
    metrics: dict[tuple[str, str], list[str]] = {}
    for metric, score in scores.items():
        metrics.setdefault((score.source, score.setting), []).append(metric)
    texts = {key: f"{key[0]} ({key[1]})" for key in metrics}
    if len(metrics) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{', '.join(names)}: {texts[key]}" for key, names in metrics.items())


def published_for(
    names: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[str, PublishedScore]]:
    """Method → metric → score, of the first of the data sets that anything is known of.

    Args:
        names: of one data set: the label a person gave it, and its name in the catalogue.
        metrics: our names.
    """
    for name in names:
        chosen: dict[str, dict[str, PublishedScore]] = {}
        for score in published_scores():
            if score.dataset == name and score.metric in metrics:
                chosen.setdefault(score.method, {})[score.metric] = score
        if chosen:
            return chosen
    return {}
