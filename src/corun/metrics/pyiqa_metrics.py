"""Metrics of the package pyiqa, where the user installed it: NIMA, MUSIQ, PAQ2PIQ, CLIP-IQA …

pyiqa is not a dependency: its licence is non-commercial and its requirements are heavy. It is
imported only when one of its metrics is asked for, and it fetches its own weights.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corun.errors import ConfigurationError, WeightsError
from corun.metrics.pictures import as_tensor
from corun.metrics.registry import Metric, Needs, ScoreFunction

Built = tuple[ScoreFunction, str]


def pyiqa_installed() -> bool:
    """Whether the package is there; it is not imported to find out."""
    return importlib.util.find_spec("pyiqa") is not None


def pyiqa_score(name: str) -> Built:
    """A metric of pyiqa as a function of 8-bit pictures, and its name with pyiqa's version.

    Raises:
        ConfigurationError: pyiqa is not installed, or has no such metric.
        WeightsError: its weights cannot be fetched.
    """
    pyiqa = _import_pyiqa(name)
    if name not in pyiqa.list_models():
        raise ConfigurationError(
            f"pyiqa has no metric {name!r}; pyiqa.list_models() lists those it has"
        )
    try:
        model = pyiqa.create_metric(name, device=torch.device("cpu"))
    except OSError as error:  # no network, or a file missing from the cache
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"pyiqa cannot get the weights of {name} ({reason}); run it once with network access"
        ) from error

    def score(picture: np.ndarray, reference: np.ndarray | None) -> float:
        pictures = [as_tensor(picture)]
        if model.metric_mode == "FR":
            if reference is None:
                raise ValueError(f"{name} compares with a reference picture, and none was given")
            pictures.append(as_tensor(reference))
        with torch.no_grad():
            return float(model(*pictures))

    return score, f"pyiqa {_version()} {name}"


def pyiqa_builder(name: str) -> Callable[[Mapping[str, Path]], Built]:
    """For an entry of the table: build pyiqa's metric; no local file is needed."""

    def build(files: Mapping[str, Path]) -> Built:
        return pyiqa_score(name)

    return build


def pyiqa_metric(name: str) -> Metric:
    """An entry for any metric of pyiqa, its facts read from pyiqa.

    Raises:
        ConfigurationError: pyiqa is not installed, or has no such metric.
    """
    configurations = _configurations(name)
    if name not in configurations:
        raise ConfigurationError(
            f"pyiqa has no metric {name!r}; pyiqa.list_models() lists those it has"
        )
    facts = configurations[name]
    compares = facts.get("metric_mode") == "FR"
    needs: Needs = "target" if compares else "nothing"
    return Metric(
        name=f"pyiqa:{name}",
        title=name,
        kind="full-reference" if compares else "no-reference",
        better="lower" if facts.get("lower_better", False) else "higher",
        score_range=str(facts.get("score_range", "not stated")),
        source="pyiqa",
        version="1",
        build=pyiqa_builder(name),
        needs=needs,
    )


def _configurations(name: str) -> Mapping[str, Mapping[str, Any]]:
    _import_pyiqa(name)
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    configurations: Mapping[str, Mapping[str, Any]] = DEFAULT_CONFIGS
    return configurations


def _import_pyiqa(name: str) -> Any:
    try:
        import pyiqa
    except ImportError as error:
        raise ConfigurationError(
            f"{name} is computed by pyiqa, which is not installed or cannot be imported "
            f"({error}); install it with: pip install pyiqa (its licence is non-commercial)"
        ) from error
    return pyiqa


def _version() -> str:
    try:
        return importlib.metadata.version("pyiqa")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
