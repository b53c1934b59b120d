"""CORUN computed literally, as the paper writes it, from the weights of a network of ours.

Queries, keys and values at every pixel, whole feed-forward maps, concatenated skips, contiguous
memory order: what the fast formulation is compared with, in tests for equality and in benchmarks
for speed and memory.

In float32 the sums over the pixels of a large image (the norms of q and k, and k·qᵀ) round
visibly. With ``exact_sums`` they are carried in float64, everything else staying in float32: the
values the fast formulation must reproduce at sizes where plain float32 sums cannot.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corun.networks.corun import CORUN, CorunOutput, pad_to_multiple
from corun.networks.local_affine import apply_local_affine, local_affine_model
from corun.networks.prior_unet import AttentionBlock, PriorUNet
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
    x = torch.cat((refined, guide), 1)
    if prior.downscale > 1:
        x = F.pixel_unshuffle(x, prior.downscale)
    x = prior.embedding(x)
    skips = []
    for encoder, down in zip(prior.encoder, prior.down, strict=True):
        x = literal_block(encoder, x, exact_sums)
        skips.append(x)
        x = F.pixel_unshuffle(down(x), 2)
    x = literal_block(prior.bottleneck, x, exact_sums)
    for up, fuse, decoder in zip(prior.up, prior.fuse, prior.decoder, strict=True):
        x = F.pixel_shuffle(up(x), 2)
        x = literal_block(decoder, fuse(torch.cat((x, skips.pop()), 1)), exact_sums)
    x = prior.mapping(x)
    if prior.downscale > 1:
        x = F.pixel_shuffle(x, prior.downscale)
    return x + refined


LIGHTNESS_AND_COLOUR = (
    torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, -1], [-1, 2, -1]], dtype=torch.float32)
    / torch.tensor([1, 6**0.5, 18**0.5])[:, None]
)
"""What the closing fit tells apart: (R + G + B)/3 and two colour differences."""


def local_affine_scene(
    hazy: Tensor, scene: Tensor, transmission: Tensor | None = None, **settings: Any
) -> Tensor:
    """The closing fit of a scene, applied to the picture that it was fitted on.

    With T = 1 everywhere, the default, the physical scene is the picture itself.
    """
    T = torch.ones_like(hazy[:, :1]) if transmission is None else transmission
    return apply_local_affine(local_affine_model(hazy, scene, T, **settings), hazy)


class LiteralCORUN(nn.Module):
    """The same function as ``network``, literally; shares its parameters."""

    def __init__(self, network: CORUN, *, exact_sums: bool = False) -> None:
        super().__init__()
        self.network, self.exact_sums = network, exact_sums

    def forward(self, hazy: Tensor) -> CorunOutput:
        config = self.network.config
        height, width = hazy.shape[-2:]
        assert not 0 < config.working_pixels < height * width, "the literal one reduces nothing"
        P = pad_to_multiple(hazy, self.network.multiple)
        J = J_hat = P
        T = T_hat = torch.full_like(P[:, :1], 0.5)
        for stage in self.network.unfolding:
            T_hat = stage.transmission_step(P, J_hat, T, stage.lam)
            if stage.transmission_prior is not None:
                T = literal_prior(stage.transmission_prior, T_hat, J, self.exact_sums)
            J_hat = scene_step(P, J, T_hat, stage.gamma)
            J = literal_prior(stage.scene_prior, J_hat, T_hat, self.exact_sums)
        if config.affine_cell:
            J = local_affine_scene(
                P,
                J,
                T_hat,
                cell=config.affine_cell,
                epsilon=config.affine_epsilon,
                trust=config.affine_trust,
                noise=config.affine_noise,
                exponent=config.affine_exponent,
                clearing=config.affine_clearing,
                deblurring=config.affine_deblurring,
            )
        return CorunOutput(J[..., :height, :width], T_hat[..., :height, :width])
