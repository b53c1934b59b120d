"""Filters over a square window: minimum, mean, and the guided filter built of means.

NumPy and OpenCV, channels last; nothing here imports torch. All of them cut the window off at the
image's border instead of padding with invented pixels, so that they are exact for every size from
1×1 up, and cost the same per pixel or nearly so whatever the window.
"""

from __future__ import annotations

import cv2
import numpy as np

from corun.shapes import Float


def dark_channel(image: Float[np.ndarray, "h w c"], *, patch: int = 15) -> Float[np.ndarray, "h w"]:
    """dark(x) = min over y in Ω(x) of min over channels c of image_c(y).

    Ω(x) is the patch × patch window around x, cut off at the border (He et al. 2009, Eq. 5).

    Args:
        image: RGB, [0,1], or any number of channels; float32 or float64.
        patch: side of the window in pixels, odd, at least 1.

    Returns:
        The dark channel, in the image's units.

    Raises:
        ValueError: patch is even or below 1.
    """
    if patch < 1 or patch % 2 == 0:
        raise ValueError(f"patch must be odd and at least 1, got {patch}")
    darkest = np.ascontiguousarray(image.min(axis=2))
    # Beyond the border erosion sees values larger than any, so the window is cut off there.
    return np.asarray(cv2.erode(darkest, np.ones((patch, patch), np.uint8)))


def box_mean(image: Float[np.ndarray, "h w *c"], *, radius: int) -> Float[np.ndarray, "h w *c"]:
    """The mean over the (2·radius+1)² window around each pixel, cut off at the border.

    Running sums in float64: the cost does not depend on the radius.

    Args:
        image: any values, float32 or float64.
        radius: of the window in pixels, at least 0.

    Raises:
        ValueError: radius is negative.
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, got {radius}")
    window = (2 * radius + 1, 2 * radius + 1)
    whole = np.ascontiguousarray(image)
    sums = cv2.boxFilter(whole, -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
    counts = _counts(image.shape[0], radius)[:, None] * _counts(image.shape[1], radius)
    per_pixel = counts.astype(image.dtype).reshape(*counts.shape, *[1] * (image.ndim - 2))
    means: Float[np.ndarray, "h w *c"] = np.asarray(sums).reshape(image.shape) / per_pixel
    return means


def guided_filter(
    guide: Float[np.ndarray, "h w g"],
    source: Float[np.ndarray, "h w"],
    *,
    radius: int,
    epsilon: float,
) -> Float[np.ndarray, "h w"]:
    """Smooth the source while keeping the guide's edges: q = ā·I + b̄.

    In each window ω the source p is fitted by a linear function of the guide I, minimising
    Σ_ω (aᵀI + b − p)² + ε·|a|², whose solution is a = (Σ + ε·1)⁻¹·cov_ω(I, p) and
    b = mean_ω(p) − aᵀ·mean_ω(I), with Σ the guide's covariance in ω; ā and b̄ average a and b over
    the windows that hold a pixel (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, Eqs. 4–8
    for a grey guide and 14–16 for a colour guide).

    Args:
        guide: I, grey (1 channel) or RGB (3 channels), [0,1], float32 or float64.
        source: p.
        radius: of the windows in pixels, at least 0.
        epsilon: ε > 0, in units of the guide's variance: edges weaker than √ε are smoothed.

    Returns:
        q, in the source's units and dtype; it may leave the source's range at strong edges.

    Raises:
        ValueError: the guide has neither 1 nor 3 channels, or epsilon is not above 0.
    """
    if guide.shape[2] not in (1, 3):
        raise ValueError(f"the guide must have 1 or 3 channels, got {guide.shape[2]}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    # Variance as E[I²] − E[I]² loses digits where the mean is large against the deviation.
    centre = guide.mean(axis=(0, 1), dtype=np.float64).astype(guide.dtype)
    channels = [guide[:, :, c] - centre[c] for c in range(guide.shape[2])]
    slopes, offset = _linear_fit(channels, source, radius, epsilon)
    smooth = box_mean(offset, radius=radius)
    for slope, channel in zip(slopes, channels, strict=True):
        smooth += box_mean(slope, radius=radius) * channel
    return smooth


Plane = Float[np.ndarray, "h w"]


def _linear_fit(
    guide: list[Plane], source: Plane, radius: int, epsilon: float
) -> tuple[list[Plane], Plane]:
    """Per window: the slopes a and the offset b of the source as a linear function of the guide."""

    def mean(plane: Plane) -> Plane:
        return box_mean(plane, radius=radius)

    means = [mean(channel) for channel in guide]
    source_mean = mean(source)
    cross = [mean(g * source) - m * source_mean for g, m in zip(guide, means, strict=True)]
    sigma = {
        (i, j): mean(guide[i] * guide[j]) - means[i] * means[j] + (epsilon if i == j else 0)
        for i in range(len(guide))
        for j in range(i, len(guide))
    }
    slopes = [cross[0] / sigma[0, 0]] if len(guide) == 1 else _solved(sigma, cross, epsilon)
    offset = source_mean
    for slope, m in zip(slopes, means, strict=True):
        offset = offset - slope * m
    return slopes, offset


def _solved(sigma: dict[tuple[int, int], Plane], right: list[Plane], epsilon: float) -> list[Plane]:
    """x with S·x = right for S = Σ + ε·1, symmetric 3×3 at each pixel, by S = L·D·Lᵀ.

    A grey picture makes Σ singular; elimination then keeps the digits that cofactors lose. No pivot
    of S is below ε but by rounding.
    """
    least = sigma[0, 0].dtype.type(epsilon)
    d0 = np.maximum(sigma[0, 0], least)
    l10, l20 = sigma[0, 1] / d0, sigma[0, 2] / d0
    d1 = np.maximum(sigma[1, 1] - l10 * sigma[0, 1], least)
    l21 = (sigma[1, 2] - l10 * sigma[0, 2]) / d1
    d2 = np.maximum(sigma[2, 2] - l20 * sigma[0, 2] - l21 * l21 * d1, least)
    y0 = right[0]
    y1 = right[1] - l10 * y0
    y2 = right[2] - l20 * y0 - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    return [y0 / d0 - l10 * x1 - l20 * x2, x1, x2]


def _counts(length: int, radius: int) -> Float[np.ndarray, " n"]:
    """How many of [i − radius, i + radius] lie inside, for each i."""
    index = np.arange(length)
    within = np.minimum(index + radius, length - 1) - np.maximum(index - radius, 0) + 1
    return within.astype(np.float64)
