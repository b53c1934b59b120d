"""Scenes that leave [0, 1] come back with their order of tones and their hues."""

import math

import pytest
import torch

from corun.networks.tone_range import within_range


def test_shadows_and_highlights_are_compressed_not_cut_off() -> None:
    """Where the model leaves [0, 1], tones keep their order, and go no farther from P by that."""
    photo = torch.linspace(0.0, 0.85, 128)
    plain = photo / 0.6 - 0.2
    out = within_range(*(x.expand(1, 3, 8, 128) for x in (plain, photo)))[0, 0, 0]
    assert (out > 0)[1:].all()
    assert (out < 1).all()
    assert (out.diff() > 0).all()
    dark, bright = plain < 0.1, plain > 0.82
    assert (out <= photo + 1e-6)[dark].all()
    assert (out >= photo - 1e-6)[bright].all()
    torch.testing.assert_close(out[~dark & ~bright], plain[~dark & ~bright])
    row = int((plain - 0.02).abs().argmin())
    assert out[row].item() == pytest.approx(0.1 * math.exp(plain[row].item() / 0.1 - 1), abs=1e-6)
    row = int((plain - 0.95).abs().argmin())
    assert out[row].item() == pytest.approx(
        1 - 0.18 * math.exp((1 - plain[row].item()) / 0.18 - 1), abs=1e-6
    )
    # Black in the photo, a letterbox say, stays as black as it is.
    black = torch.zeros(1, 3, 8, 8)
    assert torch.equal(within_range(black - 0.2, black), black)


def test_bright_tones_that_the_model_leaves_as_they_are_stay_exactly() -> None:
    """Grey, hardly coloured and coloured; compression makes nothing darker than the photo."""
    generator = torch.Generator().manual_seed(16)
    grey = 0.8 + 0.099 * torch.rand(1, 1, 24, 32, generator=generator)
    colour = torch.rand(1, 3, 24, 32, generator=generator)
    for strength in (0.0, 1e-3, 0.3):
        P = grey - strength * colour
        torch.testing.assert_close(within_range(P, P), P, atol=2e-6, rtol=0)
    photo = grey.expand(1, 3, 24, 32)
    assert (within_range(0.5 + (photo - 0.5) / 0.9, photo) >= photo - 1e-6).all()


def test_a_bright_blue_sky_keeps_its_hue() -> None:
    """A compression of the blue alone would make it cyan."""
    P = torch.tensor([0.5, 0.6, 0.75]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    J = P / 0.6 - 0.2
    out = within_range(J, P)
    grey = J.mean(1, keepdim=True)
    largest = 1 - 0.18 * math.exp((1 - 1.05) / 0.18 - 1)
    compressed = 1 - 0.18 * torch.exp((1 - grey) / 0.18 - 1)  # grey is 0.83
    torch.testing.assert_close(out.amax(1), torch.full((1, 8, 8), largest))
    torch.testing.assert_close(out.mean(1, keepdim=True), (compressed + grey * largest / 1.05) / 2)
    hue = (J - grey) / (J - grey).norm(dim=1, keepdim=True)
    away = out - out.mean(1, keepdim=True)
    torch.testing.assert_close(away / away.norm(dim=1, keepdim=True), hue)
