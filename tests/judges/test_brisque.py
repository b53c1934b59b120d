from __future__ import annotations

from pathlib import Path

import pytest
import torch

from corun.errors import WeightsError
from corun.judges.brisque import (
    Brisque,
    SupportVectorRegression,
    brisque_features,
    load_brisque,
)
from corun.metrics.pictures import as_tensor, read_picture

# the published SVR with the authors' MATLAB features, ../shared/DATA.md
REFERENCE = {
    "test_image1.png": 1.363,
    "test_image2.JPG": 22.959,
    "test_image3.jpg": 11.58,
    "testimage1.bmp": 97.430,
    "testimage2.bmp": 32.039,
}


@pytest.fixture(scope="module")
def brisque(shared: Path) -> Brisque:
    return load_brisque(
        shared / "metrics" / "brisque_allmodel", shared / "metrics" / "brisque_allrange"
    )


@pytest.mark.parametrize(("name", "score"), REFERENCE.items())
def test_published_scores(brisque: Brisque, shared: Path, name: str, score: float) -> None:
    picture = as_tensor(read_picture(shared / "fixtures" / name))
    assert float(brisque(picture)) == pytest.approx(score, abs=0.05)


def test_a_batch_scores_as_its_pictures() -> None:
    pictures = torch.rand(3, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    pictures = (pictures * 255).round() / 255
    alone = torch.cat([brisque_features(picture[None]) for picture in pictures])
    torch.testing.assert_close(brisque_features(pictures), alone, rtol=1e-6, atol=1e-6)


def test_a_picture_of_one_colour_has_no_score() -> None:
    assert brisque_features(torch.full((1, 3, 32, 32), 0.5)).isnan().any()


def test_too_small_is_an_error() -> None:
    with pytest.raises(ValueError, match="16×16"):
        brisque_features(torch.rand(1, 3, 15, 40))


def test_the_regression_by_hand() -> None:
    regression = SupportVectorRegression(
        coefficients=torch.tensor([2.0, -1.0], dtype=torch.float64),
        vectors=torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64),
        gamma=0.5,
        rho=-3.0,
        feature_range=torch.tensor([[0.0, 10.0], [-1.0, 1.0]], dtype=torch.float64),
        lower=-1.0,
        upper=1.0,
    )
    # (10, −1) scales to (1, −1): distances² 2 and 0
    features = torch.tensor([[10.0, -1.0]], dtype=torch.float64)
    expected = 2 * torch.exp(torch.tensor(-1.0)) - 1 + 3
    assert float(regression(features)) == pytest.approx(float(expected))


def _model(path: Path, **header: str) -> Path:
    facts = {
        "svm_type": "epsilon_svr", "kernel_type": "rbf", "gamma": "0.05", "nr_class": "2",
        "total_sv": "1", "rho": "-1.5", **header,
    }  # fmt: skip
    lines = [f"{key} {value}" for key, value in facts.items()]
    path.write_text("\n".join([*lines, "SV", "2 1:0.5 36:-1", ""]), encoding="utf-8")
    return path


def _ranges(path: Path, count: int = 36) -> Path:
    path.write_text(
        "x\n-1 1\n" + "".join(f"{k} 0 {k}\n" for k in range(1, count + 1)), encoding="utf-8"
    )
    return path


def test_files_are_read(tmp_path: Path) -> None:
    loaded = load_brisque(_model(tmp_path / "m"), _ranges(tmp_path / "r")).regression
    assert loaded.vectors.shape == (1, 36)
    assert loaded.vectors[0, 0] == 0.5
    assert loaded.vectors[0, 35] == -1
    assert (loaded.rho, loaded.gamma) == (-1.5, 0.05)
    assert loaded.feature_range[4].tolist() == [0, 5]


def test_a_missing_file_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: no such file; get 'allmodel'"):
        load_brisque(tmp_path / "nowhere", _ranges(tmp_path / "r"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    good_model, good_ranges = _model(tmp_path / "m"), _ranges(tmp_path / "r")
    with pytest.raises(WeightsError, match="not an epsilon_svr"):
        load_brisque(_model(tmp_path / "linear", kernel_type="linear"), good_ranges)
    with pytest.raises(WeightsError, match="1 support vectors of 2"):
        load_brisque(_model(tmp_path / "cut", total_sv="2"), good_ranges)
    with pytest.raises(WeightsError, match="36 features"):
        load_brisque(good_model, _ranges(tmp_path / "short", 35))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_brisque(binary, good_ranges)
