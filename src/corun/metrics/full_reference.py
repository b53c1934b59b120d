"""Scores of a result against the true clear picture: PSNR, SSIM, MS-SSIM and CIEDE2000.

Every function takes two RGB pictures, sRGB-encoded, [0,1], of the same size, and returns one
double per pair. LPIPS, which needs weights, is in :mod:`corun.metrics.lpips`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.metrics.colour import srgb_to_lab
from corun.statistics.filters import gaussian_window, smooth

SSIM_WINDOW = 11
"""Side in pixels; the Gaussian's σ is 1.5."""
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from fine to coarse (Wang et al. 2003, Section 3.2)."""
_C1, _C2 = 0.01**2, 0.03**2


def psnr(
    pictures: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 _ _"]
) -> Float[Tensor, "b"]:
    """Peak signal-to-noise ratio: 10·log₁₀(1/mean (x − y)²) over all samples, in dB.

    Higher is better; ∞ for equal pictures.
    """
    require_same_size(pictures, targets)
    error = (pictures.double() - targets.double()).square().mean((1, 2, 3))
    return -10 * torch.log10(error)


def ssim(
    pictures: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 _ _"]
) -> Float[Tensor, "b"]:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli, TIP 2004, Eq. 13).

    Means, variances and covariance under an 11×11 Gaussian of σ = 1.5, C₁ = 0.01², C₂ = 0.03²; the
    mean over the windows that lie inside the picture, and over R, G and B. −1 to 1, higher is
    better, 1 for equal pictures.

    Raises:
        ValueError: the pictures differ in size or are smaller than the window.
    """
    require_same_size(pictures, targets, at_least=SSIM_WINDOW)
    luminance, structure = _similarity(pictures.double(), targets.double())
    return (luminance * structure).mean((1, 2, 3))


def ms_ssim(
    pictures: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 _ _"]
) -> Float[Tensor, "b"]:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003, Eq. 7).

    Πⱼ (mean csⱼ)^βⱼ over five scales, halved by 2×2 averaging, with SSIM in place of cs at the
    coarsest; negative means count as 0; the mean over R, G and B. 0 to 1, higher is better.

    Raises:
        ValueError: the pictures differ in size or are smaller than 176 pixels on a side.
    """
    smallest = SSIM_WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
    require_same_size(pictures, targets, at_least=smallest)
    result, target = pictures.double(), targets.double()
    product = torch.ones(result.shape[:2], dtype=torch.float64, device=result.device)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            result, target = F.avg_pool2d(result, 2), F.avg_pool2d(target, 2)
        luminance, structure = _similarity(result, target)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        means = (luminance * structure if last else structure).mean((2, 3))
        product = product * means.clamp(min=0) ** weight
    return product.mean(1)


def ciede2000(
    pictures: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 _ _"]
) -> Float[Tensor, "b"]:
    """The mean colour difference ΔE₀₀ over the pixels. Lower is better; 1 is just noticeable."""
    require_same_size(pictures, targets)
    return delta_e_2000(srgb_to_lab(pictures), srgb_to_lab(targets)).mean((1, 2))


def delta_e_2000(
    lab: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b h w"]:
    """CIEDE2000 of CIELAB colours, with k_L = k_C = k_H = 1.

    Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes" (2005),
    whose equation numbers are given below.
    """
    (l1, a1, b1), (l2, a2, b2) = lab.double().unbind(1), other.double().unbind(1)
    mean_chroma7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7  # Eq. 3
    stretch = 1.5 - 0.5 * torch.sqrt(mean_chroma7 / (mean_chroma7 + 25**7))  # 1 + G, Eq. 4
    a1, a2 = a1 * stretch, a2 * stretch  # Eq. 5
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)  # Eq. 6
    turn = 2 * torch.pi
    h1, h2 = torch.atan2(b1, a1) % turn, torch.atan2(b2, a2) % turn  # Eq. 7
    grey = c1 * c2 == 0
    difference = h2 - h1
    wrapped = torch.where(difference.abs() <= torch.pi, 0.0, turn * difference.sign())
    d_hue = torch.where(grey, 0.0, difference - wrapped)  # Eq. 10
    d_lightness, d_chroma = l2 - l1, c2 - c1  # Eqs. 8, 9
    d_h = 2 * (c1 * c2).sqrt() * torch.sin(d_hue / 2)  # Eq. 11
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2  # Eqs. 12, 13
    total = h1 + h2
    across = (h1 - h2).abs() > torch.pi
    hue = torch.where(across, torch.where(total < turn, total + turn, total - turn), total) / 2
    hue = torch.where(grey, total, hue)  # Eq. 14
    degrees = hue * (180 / torch.pi)
    t = (  # Eq. 15
        1
        - 0.17 * torch.cos(hue - torch.pi / 6)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + torch.pi / 30)
        - 0.20 * torch.cos(4 * hue - 63 * torch.pi / 180)
    )
    rotation = torch.pi / 3 * torch.exp(-(((degrees - 275) / 25) ** 2))  # 2Δθ, Eqs. 16, 21
    chroma7 = chroma**7
    r_t = -2 * torch.sqrt(chroma7 / (chroma7 + 25**7)) * torch.sin(rotation)  # Eqs. 17, 21
    offset = (lightness - 50) ** 2
    s_l = 1 + 0.015 * offset / torch.sqrt(20 + offset)  # Eq. 18
    s_c, s_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t  # Eqs. 19, 20
    x, y, z = d_lightness / s_l, d_chroma / s_c, d_h / s_h
    return (x**2 + y**2 + z**2 + r_t * y * z).clamp(min=0).sqrt()  # Eq. 22


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The luminance term and the contrast-structure term of each inner window and channel."""
    window, reach = gaussian_window(SSIM_WINDOW, 1.5), SSIM_WINDOW // 2
    batch, channels = x.shape[:2]

    def mean(maps: Tensor) -> Tensor:
        smoothed = smooth(maps.flatten(0, 1), window, "zero")
        inner = smoothed[:, reach:-reach, reach:-reach]
        return inner.reshape(batch, channels, *inner.shape[-2:])

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2
    covariance = mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + _C1) / (mu_x**2 + mu_y**2 + _C1)
    return luminance, (2 * covariance + _C2) / (var_x + var_y + _C2)


def require_same_size(pictures: Tensor, targets: Tensor, *, at_least: int = 1) -> None:
    """Raises:
    ValueError: the pictures differ in size, or a side has fewer pixels.
    """
    if pictures.shape != targets.shape:
        raise ValueError(
            f"result {tuple(pictures.shape)} and target {tuple(targets.shape)} differ in size"
        )
    height, width = pictures.shape[-2:]
    if min(height, width) < at_least:
        raise ValueError(
            f"needs pictures of at least {at_least}×{at_least} pixels, got {width}×{height}"
        )
