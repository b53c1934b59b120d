"""What is set aside before a network sees a picture: uniform frames and hidden colours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from corun.pictures.frames import inside_frame
from corun.pictures.hidden import fill_hidden

SceneAndMaps = tuple[Tensor, Tensor | None, Tensor | None]
"""Scene (B,3,H,W), transmission (B,1,H,W) or None, airlight (B,3,1,1) or None."""


def without_frames(
    dehaze: Callable[[Float[Tensor, "b 3 h w"]], SceneAndMaps], hazy: Float[Tensor, "b 3 h w"]
) -> SceneAndMaps:
    """Dehazes what frames leave of each picture; the frames stay as they are, their t is 1.

    Args:
        dehaze: what to do with a batch of equally large pictures.
        hazy: RGB in [0,1].
    """
    insides = [inside_frame(picture.permute(1, 2, 0).cpu().numpy()) for picture in hazy]
    if not any(insides):
        return dehaze(hazy)
    scenes, transmissions, airlights = [], [], []
    for picture, inside in zip(torch.split(hazy, 1), insides, strict=True):
        whole = slice(None), slice(None)
        at = (..., *(inside or whole))
        scene, transmission, airlight = dehaze(picture[at])
        scenes.append(picture.to(scene, copy=True))
        scenes[-1][at] = scene
        if transmission is not None:
            transmissions.append(torch.ones_like(scenes[-1][:, :1]))
            transmissions[-1][at] = transmission
        if airlight is not None:
            airlights.append(airlight)
    return torch.cat(scenes), _joined(transmissions), _joined(airlights)


def hidden_in(samples: Shaped[Tensor, "b c h w"]) -> Bool[Tensor, "b 1 h w"] | None:
    """Where the alpha of pictures is 0; None where that is nowhere."""
    if samples.shape[1] not in (2, 4):
        return None
    hidden: Tensor = samples[:, -1:] == 0
    return hidden if bool(hidden.any()) else None


def filled(
    hazy: Float[Tensor, "b 3 h w"], hidden: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """Pictures with their hidden pixels filled from the visible ones (`fill_hidden`)."""
    pairs = zip(hazy.permute(0, 2, 3, 1).cpu().numpy(), hidden[:, 0].cpu().numpy(), strict=True)
    rgb = torch.stack([torch.from_numpy(fill_hidden(*pair)) for pair in pairs])
    return rgb.permute(0, 3, 1, 2).to(hazy.device)


def _joined(parts: list[Tensor]) -> Tensor | None:
    return torch.cat(parts) if parts else None
