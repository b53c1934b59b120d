"""Filters over a square window: minimum, mean, and the guided filter built of means.

All of them cut the window off at the image's border instead of padding with invented pixels, so
that they are exact for every size from 1×1 up, and cost the same per pixel or nearly so whatever
the window. Half-precision inputs are computed in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def dark_channel(image: Float[Tensor, "b c h w"], *, patch: int = 15) -> Float[Tensor, "b 1 h w"]:
    """dark(x) = min over y in Ω(x) of min over channels c of image_c(y).

    Ω(x) is the patch × patch window around x, cut off at the border (He et al. 2009, Eq. 5).

    Args:
        image: RGB, [0,1], or any number of channels.
        patch: side of the window in pixels, odd, at least 1.

    Returns:
        The dark channel, in the image's units.

    Raises:
        ValueError: patch is even or below 1.
    """
    if patch < 1 or patch % 2 == 0:
        raise ValueError(f"patch must be odd and at least 1, got {patch}")
    bright = -image.amin(dim=1, keepdim=True)
    radius = patch // 2
    bright = F.max_pool2d(bright, (1, patch), stride=1, padding=(0, radius))
    return -F.max_pool2d(bright, (patch, 1), stride=1, padding=(radius, 0))


def box_mean(image: Float[Tensor, "b c h w"], *, radius: int) -> Float[Tensor, "b c h w"]:
    """The mean over the (2·radius+1)² window around each pixel, cut off at the border.

    Running sums along one axis, then the other: the cost does not depend on the radius. Sums are
    taken per axis, not over the plane, so rounding grows with the side and not with the area.

    Args:
        image: any values.
        radius: of the window in pixels, at least 0.

    Returns:
        The local means, same dtype.

    Raises:
        ValueError: radius is negative.
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, got {radius}")
    working = image.to(_working_dtype(image))
    return _axis_mean(_axis_mean(working, 3, radius), 2, radius).to(image.dtype)


def guided_filter(
    guide: Float[Tensor, "b g h w"],
    source: Float[Tensor, "b c h w"],
    *,
    radius: int,
    epsilon: float,
) -> Float[Tensor, "b c h w"]:
    """Smooth the source while keeping the guide's edges: q = ā·I + b̄.

    In each window ω the source p is fitted by a linear function of the guide I, minimising
    Σ_ω (aᵀI + b − p)² + ε·|a|², whose solution is a = (Σ + ε·1)⁻¹·cov_ω(I, p) and
    b = mean_ω(p) − aᵀ·mean_ω(I), with Σ the guide's covariance in ω; ā and b̄ average a and b over
    the windows that hold a pixel (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, Eqs. 4–8
    for a grey guide and 14–16 for a colour guide).

    Args:
        guide: I, grey (1 channel) or RGB (3 channels), [0,1].
        source: p, any number of channels, each filtered by itself.
        radius: of the windows in pixels, at least 0.
        epsilon: ε > 0, in units of the guide's variance: edges weaker than √ε are smoothed.

    Returns:
        q, in the source's units and dtype; it may leave the source's range at strong edges.

    Raises:
        ValueError: the guide has neither 1 nor 3 channels, or epsilon is not above 0.
    """
    if guide.shape[1] not in (1, 3):
        raise ValueError(f"the guide must have 1 or 3 channels, got {guide.shape[1]}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    p = source.to(_working_dtype(source))
    # Variance as E[I²] − E[I]² loses digits where the mean is large against the deviation.
    centred = guide.to(p.dtype)
    centred = centred - centred.mean(dim=(2, 3), keepdim=True)
    slope, offset = _linear_fit(centred, p, radius, epsilon)
    slope = box_mean(slope.flatten(1, 2), radius=radius).view_as(slope)
    smooth = box_mean(offset, radius=radius) + (slope * centred.unsqueeze(1)).sum(dim=2)
    return smooth.to(source.dtype)


def _linear_fit(
    guide: Float[Tensor, "b g h w"],
    source: Float[Tensor, "b c h w"],
    radius: int,
    epsilon: float,
) -> tuple[Float[Tensor, "b c g h w"], Float[Tensor, "b c h w"]]:
    """Per window: the slope a and offset b of the source as a linear function of the guide."""
    g = guide.shape[1]
    guide_mean = box_mean(guide, radius=radius)
    source_mean = box_mean(source, radius=radius)
    pairs = [(i, j) for i in range(g) for j in range(i, g)]
    products = torch.stack([guide[:, i] * guide[:, j] for i, j in pairs], dim=1)
    second = box_mean(products, radius=radius)
    sigma = {
        (i, j): second[:, n] - guide_mean[:, i] * guide_mean[:, j] + (epsilon if i == j else 0.0)
        for n, (i, j) in enumerate(pairs)
    }
    cross = torch.stack(
        [
            box_mean(guide * source[:, c : c + 1], radius=radius)
            - guide_mean * source_mean[:, c : c + 1]
            for c in range(source.shape[1])
        ],
        dim=1,
    )
    if g == 1:
        slope = cross / sigma[0, 0].unsqueeze(1).unsqueeze(1)
    else:
        slope = _solve_symmetric(sigma, cross, epsilon)
    offset = source_mean - (slope * guide_mean.unsqueeze(1)).sum(dim=2)
    return slope, offset


def _solve_symmetric(
    sigma: dict[tuple[int, int], Tensor], right: Float[Tensor, "b c 3 h w"], epsilon: float
) -> Float[Tensor, "b c 3 h w"]:
    """x with S·x = right for S = Σ + ε·1, symmetric 3×3 at each pixel, by S = L·D·Lᵀ.

    A grey picture makes Σ singular; elimination then keeps the digits that cofactors lose. No pivot
    of S is below ε but by rounding.
    """
    d0 = sigma[0, 0].clamp(min=epsilon)
    l10, l20 = sigma[0, 1] / d0, sigma[0, 2] / d0
    d1 = (sigma[1, 1] - l10 * sigma[0, 1]).clamp(min=epsilon)
    l21 = (sigma[1, 2] - l10 * sigma[0, 2]) / d1
    d2 = (sigma[2, 2] - l20 * sigma[0, 2] - l21 * l21 * d1).clamp(min=epsilon)
    d0, d1, d2, l10, l20, l21 = (part.unsqueeze(1) for part in (d0, d1, d2, l10, l20, l21))
    y0 = right[:, :, 0]
    y1 = right[:, :, 1] - l10 * y0
    y2 = right[:, :, 2] - l20 * y0 - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    x0 = y0 / d0 - l10 * x1 - l20 * x2
    return torch.stack([x0, x1, x2], dim=2)


def _axis_mean(image: Tensor, axis: int, radius: int) -> Tensor:
    """Mean over [i − radius, i + radius] along one axis, cut off at its ends."""
    size = image.shape[axis]
    if radius == 0 or size == 1:
        return image
    sums = F.pad(image.cumsum(axis), (1, 0) if axis == 3 else (0, 0, 1, 0))
    index = torch.arange(size, device=image.device)
    first = (index - radius).clamp(min=0)
    end = (index + radius + 1).clamp(max=size)
    count = (end - first).to(image.dtype)
    if axis == 2:
        count = count.unsqueeze(1)
    return (sums.index_select(axis, end) - sums.index_select(axis, first)) / count


def _working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 stays, everything smaller is computed in float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
