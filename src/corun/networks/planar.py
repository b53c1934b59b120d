"""The layers of a prior in the order in which graph runtimes are fastest.

torch on a CPU is fastest in channels-last order, where a 1×1 convolution is a matrix product.
ONNX Runtime and OpenVINO keep maps planar, (b,c,h,w), in blocks of channels, and each change of
order costs them more than the convolution that it serves. So exported graphs compute the same
functions of the same parameters otherwise: the values are convolved planar, biases are added by
convolutions, the layer norm is a few operations over planes with its scale and shift in the next
convolution's weights, maps are shuffled as runs of channels, the picture is taken apart
into cells by convolutions, and the 1×1 convolution after a shuffle is multiplied into the
3×3 one before it (between the two nothing is added or bent). See ``docs/explanation/speed.md``.

Legend: b pictures, c channels, h×w pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from corun.networks.prior_unet import AttentionBlock, PriorUNet

_AS_WRITTEN: ContextVar[bool] = ContextVar("layers as written", default=False)


def planar_order() -> bool:
    """Whether layers are being exported, and in the order of this module."""
    return torch.compiler.is_exporting() and not _AS_WRITTEN.get()


@contextmanager
def layers_as_written() -> Iterator[None]:
    """Exports layer by layer, each convolution with its own weight: for what tells them by it."""
    token = _AS_WRITTEN.set(True)
    try:
        yield
    finally:
        _AS_WRITTEN.reset(token)


def planar_prior(
    prior: PriorUNet,
    refined: Float[Tensor, "b r h w"],
    guides: tuple[Float[Tensor, "b _ h w"], ...],
) -> Float[Tensor, "b r h w"]:
    """What the prior returns for the same arguments.

    Args:
        prior: any.
        refined: as of its `forward`.
        guides: as of its `forward`; a second one is convolved by itself, so that what several
            priors share is brought into blocks once.
    """
    first = torch.cat((refined, *guides[:1]), 1)
    weight = prior.embedding.weight
    x = F.conv2d(first, weight[:, : first.shape[1]], padding=1)
    if len(guides) > 1:
        x = x + F.conv2d(torch.cat(guides[1:], 1), weight[:, first.shape[1] :], padding=1)
    skips: list[Tensor] = []
    for encoder, down in zip(prior.encoder, prior.down, strict=True):
        x = planar_block(cast("AttentionBlock", encoder), x)
        skips.append(x)
        x = _unshuffled(down(x))
    x = planar_block(prior.bottleneck, x)
    for up, fuse, decoder in zip(prior.up, prior.fuse, prior.decoder, strict=True):
        mixing = cast(nn.Conv2d, fuse).weight[:, :, 0, 0]
        channels = mixing.shape[0]
        shuffled = _shuffled_convolution(cast(nn.Conv2d, up).weight, mixing[:, :channels], x)
        skip = F.conv2d(skips.pop(), mixing[:, channels:, None, None])
        x = planar_block(cast("AttentionBlock", decoder), shuffled + skip)
    refined_map: Tensor = prior.mapping(x) + refined
    return refined_map


def planar_cells(
    picture: Float[Tensor, "b 3 h2 w2"], r: int
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b f h w"]]:
    """P′, the averages over r×r cells, and F = 4·(unshuffle(P) − P′), what they lost."""
    size = r * r
    average = torch.full((3, 1, r, r), 1 / size)
    kernels = 4 * (torch.eye(size) - 1 / size).reshape(size, 1, r, r).repeat(3, 1, 1, 1)
    cells = F.conv2d(picture, average, stride=r, groups=3)
    return cells, F.conv2d(picture, kernels, stride=r, groups=3)


def planar_block(block: AttentionBlock, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """What the block returns for the same argument."""
    attention, channels = block.attention, x.shape[1]
    flat = x.flatten(2)
    mixing = attention.mixing_matrix(flat @ flat.transpose(1, 2))
    v = F.conv2d(x, attention.to_v.weight[:, :, None, None])
    positional = F.conv2d(
        F.gelu(attention.position_in(v)),
        attention.position_out.weight,
        attention.proj.bias,
        padding=1,
        groups=channels,
    )
    x = x + positional + (mixing @ flat).view_as(x)
    return x + _normalised_feed_forward(block, x)


def _normalised_feed_forward(
    block: AttentionBlock, x: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    norm, ffn = block.norm, block.ffn
    centred = x - x.mean(1, keepdim=True)
    unit = centred / (centred * centred).mean(1, keepdim=True).add(norm.eps).sqrt()
    expand = ffn.expand.weight[:, :, 0, 0]
    hidden = F.conv2d(unit, (expand * norm.weight)[:, :, None, None], expand @ norm.bias)
    out: Tensor = ffn.project(F.gelu(ffn.depthwise(F.gelu(hidden))))
    return out


def _unshuffled(x: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c4 h w"]:
    """``F.pixel_unshuffle(x, 2)``; elements move in runs of channels, not one by one."""
    batch, channels, rows, columns = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batch, rows // 2, 2, columns // 2, 2 * channels)
    gathered = pixels.permute(0, 1, 3, 2, 4).reshape(batch, rows // 2, columns // 2, 4 * channels)
    planes = gathered.permute(0, 3, 1, 2).reshape(batch, 4, channels, rows // 2, columns // 2)
    return planes.transpose(1, 2).reshape(batch, 4 * channels, rows // 2, columns // 2)


def _shuffled_convolution(
    weight: Float[Tensor, "c4 i 3 3"],
    mixing: Float[Tensor, "c c"],
    x: Float[Tensor, "b i h w"],
) -> Float[Tensor, "b c h2 w2"]:
    """The mixing of ``F.pixel_shuffle(F.conv2d(x, weight, padding=1), 2)`` by a 1×1 convolution."""
    batch, _, rows, columns = x.shape
    channels = mixing.shape[0]
    four = weight.reshape(channels, 4, -1)
    mixed = (mixing @ four.transpose(0, 1)).reshape(-1, *weight.shape[1:])
    pixels = F.conv2d(x, mixed, padding=1).permute(0, 2, 3, 1)
    pixels = pixels.reshape(batch, rows, columns, 2, 2 * channels).permute(0, 1, 3, 2, 4)
    return pixels.reshape(batch, 2 * rows, 2 * columns, channels).permute(0, 3, 1, 2)
