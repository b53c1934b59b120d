from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.metrics.guards import (
    clipped_fraction,
    colourfulness,
    contrast,
    crushed_fraction,
    hue_shift,
    mean_brightness,
)


def _picture(*pixels: tuple[int, int, int]) -> torch.Tensor:
    """A picture of one row."""
    return torch.tensor(pixels).T.reshape(1, 3, 1, -1).float() / 255


PICTURE = _picture((0, 255, 100), (10, 20, 30), (255, 255, 255), (0, 0, 0))


def test_by_hand() -> None:
    assert float(mean_brightness(PICTURE)) == pytest.approx((355 + 60 + 765) / 12 / 255)
    assert float(crushed_fraction(PICTURE)) == pytest.approx(4 / 12)
    assert float(clipped_fraction(PICTURE)) == pytest.approx(4 / 12)
    luma = [0.587 * 255 + 0.114 * 100, 0.299 * 10 + 0.587 * 20 + 0.114 * 30, 255, 0]
    mean = sum(luma) / 4
    deviation = math.sqrt(sum((y - mean) ** 2 for y in luma) / 4)
    assert float(contrast(PICTURE)) == pytest.approx(deviation / 255)


def test_one_level_from_the_ends_is_neither_crushed_nor_clipped() -> None:
    picture = _picture((1, 254, 128), (1, 254, 128))
    assert float(crushed_fraction(picture)) == 0
    assert float(clipped_fraction(picture)) == 0


def test_colourfulness_by_hand() -> None:
    # red and blue: rg = 255, 0; yb = 127.5, −255
    picture = _picture((255, 0, 0), (0, 0, 255))
    deviation = math.hypot(127.5, 191.25)
    mean = math.hypot(127.5, -63.75)
    assert float(colourfulness(picture)) == pytest.approx(deviation + 0.3 * mean)
    assert float(colourfulness(_picture((7, 7, 7), (200, 200, 200)))) == 0


def test_a_turned_hue_is_measured() -> None:
    red, green = _picture((200, 60, 60), (200, 60, 60)), _picture((60, 200, 60), (60, 200, 60))
    # CIELAB hues of the two: 30.405° and 138.127° (skimage.color.rgb2lab)
    assert float(hue_shift(green, red)) == pytest.approx(107.722, abs=1e-2)
    assert float(hue_shift(red, red)) == pytest.approx(0, abs=1e-6)


def test_grey_has_no_hue() -> None:
    grey, red = _picture((90, 90, 90)), _picture((200, 60, 60))
    assert math.isnan(hue_shift(grey, red))  # all its colour is lost, which is no kept hue
    assert float(hue_shift(red, grey)) == 0  # nothing there that could turn
    both = hue_shift(torch.cat((grey, red)), torch.cat((red, red)))
    assert both.isnan().tolist() == [True, False]
    half = torch.cat((grey, red), -1)
    other = torch.cat((red, _picture((60, 200, 60))), -1)
    assert float(hue_shift(half, other)) == pytest.approx(
        float(hue_shift(red, _picture((60, 200, 60))))
    )


def test_hue_shift_needs_one_size() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        hue_shift(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_ranges_and_batches(seed: int, batch: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (batch, 3, height, width), generator=generator) / 255
    for guard, highest in (
        (mean_brightness, 1), (contrast, 0.5), (colourfulness, 256),
        (crushed_fraction, 1), (clipped_fraction, 1),
    ):  # fmt: skip
        scores = guard(pictures)
        assert scores.shape == (batch,)
        assert ((scores >= 0) & (scores <= highest)).all()
        torch.testing.assert_close(scores[-1:], guard(pictures[-1:]))
    turned = hue_shift(pictures, pictures.flip(1))
    assert (((turned >= 0) & (turned <= 180)) | turned.isnan()).all()
