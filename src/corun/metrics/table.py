"""The entries of the table of metrics; see :mod:`corun.metrics.registry`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from corun.errors import MissingExtraError
from corun.metrics import full_reference, guards
from corun.metrics.pictures import as_tensor
from corun.metrics.pyiqa_metrics import pyiqa_builder
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
NIQE_STATISTICS = NeededFile(
    "niqe", "niqe_pris_params.npz of basicsr (metrics/), the numbers of NIQE's MATLAB release"
)
LPIPS_BACKBONE = NeededFile(
    "lpips_backbone", "torchvision's AlexNet weights, alexnet-owt-7be5be79.pth"
)
LPIPS_HEADS = NeededFile("lpips_heads", "lpips/weights/v0.1/alex.pth of the package lpips")

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


def _niqe(files: Mapping[str, Path]) -> Built:
    from corun.metrics.niqe import load_pristine_statistics, niqe

    statistics = load_pristine_statistics(needed_file("NIQE", NIQE_STATISTICS, files))
    return _alone(partial(niqe, pristine=statistics)), "corun, published statistics"


def _niqe_embedded(files: Mapping[str, Path]) -> Built:
    from corun.metrics.niqe import embedded_statistics, niqe

    return _alone(partial(niqe, pristine=embedded_statistics())), "corun, embedded statistics"


def _lpips(files: Mapping[str, Path]) -> Built:
    from corun.metrics.lpips import load_lpips

    backbone = needed_file("LPIPS", LPIPS_BACKBONE, files)
    network = load_lpips(backbone, needed_file("LPIPS", LPIPS_HEADS, files))
    return _compared(network), "corun, AlexNet 0.1"


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
        least=16,
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
        least=16,
        build=_brisque,
        files=(BRISQUE_MODEL, BRISQUE_RANGE),
    ),
    Metric(
        name="niqe",
        title="NIQE",
        kind="no-reference",
        better="lower",
        score_range="≥ 0, usually 2 to 10",
        source="Mittal, Soundararajan and Bovik, SPL 2013; published statistics",
        version="1",
        build=_niqe,
        files=(NIQE_STATISTICS,),
    ),
    Metric(
        name="niqe-embedded",
        title="NIQE, embedded statistics",
        kind="no-reference",
        better="lower",
        score_range="≥ 0, usually 2 to 10; not comparable with published NIQE",
        source="Mittal, Soundararajan and Bovik, SPL 2013; statistics of our own",
        version="1",
        build=_niqe_embedded,
    ),
    Metric(
        name="hazdesnet",
        title="HazDesNet",
        kind="no-reference",
        better="lower",
        score_range="0 to 1",
        source="Zhang et al., T-ITS 2022",
        version="1",
        least=32,
        build=_hazdesnet,
        files=(HAZDESNET,),
    ),
    Metric(
        name="nima",
        title="NIMA",
        kind="no-reference",
        better="higher",
        score_range="1 to 10",
        source="Talebi and Milanfar, TIP 2018, through pyiqa",
        version="1",
        build=pyiqa_builder("nima"),
        downloads=True,
    ),
    Metric(
        name="musiq",
        title="MUSIQ",
        kind="no-reference",
        better="higher",
        score_range="about 0 to 100",
        source="Ke et al., ICCV 2021, through pyiqa",
        version="1",
        build=pyiqa_builder("musiq"),
        downloads=True,
    ),
    Metric(
        name="paq2piq",
        title="PAQ2PIQ",
        kind="no-reference",
        better="higher",
        score_range="about 0 to 100",
        source="Ying et al., CVPR 2020, through pyiqa",
        version="1",
        build=pyiqa_builder("paq2piq"),
        downloads=True,
    ),
    Metric(
        name="clipiqa",
        title="CLIP-IQA",
        kind="no-reference",
        better="higher",
        score_range="0 to 1",
        source="Wang, Chan and Loy, AAAI 2023, through pyiqa",
        version="1",
        build=pyiqa_builder("clipiqa"),
        downloads=True,
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
        version="2",
        build=_plain_pair(guards.hue_shift),
        needs="input",
    ),
    Metric(
        name="psnr",
        title="PSNR (dB)",
        kind="full-reference",
        better="higher",
        score_range="≥ 0, infinite for equal pictures",
        source="mean squared error over R, G and B",
        version="1",
        build=_plain_pair(full_reference.psnr),
        needs="target",
        infinite_is_best=True,
    ),
    Metric(
        name="ssim",
        title="SSIM",
        kind="full-reference",
        better="higher",
        score_range="-1 to 1",
        source="Wang et al., TIP 2004",
        version="1",
        least=11,
        build=_plain_pair(full_reference.ssim),
        needs="target",
    ),
    Metric(
        name="ms-ssim",
        title="MS-SSIM",
        kind="full-reference",
        better="higher",
        score_range="0 to 1",
        source="Wang, Simoncelli and Bovik, Asilomar 2003",
        version="1",
        least=176,
        build=_plain_pair(full_reference.ms_ssim),
        needs="target",
    ),
    Metric(
        name="ciede2000",
        title="CIEDE2000",
        kind="full-reference",
        better="lower",
        score_range="≥ 0, usually 1 to 30",
        source="Sharma, Wu and Dalal, CR&A 2005",
        version="1",
        build=_plain_pair(full_reference.ciede2000),
        needs="target",
    ),
    Metric(
        name="lpips",
        title="LPIPS",
        kind="full-reference",
        better="lower",
        score_range="≥ 0, usually below 1",
        source="Zhang et al., CVPR 2018, AlexNet 0.1",
        version="1",
        build=_lpips,
        needs="target",
        files=(LPIPS_BACKBONE, LPIPS_HEADS),
    ),
)
