"""CORUN computed literally, as the paper writes it, from the weights of a network of ours.

Queries, keys and values at every pixel, whole feed-forward maps, concatenated skips, contiguous
memory order: what the fast formulation is compared with, in tests for equality and in benchmarks
for speed and memory.

In float32 the sums over the pixels of a large image (the norms of q and k, and k·qᵀ) round
visibly. With ``exact_sums`` they are carried in float64, everything else staying in float32: the
values the fast formulation must reproduce at sizes where plain float32 sums cannot.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corun.networks.corun import CORUN, CorunOutput
from corun.networks.prior_unet import AttentionBlock, PriorUNet
from corun.networks.reduction import pad_to_multiple
from corun.networks.unfolding import scene_step

SUM_PIXELS = 1 << 15


def normalised(y: Tensor, exact_sums: bool) -> Tensor:
    """y over its norm along the pixels, the last dimension."""
    if not exact_sums:
        return F.normalize(y, dim=-1)
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True, dtype=torch.float64)
    return y / norm.clamp_min(1e-12).to(y.dtype)


def products(k: Tensor, q: Tensor, exact_sums: bool) -> Tensor:
    """k·qᵀ, summed over the pixels."""
    if not exact_sums:
        return k @ q.transpose(-1, -2)
    pieces = (
        (a.double() @ b.double().transpose(-1, -2))
        for a, b in zip(k.split(SUM_PIXELS, -1), q.split(SUM_PIXELS, -1), strict=True)
    )
    return torch.stack(list(pieces)).sum(0).to(k.dtype)


def literal_attention(block: AttentionBlock, x: Tensor, exact_sums: bool = False) -> Tensor:
    """proj(softmax(ρ·k̂·q̂ᵀ)·v) + D₂(GELU(D₁(v)))."""
    attention = block.attention
    b, c, h, w = x.shape
    heads = attention.heads
    pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, c)

    def split(y: Tensor) -> Tensor:
        return y.reshape(b, h * w, heads, c // heads).permute(0, 2, 3, 1)

    v_pixels = attention.to_v(pixels)
    q, k, v = (split(y) for y in (attention.to_q(pixels), attention.to_k(pixels), v_pixels))
    q, k = normalised(q, exact_sums), normalised(k, exact_sums)
    A = torch.softmax(products(k, q, exact_sums) * attention.rescale, dim=-1)
    mixed = (A @ v).permute(0, 3, 1, 2).reshape(b, h * w, c)
    out = attention.proj(mixed).reshape(b, h, w, c).permute(0, 3, 1, 2)
    v_map = v_pixels.reshape(b, h, w, c).permute(0, 3, 1, 2).contiguous()
    return out + attention.position_out(F.gelu(attention.position_in(v_map)))


def literal_block(block: AttentionBlock, x: Tensor, exact_sums: bool = False) -> Tensor:
    """x ← x + Attn(x); x ← x + FFN(LayerNorm(x))."""
    x = x + literal_attention(block, x, exact_sums)
    narrow = block.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
    ffn = block.ffn
    return x + ffn.project(F.gelu(ffn.depthwise(F.gelu(ffn.expand(narrow)))))


def literal_prior(
    prior: PriorUNet, refined: Tensor, guide: Tensor, exact_sums: bool = False
) -> Tensor:
    """The U-Net, step by step."""
    x = prior.embedding(torch.cat((refined, guide), 1))
    skips = []
    for encoder, down in zip(prior.encoder, prior.down, strict=True):
        x = literal_block(encoder, x, exact_sums)
        skips.append(x)
        x = F.pixel_unshuffle(down(x), 2)
    x = literal_block(prior.bottleneck, x, exact_sums)
    for up, fuse, decoder in zip(prior.up, prior.fuse, prior.decoder, strict=True):
        x = F.pixel_shuffle(up(x), 2)
        x = literal_block(decoder, fuse(torch.cat((x, skips.pop()), 1)), exact_sums)
    mapped: Tensor = prior.mapping(x)
    return mapped + refined


def literal_cells(hazy: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """P′ and F = unshuffle(P) − P′, times 4, from the definition."""
    b, c, h, w = hazy.shape
    blocks = hazy.reshape(b, c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    cells = blocks.mean((2, 3))
    return cells, 4 * (blocks - cells[:, :, None, None]).reshape(b, c * r * r, h // r, w // r)


class LiteralCORUN(nn.Module):
    """The same function as ``network``, literally; shares its parameters."""

    def __init__(self, network: CORUN, *, exact_sums: bool = False) -> None:
        super().__init__()
        self.network, self.exact_sums = network, exact_sums

    def forward(self, hazy: Tensor) -> CorunOutput:
        config = self.network.config
        height, width = hazy.shape[-2:]
        assert not 0 < config.working_pixels < height * width, "the literal one reduces nothing"
        P = padded = pad_to_multiple(hazy, config.multiple)
        lost = P[:, :0]
        if config.cell > 1:
            P, lost = literal_cells(padded, config.cell)
        J = J_hat = P
        T = T_used = torch.full_like(P[:, :1], 0.5)
        for stage in self.network.unfolding:
            T = T_hat = stage.transmission_step(P, J_hat, T, stage.lam, stage.least)
            if stage.transmission_prior is not None:
                guide = torch.cat((J, lost), 1)
                T = literal_prior(stage.transmission_prior, T_hat, guide, self.exact_sums)
            T = T.clamp(0.03, 1) if config.cell > 1 else T
            T_used = T if config.cell > 1 else T_hat
            J_hat = scene_step(P, J, T_used, stage.gamma)
            guide = torch.cat((T_used, lost), 1)
            J = literal_prior(stage.scene_prior, J_hat, guide, self.exact_sums)
        if config.full_size_step:
            gamma = self.network.log_gamma.exp()

            def up(value: Tensor) -> Tensor:
                return F.interpolate(value, size=padded.shape[-2:], mode="bilinear")

            a = T_used / (T_used**2 + gamma)
            J, T_used = up(J - a * P) + up(a) * padded, up(T_used)
        return CorunOutput(J[..., :height, :width], T_used[..., :height, :width])
