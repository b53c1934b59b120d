from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from corun.data.scenes import render_scene
from corun.errors import MissingExtraError
from corun.judges.choice import DensityChoice, build_density
from corun.judges.fade import FadeDensity
from corun.metrics.pictures import as_tensor, read_picture
from corun.metrics.registry import load_metric


def _scene(haze: float = 0.0) -> torch.Tensor:
    hazy = render_scene(96, 128, 2).image * (1 - haze) + 0.9 * haze
    return (hazy.clamp(0, 1) * 255).round()[None] / 255


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
    picture = read_picture(shared / "fixtures" / name)
    found = load_metric("fade").score(picture, None)
    assert found == pytest.approx(score, abs=1e-4)
    assert found == pytest.approx(matlab, abs=1e-3)
    judged = float(FadeDensity().overall(as_tensor(picture)))
    assert judged == pytest.approx(score / (1 + score), abs=1e-4)


def test_haze_raises_the_score() -> None:
    clear, hazy = FadeDensity().values(torch.cat((_scene(), _scene(0.7))))
    assert hazy > clear


def test_fade_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfade", None)
    for open_it in (lambda: load_metric("fade"), lambda: build_density(DensityChoice(kind="fade"))):
        with pytest.raises(MissingExtraError, match=r"corun-dehaze\[metrics\]"):
            open_it()
