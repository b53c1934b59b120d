"""The entries of the table of metrics; see :mod:`corun.metrics.registry`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from corun.errors import MissingExtraError
from corun.metrics import guards
from corun.metrics.pictures import as_tensor
from corun.metrics.registry import Metric, NeededFile, ScoreFunction, needed_file

BRISQUE_MODEL = NeededFile(
    "brisque_model",
    "'allmodel' of BRISQUE_release.zip, from live.ece.utexas.edu (Research, Quality)",
)
BRISQUE_RANGE = NeededFile(
    "brisque_range",
    "'allrange' of BRISQUE_release.zip, from live.ece.utexas.edu (Research, Quality)",
)
HAZDESNET = NeededFile(
    "hazdesnet", "weights/weights.hdf5 of the GitHub repository JiaheZhang/HazDesNet"
)

Built = tuple[ScoreFunction, str]
BatchFunction = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b"]]


def _alone(function: BatchFunction) -> ScoreFunction:
    """A batched no-reference function as a score of one 8-bit picture."""

    def score(picture: np.ndarray, reference: np.ndarray | None) -> float:
        return float(function(as_tensor(picture))[0])

    return score


def _compared(
    function: Callable[[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]], Float[Tensor, "b"]],
) -> ScoreFunction:
    """A batched function of two pictures as a score of one 8-bit pair."""

    def score(picture: np.ndarray, reference: np.ndarray | None) -> float:
        if reference is None:
            raise ValueError("this metric compares with a reference picture, and none was given")
        return float(function(as_tensor(picture), as_tensor(reference))[0])

    return score


def _fade(files: Mapping[str, Path]) -> Built:
    try:
        import pyfade
    except ImportError as error:
        raise MissingExtraError("fade-python", "metrics") from error
    from corun.metrics.haze_density import fade

    def score(picture: np.ndarray, reference: np.ndarray | None) -> float:
        return fade(picture)

    return score, f"fade-python {pyfade.__version__}"


def _brisque(files: Mapping[str, Path]) -> Built:
    if BRISQUE_MODEL.key not in files and BRISQUE_RANGE.key not in files:
        from corun.metrics.pyiqa_metrics import pyiqa_installed, pyiqa_score

        if pyiqa_installed():
            return pyiqa_score("brisque")
    from corun.metrics.brisque import load_brisque

    model = needed_file("BRISQUE", BRISQUE_MODEL, files)
    feature_range = needed_file("BRISQUE", BRISQUE_RANGE, files)
    return _alone(load_brisque(model, feature_range)), "corun, published SVR"


def _hazdesnet(files: Mapping[str, Path]) -> Built:
    from corun.metrics.haze_density import hazdesnet_scorer

    scorer = hazdesnet_scorer(needed_file("HazDesNet", HAZDESNET, files))
    return _alone(scorer), "corun, published weights"


def _plain(function: BatchFunction) -> Callable[[Mapping[str, Path]], Built]:
    def build(files: Mapping[str, Path]) -> Built:
        return _alone(function), "corun"

    return build


def _plain_pair(
    function: Callable[[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]], Float[Tensor, "b"]],
) -> Callable[[Mapping[str, Path]], Built]:
    def build(files: Mapping[str, Path]) -> Built:
        return _compared(function), "corun"

    return build


METRICS: tuple[Metric, ...] = (
    Metric(
        name="fade",
        title="FADE",
        kind="no-reference",
        better="lower",
        score_range="≥ 0, usually 0.1 to 5",
        source="Choi, You and Bovik, TIP 2015",
        version="1",
        build=_fade,
    ),
    Metric(
        name="brisque",
        title="BRISQUE",
        kind="no-reference",
        better="lower",
        score_range="about 0 to 100, may leave it",
        source="Mittal, Moorthy and Bovik, TIP 2012",
        version="1",
        build=_brisque,
        files=(BRISQUE_MODEL, BRISQUE_RANGE),
    ),
    Metric(
        name="hazdesnet",
        title="HazDesNet",
        kind="no-reference",
        better="lower",
        score_range="0 to 1",
        source="Zhang et al., T-ITS 2022",
        version="1",
        build=_hazdesnet,
        files=(HAZDESNET,),
    ),
    Metric(
        name="brightness",
        title="mean brightness",
        kind="guard",
        better="neither",
        score_range="0 to 1",
        source="mean of all samples",
        version="1",
        build=_plain(guards.mean_brightness),
    ),
    Metric(
        name="contrast",
        title="contrast",
        kind="guard",
        better="neither",
        score_range="0 to 0.5",
        source="standard deviation of BT.601 luma",
        version="1",
        build=_plain(guards.contrast),
    ),
    Metric(
        name="colourfulness",
        title="colourfulness",
        kind="guard",
        better="neither",
        score_range="0 to about 180",
        source="Hasler and Süsstrunk, SPIE 2003",
        version="1",
        build=_plain(guards.colourfulness),
    ),
    Metric(
        name="crushed",
        title="crushed to black",
        kind="guard",
        better="lower",
        score_range="0 to 1",
        source="share of samples at 0 of 255",
        version="1",
        build=_plain(guards.crushed_fraction),
    ),
    Metric(
        name="clipped",
        title="clipped to white",
        kind="guard",
        better="lower",
        score_range="0 to 1",
        source="share of samples at 255 of 255",
        version="1",
        build=_plain(guards.clipped_fraction),
    ),
    Metric(
        name="hue-shift",
        title="hue shift (°)",
        kind="guard",
        better="lower",
        score_range="0 to 180 degrees",
        source="chroma-weighted mean CIELAB hue angle to the input",
        version="1",
        build=_plain_pair(guards.hue_shift),
        needs="input",
    ),
)
