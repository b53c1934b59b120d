"""Scores of a file in 8 bits, beside those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from corun.errors import MissingExtraError
from corun.export import scores
from corun.export.parts import WholePart
from corun.export.scores import Beside, scores_beside
from corun.metrics.registry import LoadedMetric, load_metric
from corun.networks.corun import CORUN

PHOTOS = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5)) for size in
          ((200, 210), (40, 50))]  # fmt: skip


def half(part: WholePart) -> scores.Run:
    """A file that makes all half as bright."""

    def run(photo: Tensor) -> tuple[Tensor, ...]:
        scene, *rest = part.reference(photo)
        return (scene / 2, *rest)

    return run


def test_both_are_scored_as_saved_pictures_are(cells: CORUN) -> None:
    part = WholePart(cells)
    found = scores_beside(part, half(part), PHOTOS)
    wanted = [(part.reference(photo)[0] * 255).round() for photo in PHOTOS]
    made = [(part.reference(photo)[0] * 127.5).round() for photo in PHOTOS]
    means = [sum(float(p.mean()) for p in them) / 2 / 255 for them in (wanted, made)]
    assert found["brightness"] == pytest.approx(means, abs=1e-6)
    assert found["crushed"].exported > found["crushed"].reference
    larger = load_metric("niqe-embedded")  # 40x50 pixels are too few for it
    pictures = [each[0][0].permute(1, 2, 0).numpy() for each in (wanted, made)]
    both = [larger.score(picture, None) for picture in pictures]
    assert found["niqe-embedded"] == pytest.approx(both, rel=1e-5)
    assert both[0] != both[1]


def test_a_judge_that_is_not_installed_is_left_out(
    cells: CORUN, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> LoadedMetric:
        if name == "fade":
            raise MissingExtraError("pyfade", "metrics")
        return load_metric(name)

    monkeypatch.setattr(scores, "load_metric", installed)
    part = WholePart(cells)
    found = scores_beside(part, part.reference, PHOTOS)
    assert set(found) == {"niqe-embedded", "brightness", "crushed"}
    assert all(pair == Beside(pair.exported, pair.reference) for pair in found.values())
