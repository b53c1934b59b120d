"""The bridge to pyiqa, against a package of the same interface: pyiqa itself is not a dependency.

The interface is that of pyiqa 0.1.16: list_models, create_metric(name, device=), a module with
metric_mode, and default_model_configs.DEFAULT_CONFIGS.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.errors import ConfigurationError, WeightsError
from corun.judges.pyiqa_metric import pyiqa_installed, pyiqa_version
from corun.metrics.registry import load_metric
from corun.metrics.scoring import score_picture

INTERFACE = """
from pyiqa.default_model_configs import DEFAULT_CONFIGS


def list_models():
    return sorted(DEFAULT_CONFIGS)


class _Mean:
    def __init__(self, mode):
        self.metric_mode = mode

    def __call__(self, target, ref=None):
        assert target.shape[:2] == (1, 3) and 0 <= target.min() and target.max() <= 1
        if self.metric_mode == "FR":
            return (target - ref).abs().mean().reshape(1, 1)
        return 100 * target.mean().reshape(1, 1)


def create_metric(name, as_loss=False, device=None):
    if name == "paq2piq":
        raise OSError("no route to host")
    return _Mean(DEFAULT_CONFIGS[name]["metric_mode"])
"""
CONFIGURATIONS = """
DEFAULT_CONFIGS = {
    "musiq": {"metric_mode": "NR", "score_range": "~0, ~100"},
    "paq2piq": {"metric_mode": "NR", "score_range": "~0, ~100"},
    "brisque": {"metric_mode": "NR", "lower_better": True, "score_range": "~0, ~150"},
    "dists": {"metric_mode": "FR", "lower_better": True, "score_range": "0, 1"},
}
"""


@pytest.fixture
def interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "pyiqa"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(INTERFACE)
    (package / "default_model_configs.py").write_text(CONFIGURATIONS)
    for name in [name for name in sys.modules if name.split(".")[0] == "pyiqa"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(package.parent))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "pyiqa"]:
        del sys.modules[name]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "p.png")
    return tmp_path / "p.png"


@pytest.mark.usefixtures("interface")
def test_scores_come_through(picture: Path) -> None:
    assert pyiqa_installed()
    musiq, brightness = load_metric("musiq"), load_metric("brightness")
    row = score_picture(picture, [musiq, brightness])
    assert row.scores["musiq"] == pytest.approx(100 * row.scores["brightness"], rel=1e-5)
    version = pyiqa_version()  # of a real one, if there is one
    assert musiq.implementation == f"pyiqa {version} musiq"
    # without files, BRISQUE is pyiqa's, and says so
    assert load_metric("brisque").implementation == f"pyiqa {version} brisque"


@pytest.mark.usefixtures("interface")
def test_any_metric_by_name(picture: Path) -> None:
    loaded = load_metric("pyiqa:dists")
    assert (loaded.metric.better, loaded.metric.needs) == ("lower", "target")
    assert loaded.metric.kind == "full-reference"
    assert score_picture(picture, [loaded], picture).scores == {"pyiqa:dists": 0}
    assert load_metric("pyiqa:musiq").metric.better == "higher"


@pytest.mark.usefixtures("interface")
def test_what_it_lacks_is_said() -> None:
    with pytest.raises(ConfigurationError, match="pyiqa has no metric 'sharpness'"):
        load_metric("pyiqa:sharpness")
    with pytest.raises(WeightsError, match=r"weights of paq2piq \(no route to host\)"):
        load_metric("paq2piq")


def test_without_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigurationError, match="pip install pyiqa"):
        load_metric("musiq")
    with pytest.raises(ConfigurationError, match="pip install pyiqa"):
        load_metric("pyiqa:musiq")
