"""A picture as a network is to see it, and what a network made of it as the picture was stored.

Colours under full transparency, which nobody sees, must not change what is seen.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from corun.pictures.curves import from_display, to_display
from corun.pictures.modes import pil_like, rgb_from_pil
from corun.pictures.pixels import array_like, rgb_from_array
from corun.pictures.reading import Picture
from corun.shapes import Bool, Float32, Shaped

AnyImage = Image.Image | Shaped[np.ndarray, "..."]


def working_colours(picture: Picture) -> Float32[np.ndarray, "h w 3"]:
    """RGB, encoded as for a screen, in [0,1]; hidden pixels filled from the visible ones.

    Raises:
        PixelError: a mode, shape, type or range that is that of no picture.
    """
    image = picture.image
    rgb = rgb_from_pil(image) if isinstance(image, Image.Image) else rgb_from_array(image)
    if picture.metadata.exponent is not None:
        rgb = to_display(rgb, picture.metadata.exponent)
    hidden = hidden_pixels(image)
    return rgb if hidden is None else fill_hidden(rgb, hidden)


def stored_like(clear: Float32[np.ndarray, "h w 3"], picture: Picture) -> AnyImage:
    """What `working_colours` gave, changed, as an image of the picture's mode or type.

    Alpha comes back unchanged, and so do the colours under it where it is 0, as far as the mode
    keeps them (RGBA, LA and arrays).
    """
    image = picture.image
    if picture.metadata.exponent is not None:
        clear = from_display(clear, picture.metadata.exponent)
    stored = pil_like(clear, image) if isinstance(image, Image.Image) else array_like(clear, image)
    hidden = hidden_pixels(image)
    if hidden is None:
        return stored
    if isinstance(stored, np.ndarray):
        stored[hidden] = np.asarray(image)[hidden]
    elif isinstance(image, Image.Image) and image.mode == stored.mode in ("LA", "RGBA"):
        stored.paste(image, mask=Image.fromarray(hidden))
    return stored


def hidden_pixels(image: Image.Image | Shaped[np.ndarray, "..."]) -> Bool[np.ndarray, "h w"] | None:
    """Where the alpha of a picture is 0; None where that is nowhere."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] not in (2, 4):
            return None
        hidden = image[:, :, -1] == 0
    else:
        if not image.has_transparency_data:
            return None
        hidden = np.asarray(image.convert("RGBA").getchannel("A")) == 0
    return hidden if hidden.any() else None


def fill_hidden(
    rgb: Float32[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w 3"]:
    """The picture with its hidden pixels filled from the visible ones around them.

    From level to level the picture is halved, each pixel the mean of the visible ones under it,
    until none is hidden; from there up, what is hidden takes the colour of the level above. The
    result depends on visible pixels alone; where there are none, the picture is left as it is.
    """
    if hidden.all():
        return rgb
    import cv2

    share = np.logical_not(hidden).astype(np.float32)
    levels = [(rgb * share[:, :, None], share)]
    while not levels[-1][1].all():
        colours, share = levels[-1]
        size = tuple(max(1, (side + 1) // 2) for side in reversed(share.shape))
        smaller = cv2.resize(share, size, interpolation=cv2.INTER_AREA)
        known = smaller > 0
        sums = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).reshape(*known.shape, 3)
        means = np.where(known[:, :, None], sums / np.where(known, smaller, 1)[:, :, None], 0)
        levels.append((means.astype(np.float32), known.astype(np.float32)))
    filled = levels[-1][0]
    for colours, share in reversed(levels[:-1]):
        size = (share.shape[1], share.shape[0])
        larger = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR).reshape(*share.shape, 3)
        filled = np.where(share[:, :, None] > 0, colours, larger)
    return np.where(hidden[:, :, None], filled, rgb)
