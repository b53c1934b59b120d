from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.data.scenes import render_scene
from corun.errors import ConfigurationError, WeightsError
from corun.metrics.registry import LoadedMetric, load_metric
from corun.metrics.scoring import PictureScores, score_picture
from corun.metrics.table import METRICS

GUARDS = ("brightness", "contrast", "colourfulness", "crushed", "clipped")


def _save(path: Path, seed: int = 0, height: int = 100, width: int = 200) -> Path:
    image = render_scene(height, width, seed).image
    array = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(array).save(path)
    return path


def test_the_table_has_every_metric_once_with_its_facts() -> None:
    metrics = METRICS
    assert {"fade", "brisque", "niqe", "hazdesnet", "psnr", "ssim", "lpips", *GUARDS} <= set(
        metrics
    )
    assert {"nima", "musiq", "paq2piq", "clipiqa"} <= set(metrics)
    for name, metric in metrics.items():
        assert name == metric.name
        assert metric.source
        assert metric.score_range
        assert (metric.kind == "full-reference") == (metric.needs == "target")


def scored(path: Path, *names: str, reference: Path | None = None) -> PictureScores:
    return score_picture(path, [load_metric(name) for name in names], reference)


def test_scores_of_files(tmp_path: Path) -> None:
    path = _save(tmp_path / "1.png", 1)
    row = scored(path, "fade", "niqe-embedded", *GUARDS)
    assert (row.path, row.failures) == (path, {})
    with Image.open(path) as image:
        mean = np.asarray(image).mean() / 255
    assert row.scores["brightness"] == pytest.approx(mean)
    assert load_metric("fade").implementation.startswith("fade-python")


def test_comparisons_look_at_their_reference(tmp_path: Path) -> None:
    result, target = _save(tmp_path / "r.png", 1), _save(tmp_path / "t.png", 2)
    row = scored(result, "psnr", "ssim", "hue-shift", reference=target)
    assert row.failures == {}
    assert 0 < row.scores["ssim"] < 1


def test_the_least_size_is_said_in_one_line(shared: Path, tmp_path: Path) -> None:
    tiny = shared / "cases" / "tiny_7x5.png"
    found = scored(tiny, "fade", "niqe-embedded", "ssim", "ms-ssim", "brightness", reference=tiny)
    assert found.failures["fade"] == f"{tiny}: is 7×5, and FADE needs at least 16×16 pixels"
    assert found.failures["ssim"] == f"{tiny}: is 7×5, and SSIM needs at least 11×11 pixels"
    assert found.failures["ms-ssim"].endswith("MS-SSIM needs at least 176×176 pixels")
    assert "at least two blocks of 96×96" in found.failures["niqe-embedded"]
    assert set(found.scores) == {"brightness"}
    narrow = _save(tmp_path / "narrow.png", height=15)
    assert "is 200×15, and FADE needs" in scored(narrow, "fade").failures["fade"]
    assert scored(_save(tmp_path / "least.png", height=16, width=16), "fade").failures == {}


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    def greedy(picture: np.ndarray, reference: np.ndarray | None) -> float:
        raise MemoryError

    metric = replace(load_metric("brightness"), score=greedy)
    told = score_picture(_save(tmp_path / "a.png"), [metric]).failures["brightness"]
    assert told.endswith("a.png: not enough memory for mean brightness; use fewer --jobs, or a "
                         "smaller picture")  # fmt: skip


