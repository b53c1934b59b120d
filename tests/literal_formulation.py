"""CORUN computed literally, as the paper writes it, from the weights of a network of ours.

Queries, keys and values at every pixel, whole feed-forward maps, concatenated skips, contiguous
memory order: what the fast formulation is compared with, in tests for equality and in benchmarks
for speed and memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corun.networks.corun import CORUN, CorunOutput, pad_to_multiple
from corun.networks.local_affine import local_affine_scene
from corun.networks.prior_unet import AttentionBlock, PriorUNet
from corun.networks.unfolding import scene_step


def literal_attention(block: AttentionBlock, x: Tensor) -> Tensor:
    """proj(softmax(ρ·k̂·q̂ᵀ)·v) + D₂(GELU(D₁(v)))."""
    attention = block.attention
    b, c, h, w = x.shape
    heads = attention.heads
    pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, c)

    def split(y: Tensor) -> Tensor:
        return y.reshape(b, h * w, heads, c // heads).permute(0, 2, 3, 1)

    v_pixels = attention.to_v(pixels)
    q, k, v = (split(y) for y in (attention.to_q(pixels), attention.to_k(pixels), v_pixels))
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    A = torch.softmax((k @ q.transpose(-1, -2)) * attention.rescale, dim=-1)
    mixed = (A @ v).permute(0, 3, 1, 2).reshape(b, h * w, c)
    out = attention.proj(mixed).reshape(b, h, w, c).permute(0, 3, 1, 2)
    v_map = v_pixels.reshape(b, h, w, c).permute(0, 3, 1, 2).contiguous()
    return out + attention.position_out(F.gelu(attention.position_in(v_map)))


def literal_block(block: AttentionBlock, x: Tensor) -> Tensor:
    """x ← x + Attn(x); x ← x + FFN(LayerNorm(x))."""
    x = x + literal_attention(block, x)
    normalised = block.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
    ffn = block.ffn
    return x + ffn.project(F.gelu(ffn.depthwise(F.gelu(ffn.expand(normalised)))))


def literal_prior(prior: PriorUNet, refined: Tensor, guide: Tensor) -> Tensor:
    """The U-Net, step by step."""
    x = torch.cat((refined, guide), 1)
    if prior.downscale > 1:
        x = F.pixel_unshuffle(x, prior.downscale)
    x = prior.embedding(x)
    skips = []
    for encoder, down in zip(prior.encoder, prior.down, strict=True):
        x = literal_block(encoder, x)
        skips.append(x)
        x = F.pixel_unshuffle(down(x), 2)
    x = literal_block(prior.bottleneck, x)
    for up, fuse, decoder in zip(prior.up, prior.fuse, prior.decoder, strict=True):
        x = F.pixel_shuffle(up(x), 2)
        x = literal_block(decoder, fuse(torch.cat((x, skips.pop()), 1)))
    x = prior.mapping(x)
    if prior.downscale > 1:
        x = F.pixel_shuffle(x, prior.downscale)
    return x + refined


class LiteralCORUN(nn.Module):
    """The same function as ``network``, literally; shares its parameters."""

    def __init__(self, network: CORUN) -> None:
        super().__init__()
        self.network = network

    def forward(self, hazy: Tensor) -> CorunOutput:
        config = self.network.config
        height, width = hazy.shape[-2:]
        P = pad_to_multiple(hazy, self.network.multiple)
        J = J_hat = P
        T = T_hat = torch.full_like(P[:, :1], 0.5)
        for stage in self.network.unfolding:
            T_hat = stage.transmission_step(P, J_hat, T, stage.lam)
            if stage.transmission_prior is not None:
                T = literal_prior(stage.transmission_prior, T_hat, J)
            J_hat = scene_step(P, J, T_hat, stage.gamma)
            J = literal_prior(stage.scene_prior, J_hat, T_hat)
        if config.affine_cell:
            J = local_affine_scene(P, J, cell=config.affine_cell, epsilon=config.affine_epsilon)
        return CorunOutput(J[..., :height, :width], T_hat[..., :height, :width])
