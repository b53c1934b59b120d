"""A picture as a network is to see it, and what a network made of it as the picture was stored."""

from __future__ import annotations

import numpy as np
from PIL import Image

from corun.pictures.curves import from_display, to_display
from corun.pictures.hidden import fill_hidden, hidden_pixels
from corun.pictures.modes import pil_like, rgb_from_pil
from corun.pictures.pixels import array_like, rgb_from_array
from corun.pictures.reading import Picture
from corun.shapes import Float32, Shaped

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
