"""Pillow images to RGB in [0,1] and back, mode for mode.

`rgb_from_pil` reads every common mode; `pil_like` writes RGB in the mode of a given original.
Three modes cannot come back bit for bit, because the answer has more colours than they hold:
"1" is dithered, "P" gets a new palette (dithered) and, where its transparency is not simply on
or off, or where a transparent *colour* marks the transparent pixels, alpha is kept exact by
returning "RGBA" or "LA".
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from corun.pictures.pixels import LUMA, PixelError, array_like, rgb_from_array
from corun.shapes import Float32, Shaped, UInt8

SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
KEPT_INFO = ("icc_profile", "exif", "dpi")


def rgb_from_pil(image: Image.Image) -> Float32[np.ndarray, "h w 3"]:
    """Reads an image of any common mode as RGB, sRGB-encoded, in [0,1]; alpha is left out.

    "F" is taken to be in [0,1] and "I" in 0-65535. CMYK is read as R = (1−C)(1−K), ... without
    its ICC profile: what comes back is CMYK under the same profile.

    Raises:
        PixelError: a mode that is none of 1, L, LA, P, PA, RGB, RGBA, RGBX, CMYK, YCbCr, HSV,
            I, I;16, F, or no pixels.
    """
    if 0 in image.size:
        raise PixelError(f"an image of size {image.size} has no pixels")
    match image.mode:
        case "I" | "F" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return rgb_from_array(_grey_samples(image))
        case "1":
            return rgb_from_array(np.asarray(image.convert("L")))
        case "L" | "RGB" | "RGBA" | "LA":
            return rgb_from_array(np.asarray(image))
        case "La":
            return rgb_from_array(np.asarray(image.convert("LA")))
        case "P" | "PA" | "RGBa":
            return rgb_from_array(np.asarray(image.convert("RGBA")))
        case "RGBX" | "YCbCr" | "HSV":
            return rgb_from_array(np.asarray(image.convert("RGB")))
        case "CMYK":
            ink = np.asarray(image).astype(np.float32) / np.float32(255)
            return (1 - ink[:, :, :3]) * (1 - ink[:, :, 3:])
        case mode:
            raise PixelError(f"images of mode {mode} are not supported; convert it to RGB first")


def pil_like(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image) -> Image.Image:
    """Stores RGB in [0,1] as an image of the mode of `original`, with its alpha, ICC and EXIF."""
    result = _in_mode_of(rgb, original)
    for key in KEPT_INFO:
        if key in original.info:
            result.info[key] = original.info[key]
    return result


def _in_mode_of(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image) -> Image.Image:
    match original.mode:
        case "I" | "F" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return _grey_like(rgb, original)
        case "1":
            return _grey8(rgb).convert("1")
        case "L" | "RGB" if original.has_transparency_data:
            # One colour is marked as transparent; new colours would hit or miss it by chance.
            return _with_alpha(rgb, original, "LA" if original.mode == "L" else "RGBA")
        case "L":
            return _grey8(rgb)
        case "LA" | "RGBA":
            return _with_alpha(rgb, original, original.mode)
        case "La" | "RGBa":
            straight = original.convert(original.mode.upper())
            return _with_alpha(rgb, straight, straight.mode).convert(original.mode)
        case "P" | "PA":
            return _palette_like(rgb, original)
        case "CMYK":
            return _cmyk_like(rgb, original)
        case "RGBX" | "YCbCr" | "HSV":
            return _rgb8(rgb).convert(original.mode)
        case _:
            return _rgb8(rgb)


def _rgb8(rgb: Float32[np.ndarray, "h w 3"]) -> Image.Image:
    return Image.fromarray(_bytes(rgb))


def _grey8(rgb: Float32[np.ndarray, "h w 3"]) -> Image.Image:
    return Image.fromarray(_bytes(rgb @ LUMA))


def _bytes(unit: Float32[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    return np.rint(unit * np.float32(255)).astype(np.uint8)


def _with_alpha(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image, mode: str) -> Image.Image:
    result = _grey8(rgb) if mode == "LA" else _rgb8(rgb)
    result.putalpha(original.convert("RGBA").getchannel("A"))
    return result


def _palette_like(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image) -> Image.Image:
    """A new palette of at most 256 colours; one entry is kept for transparent pixels, if any."""
    colours = _rgb8(rgb)
    if not original.has_transparency_data:
        return _dithered(colours, 256)
    alpha = np.asarray(original.convert("RGBA").getchannel("A"))
    if not np.isin(alpha, (0, 255)).all():
        return _with_alpha(rgb, original, "RGBA")
    paletted = _dithered(colours, 255)
    index = np.asarray(paletted).copy()
    index[alpha == 0] = 255
    result = Image.fromarray(index)
    palette = (paletted.getpalette() or [])[: 3 * 255]
    result.putpalette(palette + [0] * (3 * 256 - len(palette)))
    result.info["transparency"] = 255
    return result


def _dithered(colours: Image.Image, count: int) -> Image.Image:
    """At most `count` colours: exactly the picture's own if it has no more, else dithered."""
    if colours.getcolors(count) is None:
        palette = colours.quantize(count, method=Image.Quantize.MEDIANCUT, kmeans=1)
        return colours.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    own, index = np.unique(np.asarray(colours).reshape(-1, 3), axis=0, return_inverse=True)
    exact = Image.fromarray(index.reshape(colours.height, colours.width).astype(np.uint8))
    exact.putpalette(own.tobytes())
    return exact


def _cmyk_like(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image) -> Image.Image:
    """CMYK with the original's black, lowered only where the result is too bright for it.

    K' = min(K, 1 − max(R,G,B)), C' = 1 − R/(1−K'), ...: the inverse of R = (1−C)(1−K), so that
    unchanged pixels keep their four inks.
    """
    black = np.asarray(original)[:, :, 3].astype(np.float32) / np.float32(255)
    black = np.minimum(black, 1 - rgb.max(axis=2))
    paper = (1 - black)[:, :, None]
    ink = 1 - rgb / np.maximum(paper, np.float32(1e-6))
    inks = np.concatenate([np.clip(ink, 0, 1), black[:, :, None]], axis=2)
    return Image.frombytes("CMYK", original.size, _bytes(inks.astype(np.float32)).tobytes())


def _grey_samples(image: Image.Image) -> Shaped[np.ndarray, "h w"]:
    samples = np.asarray(image)
    if image.mode == "I":
        if samples.min() < 0 or samples.max() > 65535:
            raise PixelError(
                f"32-bit samples from {samples.min()} to {samples.max()} are not an image; "
                "scale them to 0-65535"
            )
        return samples.astype(np.uint16)
    return samples.astype(np.uint16) if image.mode in SIXTEEN_BIT_MODES else samples


def _grey_like(rgb: Float32[np.ndarray, "h w 3"], original: Image.Image) -> Image.Image:
    samples = array_like(rgb, _grey_samples(original))
    if original.mode == "F":
        return Image.fromarray(samples)
    if original.mode == "I":
        return Image.fromarray(samples.astype(np.int32))
    stored = samples.astype(">u2" if original.mode == "I;16B" else "<u2")
    return Image.frombytes(original.mode, original.size, stored.tobytes())
