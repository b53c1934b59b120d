from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corun.data.scenes import render_scene
from corun.errors import MissingExtraError
from corun.metrics.haze_density import fade, fade_map, hazdesnet_scorer
from corun.metrics.pictures import read_picture


def _scene(haze: float = 0.0) -> np.ndarray:
    image = render_scene(96, 128, 2).image
    hazy = image * (1 - haze) + 0.9 * haze
    return (hazy.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


# fade-python 1.0.0 and the authors' MATLAB code under Octave, ../shared/DATA.md
@pytest.mark.parametrize(
    ("name", "score", "matlab"),
    [
        ("test_image1.png", 0.9123, 0.9118),
        ("test_image2.JPG", 2.7104, 2.7104),
        ("test_image3.jpg", 5.7674, 5.7674),
    ],
)
def test_fade_of_the_test_images(shared: Path, name: str, score: float, matlab: float) -> None:
    found = fade(read_picture(shared / "fixtures" / name))
    assert found == pytest.approx(score, abs=1e-4)
    assert found == pytest.approx(matlab, abs=1e-3)


def test_the_map_has_a_value_per_patch_and_haze_raises_the_score() -> None:
    clear, hazy = _scene(), _scene(0.7)
    score, density = fade_map(hazy)
    assert density.shape == (96 // 8, 128 // 8)
    assert (density >= 0).all()
    assert score == pytest.approx(fade(hazy), rel=1e-12)
    assert score > fade(clear)


def test_fade_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfade", None)
    with pytest.raises(MissingExtraError, match=r"corun-dehaze\[metrics\]"):
        fade(_scene())


def test_hazdesnet_scores_haze(shared: Path) -> None:
    score = hazdesnet_scorer(shared / "metrics" / "hazdesnet.hdf5")
    pictures = torch.stack(
        [torch.from_numpy(_scene(h)).permute(2, 0, 1) / 255 for h in (0, 0.4, 0.8)]
    )
    clear, some, much = score(pictures).tolist()
    assert 0 < clear < some < much < 1
