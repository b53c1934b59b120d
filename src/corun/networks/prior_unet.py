"""The U-shaped channel-attention network that serves as both learned priors (CPMM, §3.2).

The attention is computed without ever forming queries or keys. For a feature map X of C channels
and N pixels, q = W_q·X and k = W_k·X meet the pixels only through the Gram matrix G = X·Xᵀ:

    k·qᵀ = W_k·G·W_qᵀ,   ‖q_i‖² = (W_q·G·W_qᵀ)_ii,   ‖k_i‖² = (W_k·G·W_kᵀ)_ii,

and proj(A·v) is one C×C matrix applied to X. What remains at full resolution is one Gram matrix,
one 1×1 convolution, and convolutions of radius at most 2, which run strip by strip with an exact
halo when no gradient is needed. See ``docs/explanation/speed.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.networks.planar import planar_order, planar_prior

# The widest map of one strip, in elements. Measured on CPU: small enough to stay in the
# last-level cache, large enough for the convolutions to use every core. See benchmarks/.
STRIP_ELEMENTS_CPU = 1 << 20
STRIP_ELEMENTS_CUDA = 1 << 26
NORM_EPSILON = 1e-12
GRAM_PIXELS = 1 << 15


class ChannelAttention(nn.Module):
    """Attention between channels, pooled over all pixels, plus a positional branch.

        out = proj(A·v) + b + D₂(GELU(D₁(v))),   v = W_v·X,
        A   = softmax(ρ_h·(k̂·q̂ᵀ)) per head h, rows k, columns q,

    where k̂, q̂ are normalised over the pixels and D₁, D₂ are depthwise 3×3 convolutions.

    Args:
        channels: C, a multiple of ``head_channels``.
        head_channels: channels of one head.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.rescale = nn.Parameter(torch.ones(self.heads, 1, 1))
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.proj = nn.Linear(channels, channels)
        self.position_in = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.position_out = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def mixing_matrix(self, gram: Float[Tensor, "b c c"]) -> Float[Tensor, "b c c"]:
        """The matrix M with proj(A·v) = M·X + b, from the Gram matrix G = X·Xᵀ of the input."""
        batch, channels, _ = gram.shape
        with torch.autocast(gram.device.type, enabled=False):
            gram = gram.float()
            W_q, W_k, W_v = (layer.weight.float() for layer in (self.to_q, self.to_k, self.to_v))
            q_norm = ((W_q @ gram) * W_q).sum(-1).clamp_min(NORM_EPSILON**2).sqrt()
            k_norm = ((W_k @ gram) * W_k).sum(-1).clamp_min(NORM_EPSILON**2).sqrt()
            # Only the blocks on the diagonal (channels of one head) are needed.
            heads, size = self.heads, channels // self.heads
            k_gram = (W_k @ gram).view(batch, heads, size, channels)
            scores = k_gram @ W_q.view(1, heads, size, channels).transpose(-1, -2)
            scores = (
                scores / k_norm.view(batch, heads, size, 1) / q_norm.view(batch, heads, 1, size)
            )
            A = torch.softmax(scores * self.rescale.float(), dim=-1)
            mixed_v = A @ W_v.view(1, heads, size, channels)
            return self.proj.weight.float() @ mixed_v.reshape(batch, channels, channels)

    def positional(self, v: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """D₂(GELU(D₁(v)))."""
        out: Tensor = self.position_out(F.gelu(self.position_in(v)))
        return out


class FeedForward(nn.Module):
    """1×1 to ``expansion``·C, GELU, depthwise 3×3, GELU, 1×1 back to C; no bias."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        out: Tensor = self.project(F.gelu(self.depthwise(F.gelu(self.expand(x)))))
        return out


class AttentionBlock(nn.Module):
    """x ← x + Attn(x); x ← x + FFN(LayerNorm(x)), at any size, exactly, in strips when possible.

    Args:
        channels: C.
        head_channels: channels of one attention head.
        ffn_expansion: widening of the feed-forward part.
    """

    def __init__(self, channels: int, head_channels: int, ffn_expansion: int) -> None:
        super().__init__()
        self.attention = ChannelAttention(channels, head_channels)
        self.norm = nn.LayerNorm(channels)
        self.ffn = FeedForward(channels, ffn_expansion)
        self.widest = channels * ffn_expansion

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        mixing = self.attention.mixing_matrix(gram_matrix(x))
        rows = self._strip_rows(x)
        if torch.compiler.is_compiling() or rows >= x.shape[2]:
            x = x + self._attend(x, mixing)
            refined: Tensor = x + self.ffn(self._normalise(x))
            return refined
        # The two radius-2 and radius-1 parts are fused: strips of the attention output with a
        # halo of 1 row feed the feed-forward part at once, so no further full map is written.
        return self._in_strips(x, rows, mixing)

    def _attend(
        self, x: Float[Tensor, "b c h w"], mixing: Float[Tensor, "b c c"]
    ) -> Float[Tensor, "b c h w"]:
        attention = self.attention
        pixels = x.permute(0, 2, 3, 1)  # channels last: 1×1 convolutions are plain matrix products
        batch, height, width, channels = pixels.shape
        flat = pixels.reshape(batch, height * width, channels)
        mixed = torch.baddbmm(
            attention.proj.bias.to(x.dtype).view(1, 1, channels),
            flat,
            mixing.to(x.dtype).transpose(1, 2),
        )
        mixed = mixed.view(batch, height, width, channels).permute(0, 3, 1, 2)
        v = F.linear(pixels, attention.to_v.weight).permute(0, 3, 1, 2)
        return mixed + attention.positional(v)

    def _normalise(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)

    def _strip_rows(self, x: Float[Tensor, "b c h w"]) -> int:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return x.shape[2]  # whole: a traced graph must hold at any size
        budget = STRIP_ELEMENTS_CPU if x.device.type == "cpu" else STRIP_ELEMENTS_CUDA
        return max(4, budget // max(1, x.shape[0] * x.shape[3] * self.widest))

    def _in_strips(
        self, x: Float[Tensor, "b c h w"], rows: int, mixing: Float[Tensor, "b c c"]
    ) -> Float[Tensor, "b c h w"]:
        out = torch.empty_like(x)
        height = x.shape[2]
        for top, bottom in strips(height, rows):
            # Rows [a, b) of the attention output are needed for rows [top, bottom) of the result.
            a, b = max(top - 1, 0), min(bottom + 1, height)
            with_halo = slice(max(a - 2, 0), min(b + 2, height))
            part = x[:, :, with_halo]
            attended = self._attend(part, mixing)
            inner = slice(a - with_halo.start, b - with_halo.start)
            part = part[:, :, inner] + attended[:, :, inner]
            result = part + self.ffn(self._normalise(part))
            out[:, :, top:bottom] = result[:, :, top - a : bottom - a]
        return out


def strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Row ranges [top, bottom) that cover ``height`` rows, ``rows`` at a time."""
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def gram_matrix(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """G = X·Xᵀ over the pixels of each image, in float32 or wider.

    Large images are summed piece by piece in float64, so that the rounding of G does not grow with
    the number of pixels.
    """
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
    with torch.autocast(x.device.type, enabled=False):
        # Rounded to bfloat16, G need not stay positive definite, nor the norms positive.
        wide = torch.promote_types(x.dtype, torch.float32)
        whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if whole or pixels.shape[1] <= GRAM_PIXELS:
            pixels = pixels.to(wide)
            return pixels.transpose(1, 2) @ pixels
        # Apple's GPUs have no float64.
        exact = wide if x.device.type == "mps" else torch.float64
        total = torch.zeros(*pixels.shape[::2], x.shape[1], dtype=exact, device=x.device)
        for start in range(0, pixels.shape[1], GRAM_PIXELS):
            piece = pixels[:, start : start + GRAM_PIXELS].to(wide)
            total += piece.transpose(1, 2) @ piece
        return total.to(wide)


class PriorUNet(nn.Module):
    """Prior network: residual U-Net of attention blocks on the concatenation of two maps.

    3×3 conv to ``dim``; per level an attention block, a 3×3 conv halving the channels and a
    pixel-unshuffle by 2; a bottleneck block; per level back up a 3×3 conv doubling the channels,
    a pixel-shuffle by 2, concatenation with the skip, a 1×1 conv halving, an attention block;
    3×3 conv to the output; the first argument is added. All convolutions without bias.

    Args:
        out_channels: channels of the map that is refined (1 for T, 3 for J).
        guide_channels: channels of the second map.
        dim: channels at the first level, and of one attention head.
        levels: L, number of down- and upsamplings.
        ffn_expansion: widening of the feed-forward parts.
    """

    def __init__(
        self,
        out_channels: int,
        guide_channels: int,
        dim: int,
        levels: int = 3,
        ffn_expansion: int = 4,
    ) -> None:
        super().__init__()
        self.embedding = conv3x3(out_channels + guide_channels, dim)
        widths = [dim * 2**level for level in range(levels)]

        def block(channels: int) -> AttentionBlock:
            return AttentionBlock(channels, dim, ffn_expansion)

        self.encoder = nn.ModuleList(block(c) for c in widths)
        self.down = nn.ModuleList(conv3x3(c, c // 2) for c in widths)
        self.bottleneck = block(dim * 2**levels)
        self.up = nn.ModuleList(conv3x3(2 * c, 4 * c) for c in reversed(widths))
        self.fuse = nn.ModuleList(nn.Conv2d(2 * c, c, 1, bias=False) for c in reversed(widths))
        self.decoder = nn.ModuleList(block(c) for c in reversed(widths))
        self.mapping = conv3x3(dim, out_channels)

    def forward(
        self, refined: Float[Tensor, "b r h w"], *guides: Float[Tensor, "b _ h w"]
    ) -> Float[Tensor, "b r h w"]:
        """Refine ``refined`` with the help of ``guides``.

        Args:
            refined: the map after its closed-form step; H and W multiples of 2^levels.
            guides: the other variable, and what else is known.

        Returns:
            The refined map, not clamped.
        """
        if planar_order():
            return planar_prior(self, refined, guides)
        x = torch.cat((refined, *guides), 1)
        x = self.embedding(x.contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for encoder, down in zip(self.encoder, self.down, strict=True):
            x = encoder(x)
            skips.append(x)
            x = channels_last(F.pixel_unshuffle(down(x), 2))
        x = self.bottleneck(x)
        for up, fuse, decoder in zip(self.up, self.fuse, self.decoder, strict=True):
            x = channels_last(F.pixel_shuffle(up(x), 2))
            x = decoder(fuse_skip(fuse, x, skips.pop()))
        refined_map: Tensor = self.mapping(x) + refined
        return refined_map


def fuse_skip(
    fuse: nn.Module, x: Float[Tensor, "b c h w"], skip: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """1×1 convolution of the concatenation [x, skip], without writing the concatenation."""
    weight, channels = cast(nn.Conv2d, fuse).weight, x.shape[1]
    return F.conv2d(x, weight[:, :channels]) + F.conv2d(skip, weight[:, channels:])


def channels_last(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The same values in channels-last memory order, in which every layer here is fastest."""
    return x.contiguous(memory_format=torch.channels_last)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3×3 convolution, zero padding 1, no bias."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
