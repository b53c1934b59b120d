"""A network of a test's own, as a user would bring one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VeilRemover(nn.Module):
    """J = (P − A(1 − T))/T, with T read off the picture by a small network and A learned."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.airlight = nn.Parameter(torch.full((1, 3, 1, 1), 0.8))
        self.read = nn.Sequential(
            nn.Conv2d(4, dim, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(dim, 2 * dim, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(2 * dim, 1, 3, padding=1),
        )

    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        low = self.read(torch.cat((hazy, hazy.amin(1, keepdim=True)), 1))
        T = 0.1 + 0.9 * torch.sigmoid(
            F.interpolate(low, hazy.shape[-2:], mode="bilinear", align_corners=False) + 1
        )
        return (hazy - self.airlight * (1 - T)) / T, T


class Residual(nn.Module):
    """P plus a convolution of it, after what a subclass puts before."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.before: nn.Module = nn.Identity()

    def forward(self, hazy: Tensor) -> Tensor:
        return hazy + self.convolution(self.before(hazy))


class Dropping(Residual):
    """With dropout, which draws from torch's global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Dropout(0.5)


class Normalised(Residual):
    """With running statistics, and a parameter that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(3)
        self.unused = nn.Parameter(torch.ones(1))


class Scales(Normalised):
    """Gives a scene of every scale, the coarse ones first, as networks with deep supervision do."""

    def forward(self, hazy: Tensor) -> list[Tensor]:  # type: ignore[override]
        fine = super().forward(hazy)
        return [F.avg_pool2d(fine, 4), F.avg_pool2d(fine, 2), fine]


class Named(Normalised):
    """Gives named maps, the scene under a name of its own beside features."""

    def forward(self, hazy: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        clear = super().forward(hazy)
        return {"features": clear.mean((2, 3)), "clear": clear}
