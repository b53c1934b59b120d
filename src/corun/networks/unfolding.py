"""The two closed-form steps of the unfolded optimisation (Fang et al., NeurIPS 2024, §3.1).

With the airlight normalised to 1, the atmospheric scattering model is

    P = J·T + (1 − T),

and both the clear scene J and the transmission T are unknown. The optimisation

    min_{J,T}  ½‖P − J·T − (1 − T)‖² + ψ(J) + φ(T)

is unrolled by half-quadratic splitting: each variable in turn takes the exact minimiser of the
data term plus a quadratic pull towards its previous value (the functions here), and is then
refined by a learned prior (:mod:`corun.networks.prior_unet`).

Legend: P ``hazy``, J ``scene``, T ``transmission``; a hat is the value after the closed-form step
and before the prior. All functions are pure, batched and differentiable.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

TRANSMISSION_MIN = 0.05
TRANSMISSION_MAX = 0.999
ZERO_REPLACEMENT = 1e-7


def transmission_step_paper(
    hazy: Float[Tensor, "b 3 h w"],
    scene_hat: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    lam: Float[Tensor, "1"],
    least: float = TRANSMISSION_MIN,
) -> Float[Tensor, "b 1 h w"]:
    """The published T-step (TGDM), a ratio of sums over the colour channels c:

        T̂ = Σ_c[(1 − P) + λ·T/(1 − Ĵ)] / Σ_c[(1 − Ĵ) + λ/(1 − Ĵ)],

    clamped to [least, 0.999]. It is the per-channel stationary point of the energy of
    :func:`transmission_step_least_squares` with numerator and denominator summed separately, not
    the minimiser, and is ill-conditioned where Ĵ → 1. Published checkpoints need it.

    Args:
        hazy: P, RGB in [0,1].
        scene_hat: Ĵ of the previous stage, RGB in [0,1].
        transmission: T of the previous stage, unitless, in (0,1].
        lam: λ, the learned weight of the pull towards ``transmission``, unitless.
        least: the least T̂; 0.05 as published.

    Returns:
        T̂, unitless, in [least, 0.999].
    """
    darkness = 1 - scene_hat
    darkness = torch.where(darkness == 0, ZERO_REPLACEMENT, darkness)
    numerator = ((1 - hazy) + lam * transmission / darkness).sum(1, keepdim=True)
    denominator = (darkness + lam / darkness).sum(1, keepdim=True)
    denominator = torch.where(denominator == 0, ZERO_REPLACEMENT, denominator)
    return (numerator / denominator).clamp(least, TRANSMISSION_MAX)


def transmission_step_least_squares(
    hazy: Float[Tensor, "b 3 h w"],
    scene_hat: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    lam: Float[Tensor, "1"],
    least: float = TRANSMISSION_MIN,
) -> Float[Tensor, "b 1 h w"]:
    """The exact minimiser over T of the energy

        E(T̂) = ½ Σ_c (P − Ĵ·T̂ − (1 − T̂))² + λ/2·(T̂ − T)²,

    namely

        T̂ = (Σ_c (1 − P)(1 − Ĵ) + λ·T) / (Σ_c (1 − Ĵ)² + λ),

    clamped to [least, 0.999]. Well-conditioned everywhere for λ > 0: where Ĵ → 1 (sky) it falls
    back to the previous T.

    Args:
        hazy: P, RGB in [0,1].
        scene_hat: Ĵ of the previous stage, RGB in [0,1].
        transmission: T of the previous stage, unitless, in (0,1].
        lam: λ, the learned weight of the pull towards ``transmission``, unitless; values under
            1e-4 act as 1e-4, which keeps the energy strictly convex.
        least: the least T̂.

    Returns:
        T̂, unitless, in [least, 0.999].
    """
    darkness = 1 - scene_hat
    lam = lam.clamp_min(1e-4)
    numerator = ((1 - hazy) * darkness).sum(1, keepdim=True) + lam * transmission
    denominator = darkness.square().sum(1, keepdim=True) + lam
    return (numerator / denominator).clamp(least, TRANSMISSION_MAX)


def scene_step(
    hazy: Float[Tensor, "b 3 h w"],
    scene: Float[Tensor, "b 3 h w"],
    transmission_hat: Float[Tensor, "b 1 h w"],
    gamma: Float[Tensor, "1"],
) -> Float[Tensor, "b 3 h w"]:
    """The J-step (SGDM), the exact minimiser over J of the energy

        E(Ĵ) = ½‖P − Ĵ·T̂ − (1 − T̂)‖² + γ/2·‖Ĵ − J‖²,

    namely

        Ĵ = (T̂·P + T̂² − T̂ + γ·J) / (T̂² + γ),

    clamped to [0, 1].

    Args:
        hazy: P, RGB in [0,1].
        scene: J of the previous stage (after its prior), RGB.
        transmission_hat: T̂ of this stage, unitless, in [0.05, 0.999].
        gamma: γ, the learned weight of the pull towards ``scene``, unitless.

    Returns:
        Ĵ, RGB in [0,1].
    """
    T = transmission_hat
    numerator = T * hazy + T.square() - T + gamma * scene
    return (numerator / (T.square() + gamma)).clamp(0.0, 1.0)


TRANSMISSION_STEPS = {
    "paper": transmission_step_paper,
    "least_squares": transmission_step_least_squares,
}
