"""Networks of a line or two for the tests of the dehazer: what they return can be told by hand."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Darken(nn.Module):
    """Halves every value: a result that can be computed by hand."""

    def forward(self, hazy: Tensor) -> Tensor:
        return hazy / 2


class Identity(nn.Module):
    def forward(self, hazy: Tensor) -> Tensor:
        return hazy


class SceneAndMap(NamedTuple):
    scene: Tensor
    transmission: Tensor


class Named(nn.Module):
    def forward(self, hazy: Tensor) -> SceneAndMap:
        return SceneAndMap(hazy * 3 - 1, hazy[:, :1])


class Pair(nn.Module):
    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        return hazy, hazy[:, :1]


class OnlyMultiplesOf8(nn.Module):
    def forward(self, hazy: Tensor) -> Tensor:
        assert hazy.shape[-1] % 8 == hazy.shape[-2] % 8 == 0
        return hazy
