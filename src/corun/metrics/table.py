"""The table of metrics: what each measures, which way is better, and what it needs.

Nothing is loaded here; :mod:`corun.metrics.registry` turns an entry into a function.
"""

from __future__ import annotations

from corun.judges.facts import JUDGES, Metric, NeededFile

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
        *(JUDGES[name] for name in _JUDGES),
        Metric("brightness", "mean brightness", "neither", "0 to 1",
               "mean of all samples", "guard"),
        Metric("contrast", "contrast", "neither", "0 to 0.5",
               "standard deviation of BT.601 luma", "guard"),
        Metric("colourfulness", "colourfulness", "neither", "0 to about 180",
               "Hasler and Süsstrunk, SPIE 2003", "guard"),
        Metric("crushed", "crushed to black", "lower", "0 to 1",
               "share of samples at 0 of 255", "guard"),
        Metric("clipped", "clipped to white", "lower", "0 to 1",
               "share of samples at 255 of 255", "guard"),
        Metric("hue-shift", "hue shift (°)", "lower", "0 to 180 degrees",
               "chroma-weighted mean CIELAB hue angle to the input", "guard", "2", "input"),
        Metric("psnr", "PSNR (dB)", "higher", "≥ 0, infinite for equal pictures",
               "mean squared error over R, G and B", "full-reference", needs="target",
               infinite_is_best=True),
        Metric("ssim", "SSIM", "higher", "-1 to 1", "Wang et al., TIP 2004", "full-reference",
               needs="target", least=11),
        Metric("ms-ssim", "MS-SSIM", "higher", "0 to 1",
               "Wang, Simoncelli and Bovik, Asilomar 2003", "full-reference", needs="target",
               least=176),
        Metric("ciede2000", "CIEDE2000", "lower", "≥ 0, usually 1 to 30",
               "Sharma, Wu and Dalal, CR&A 2005", "full-reference", needs="target"),
        Metric("lpips", "LPIPS", "lower", "≥ 0, usually below 1",
               "Zhang et al., CVPR 2018, AlexNet 0.1", "full-reference", needs="target",
               least=31, files=_LPIPS),
    )
}
"""By name, in the order of reports."""
# fmt: on
