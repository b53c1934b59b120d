"""Metrics of pyiqa as a quality; a stand-in takes its place."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError
from corun.judges.choice import QualityChoice, build_quality
from corun.judges.protocols import cut_blocks
from corun.judges.pyiqa_metric import CHUNK, PyiqaQuality


def test_pyiqa_is_optional() -> None:
    try:
        import pyiqa  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigurationError, match="pip install pyiqa"):
            build_quality(QualityChoice(kind="pyiqa"))


class StandInMetric(nn.Module):
    """The face of pyiqa's InferenceModel: a hundred times the mean brightness."""

    def __init__(self, name: str, device: torch.device | None = None) -> None:
        super().__init__()
        self.lower_better = name in ("niqe", "brisque")
        self.metric_mode = "FR" if name == "psnr" else "NR"
        self.gain = nn.Parameter(torch.tensor(100.0))
        self.seen: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(len(image))
        return self.gain * image.flatten(1).mean(1, keepdim=True)


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("pyiqa")
    stand_in.list_models = lambda: ["musiq", "niqe", "psnr", "brisque"]  # type: ignore[attr-defined]
    stand_in.create_metric = StandInMetric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", stand_in)


def test_a_pyiqa_metric_as_quality(pyiqa: None) -> None:
    pictures = torch.stack([torch.full((3, 64, 48), v) for v in (0.1, 0.9)])
    musiq = build_quality(QualityChoice(kind="pyiqa"))
    scores = musiq.score(pictures, 32)
    torch.testing.assert_close(scores.overall, torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(scores.blocks[:, 0, 1, 1], torch.tensor([0.1, 0.9]))
    niqe = build_quality(QualityChoice(kind="pyiqa", metric="niqe", range=(100.0, 0.0)))
    torch.testing.assert_close(niqe.score(pictures, 32).overall, torch.tensor([0.9, 0.1]))
    other = build_quality(QualityChoice(kind="pyiqa", metric="niqe", range=(50.0, 0.0)))
    assert len({musiq.name, niqe.name, other.name}) == 3


def test_a_metric_sees_a_bounded_number_of_blocks_at_a_time(pyiqa: None) -> None:
    pictures = torch.rand(2, 3, 288, 288, generator=torch.Generator().manual_seed(0))
    musiq = PyiqaQuality("musiq")
    scores = musiq.score(pictures, 32)
    seen = musiq._metric.seen
    assert max(seen) <= CHUNK
    assert sum(seen) == 2 * 81 + 2
    blocks, grid = cut_blocks(pictures, 32)
    at_once = musiq._metric(blocks).view(2, 1, *grid) / 100
    torch.testing.assert_close(scores.blocks, at_once, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of what pyiqa imports
def test_musiq_of_the_real_pyiqa(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With random weights, which lie where pyiqa keeps what it has fetched."""
    pytest.importorskip("pyiqa", reason="needs pyiqa", exc_type=ImportError)
    from pyiqa.archs import musiq_arch
    from pyiqa.utils import download_util

    monkeypatch.setattr(download_util, "DEFAULT_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    weights = musiq_arch.MUSIQ(pretrained=False, num_class=1).state_dict()
    torch.save(weights, tmp_path / Path(musiq_arch.default_model_urls["koniq10k"]).name)
    musiq = build_quality(QualityChoice(kind="pyiqa", range=(-4.0, 4.0)))
    told = capsys.readouterr()
    assert told.out == ""  # where a command writes its results
    assert "MUSIQ" in told.err
    pictures = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    scores = musiq.score(pictures, 32)
    assert scores.blocks.shape == (2, 1, 1, 2)
    alone = torch.stack([musiq._quality(p[None])[0] for p in (pictures[1], pictures[1, ..., 32:])])
    torch.testing.assert_close(torch.stack((scores.overall[1], scores.blocks[1, 0, 0, 1])), alone)
    assert bool(((scores.overall > 0) & (scores.overall < 1)).all())


@pytest.mark.parametrize(
    ("metric", "limits", "message"),
    [
        ("niqe", (0.0, 100.0), "niqe is better when lower"),
        ("musiq", (100.0, 0.0), "musiq is better when higher"),
        ("niqe", None, "give .worst, best. of niqe"),
        ("psnr", (0.0, 50.0), "compares with a reference"),
        ("musiq", (1.0, 1.0), "are the same"),
        ("nothing", (0.0, 1.0), "no metric 'nothing'"),
    ],
)
def test_pyiqa_metrics_that_cannot_be_a_quality(
    pyiqa: None, metric: str, limits: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_quality(QualityChoice(kind="pyiqa", metric=metric, range=limits))