def test_failures_are_named_and_no_scores(tmp_path: Path) -> None:
    good = _save(tmp_path / "good.png")
    grey, small, cut = tmp_path / "flat.png", tmp_path / "small.png", tmp_path / "cut.png"
    Image.new("RGB", (200, 100), (90, 90, 90)).save(grey)
    Image.new("RGB", (40, 30)).save(small)
    cut.write_bytes(good.read_bytes()[:200])
    rows = {
        path.name: scored(path, "niqe-embedded", "fade", "brightness")
        for path in (good, grey, small, cut)
    }
    for name, title in (("niqe-embedded", "NIQE, embedded statistics"), ("fade", "FADE")):
        told = f"{grey}: is of one colour, for which {title} has no score"
        assert rows["flat.png"].failures[name] == told
    assert "small.png: NIQE needs pictures" in rows["small.png"].failures["niqe-embedded"]
    assert set(rows["cut.png"].failures) == {"niqe-embedded", "fade", "brightness"}
    assert rows["flat.png"].scores["brightness"] == pytest.approx(90 / 255)
    assert rows["good.png"].failures == {}


def test_another_size_is_named(tmp_path: Path) -> None:
    result, target = _save(tmp_path / "r.png"), _save(tmp_path / "t.png", 0, 100, 180)
    row = scored(result, "psnr", "brightness", reference=target)
    assert row.failures == {
        "psnr": f"{result}: is 200×100 and its target is 180×100; resize one of them first"
    }
    assert "brightness" in row.scores


def test_a_metric_that_breaks_fails_alone_and_is_named(tmp_path: Path) -> None:
    def broken(picture: np.ndarray, reference: np.ndarray | None) -> float:
        raise RuntimeError("Singular matrix")

    good = load_metric("brightness")
    bad = replace(good, metric=replace(good.metric, name="bad", title="BAD"), score=broken)
    row = score_picture(_save(tmp_path / "r.png"), [bad, good])
    assert "brightness" in row.scores
    assert row.failures == {
        "bad": f"{tmp_path / 'r.png'}: BAD failed (RuntimeError: Singular matrix)"
    }


def test_read_only_arrays_are_scored(tmp_path: Path) -> None:
    with Image.open(_save(tmp_path / "r.png")) as image:
        pixels = np.asarray(image)
    assert not pixels.flags.writeable
    assert load_metric("brightness").score(pixels, None) > 0


def test_infinity_is_a_score_where_the_table_says_so(tmp_path: Path) -> None:
    result = _save(tmp_path / "r.png")
    psnr = load_metric("psnr")
    row = score_picture(result, [psnr], result)
    assert (row.scores["psnr"], row.failures) == (math.inf, {})
    other = replace(psnr, metric=replace(psnr.metric, infinite_is_best=False))
    assert "is inf" in score_picture(result, [other], result).failures["psnr"]
    negative = replace(psnr, score=lambda picture, reference: -math.inf)
    assert "is -inf" in score_picture(result, [negative], result).failures["psnr"]


def test_unknown_metrics_and_absent_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no metric is called 'sharpness'; choose from"):
        load_metric("sharpness")
    with pytest.raises(WeightsError, match=r"NIQE needs the file niqe: .*basicsr"):
        load_metric("niqe")
    with pytest.raises(WeightsError, match=r"HazDesNet needs the file hazdesnet: .*JiaheZhang"):
        load_metric("hazdesnet")
    with pytest.raises(WeightsError, match=r"LPIPS needs the file lpips_backbone: .*alexnet"):
        load_metric("lpips")
    with pytest.raises(WeightsError, match=r"gone: no such file; BRISQUE needs it .*allmodel"):
        load_metric("brisque", {"brisque_model": tmp_path / "gone"})


def test_a_version_changes_with_its_file(tmp_path: Path) -> None:
    from corun.judges.niqe import embedded_statistics

    ours = embedded_statistics()
    for name, shift in (("a.npz", 0), ("b.npz", 1)):
        np.savez(
            tmp_path / name,
            mu_pris_param=ours.mean.numpy()[None] + shift,
            cov_pris_param=ours.covariance.numpy(),
        )
    loaded: list[LoadedMetric] = [
        load_metric("niqe", {"niqe": tmp_path / name}) for name in ("a.npz", "b.npz")
    ]
    assert loaded[0].version != loaded[1].version
    assert loaded[0].implementation == "corun, published statistics"
