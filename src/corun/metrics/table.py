"""The table of metrics: what each measures, which way is better, and what it needs.

Nothing is loaded here; :mod:`corun.metrics.registry` turns an entry into a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from corun.judges.facts import JUDGES, Better, Judge, NeededFile

Kind = Literal["no-reference", "full-reference", "guard"]
Needs = Literal["nothing", "input", "target"]


@dataclass(frozen=True)
class Metric:
    """The facts of one metric."""

    name: str
    title: str
    kind: Kind
    better: Better
    score_range: str
    source: str
    version: str = "1"
    """Raised when the number for the same file changes: caches are keyed by it."""
    needs: Needs = "nothing"
    """What the score compares with: the hazy input, or the true clear scene."""
    least: int = 1
    """Pixels that height and width must have at least."""
    infinite_is_best: bool = False
    """Whether +∞ is a score (PSNR of equal pictures) and no failure."""
    downloads: bool = False
    """Whether its package may fetch weights from the network when it is first used."""
    files: tuple[NeededFile, ...] = ()
    """Files without which it cannot be computed; BRISQUE can be pyiqa's instead."""


def metric_of(judge: Judge) -> Metric:
    """A judge of single pictures as a metric."""
    return Metric(
        judge.name,
        judge.title,
        "no-reference",
        judge.better,
        judge.score_range,
        judge.source,
        least=judge.least,
        downloads=judge.package == "pyiqa",
        files=judge.files,
    )


_JUDGES = (
    *("fade", "brisque", "niqe", "niqe-embedded", "hazdesnet"),
    *("nima", "musiq", "paq2piq", "clipiqa"),
)
_LPIPS = (
    NeededFile("lpips_backbone", "torchvision's AlexNet weights, alexnet-owt-7be5be79.pth"),
    NeededFile("lpips_heads", "lpips/weights/v0.1/alex.pth of the package lpips"),
)

# fmt: off
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(metric_of(JUDGES[name]) for name in _JUDGES),
        Metric("brightness", "mean brightness", "guard", "neither", "0 to 1",
               "mean of all samples"),
        Metric("contrast", "contrast", "guard", "neither", "0 to 0.5",
               "standard deviation of BT.601 luma"),
        Metric("colourfulness", "colourfulness", "guard", "neither", "0 to about 180",
               "Hasler and Süsstrunk, SPIE 2003"),
        Metric("crushed", "crushed to black", "guard", "lower", "0 to 1",
               "share of samples at 0 of 255"),
        Metric("clipped", "clipped to white", "guard", "lower", "0 to 1",
               "share of samples at 255 of 255"),
        Metric("hue-shift", "hue shift (°)", "guard", "lower", "0 to 180 degrees",
               "chroma-weighted mean CIELAB hue angle to the input", "2", "input"),
        Metric("psnr", "PSNR (dB)", "full-reference", "higher",
               "≥ 0, infinite for equal pictures", "mean squared error over R, G and B",
               needs="target", infinite_is_best=True),
        Metric("ssim", "SSIM", "full-reference", "higher", "-1 to 1", "Wang et al., TIP 2004",
               needs="target", least=11),
        Metric("ms-ssim", "MS-SSIM", "full-reference", "higher", "0 to 1",
               "Wang, Simoncelli and Bovik, Asilomar 2003", needs="target",
               least=176),
        Metric("ciede2000", "CIEDE2000", "full-reference", "lower", "≥ 0, usually 1 to 30",
               "Sharma, Wu and Dalal, CR&A 2005", needs="target"),
        Metric("lpips", "LPIPS", "full-reference", "lower", "≥ 0, usually below 1",
               "Zhang et al., CVPR 2018, AlexNet 0.1", needs="target", files=_LPIPS),
    )
}
"""By name, in the order of reports."""
# fmt: on
