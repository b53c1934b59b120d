"""The embedded quality: its distance, and pristine models of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from corun.data.scenes import render_scene
from corun.errors import ConfigurationError, DataError, WeightsError
from corun.judges.choice import (
    QualityChoice,
    build_quality,
)
from corun.judges.natural_scene import (
    FEATURES,
    block_features,
    distance,
    embedded_quality,
    fit_folder,
    load_models,
    save_models,
)


def test_distance_by_hand() -> None:
    precision = torch.diag(torch.tensor([4.0, 1.0]))
    found = distance(torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 1.0]), precision)
    torch.testing.assert_close(found, torch.tensor([2.0]))  # √((4·1² + 1·2²)/2)


def test_a_pristine_model_is_fitted_written_and_read(tmp_path: Path) -> None:
    from PIL import Image

    for seed in range(20):
        image = render_scene(64, 64, seed).image
        pixels = (image * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    models = fit_folder(tmp_path, side=64, block_sizes=(32,))
    save_models(tmp_path / "q.json", models, "rendered")
    (again,) = load_models(tmp_path / "q.json")
    torch.testing.assert_close(again.precision, models[0].precision, rtol=1e-4, atol=1e-4)
    chosen = build_quality(QualityChoice(weights=tmp_path / "q.json"))
    (tmp_path / "q.json").rename(tmp_path / "renamed.json")
    assert build_quality(QualityChoice(weights=tmp_path / "renamed.json")).name == chosen.name
    assert chosen.name != embedded_quality().name
    assert block_features(torch.rand(1, 3, 40, 64), 32).shape == (1, 4, FEATURES)
    with pytest.raises(DataError, match="too few"):
        fit_folder(tmp_path, side=64, block_sizes=(32,), photos=5)


def test_fitting_leaves_out_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for seed in range(21):
        pixels = (render_scene(64, 64, seed).image * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{seed:02d}.png")
    (tmp_path / "00.png").write_bytes(b"not a picture")
    (model,) = fit_folder(tmp_path, side=64, block_sizes=(32,))
    assert capsys.readouterr().err.count("skipped:") == 1
    save_models(tmp_path / "q.json", [model], "rendered")
    before = (tmp_path / "q.json").read_text()

    def torn(descriptor: int) -> None:
        os.ftruncate(descriptor, 10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", torn)
    with pytest.raises(WeightsError, match=r"q\.json: cannot be written"):
        save_models(tmp_path / "q.json", [model], "again")
    assert (tmp_path / "q.json").read_text() == before
    assert not list(tmp_path.glob(".*"))


def test_small_blocks_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 16"):
        block_features(torch.rand(1, 3, 32, 32), 8)
