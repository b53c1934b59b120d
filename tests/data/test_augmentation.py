"""Strong augmentation moves nothing; weak augmentation moves everything alike."""

from __future__ import annotations

import pytest
import torch

from corun.data.augmentation import CHANGES, mirror, strong_augmentation


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mirror_by_hand() -> None:
    images = torch.arange(6.0).view(2, 1, 1, 3)
    found = mirror(images, torch.tensor([False, True]))
    assert found.flatten().tolist() == [0, 1, 2, 5, 4, 3]
    assert mirror(images, torch.tensor([False, False])) is images


def test_the_same_generator_gives_the_same_pictures() -> None:
    images = torch.rand(3, 3, 24, 20, generator=seeded(0))
    one, two = (strong_augmentation(images, seeded(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, strong_augmentation(images, seeded(6)))
    assert torch.equal(strong_augmentation(images, seeded(5), 0), images)


def test_each_picture_draws_its_own_changes() -> None:
    image = torch.rand(1, 3, 24, 20, generator=seeded(0))
    first, second = strong_augmentation(image.repeat(2, 1, 1, 1), seeded(5))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_no_change_moves_a_bright_spot(change, strength: float) -> None:  # type: ignore[no-untyped-def]
    image = torch.full((1, 3, 33, 33), 0.2)
    image[..., 16, 16] = 0.9
    found = change(image, strength)
    assert found.shape == image.shape
    assert float(found.min()) > -0.5
    brightest = int(found.mean(1).flatten().argmax())
    assert (brightest // 33, brightest % 33) == (16, 16)


def test_the_range_is_kept() -> None:
    images = torch.rand(8, 3, 32, 32, generator=seeded(1))
    found = strong_augmentation(images, seeded(2), count=6)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
