"""Pairs written to disk."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corun.data.synthesize import synthesize_folder
from corun.errors import ConfigurationError, DataError, DeviceError
from rendered_folders import write_scenes


def make(root: Path, out: str = "out", *, count: int = 2, seed: int = 0, more: tuple = ()) -> Path:
    synthesize_folder(
        root / "clean", root / "depth", root / out, count=count, seed=seed,
        overrides=["convention=distance", *more],
    )  # fmt: skip
    return root / out


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_pairs_with_truth(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    plain = ("haze.noise_probability=0", "haze.jpeg_probability=0", "haze.darken_probability=0",
             "haze.airlight_jitter=0")  # fmt: skip
    out = make(tmp_path, more=plain)
    rows = list(csv.DictReader((out / "truth.csv").read_text().splitlines()))
    assert len(rows) == 4
    for row in rows:
        hazy, clear = (np.asarray(Image.open(out / row[k])) / 255 for k in ("hazy", "clear"))
        stem = Path(row["hazy"]).name
        T = np.asarray(Image.open(out / "transmission" / stem))[..., None] / 255
        A = np.array([float(v) for v in row["airlight_rgb"].split()])
        # Both pictures and T are rounded to 8 bits.
        assert np.abs(clear * T + A * (1 - T) - hazy).max() < 3 / 255


def test_the_seed_decides_and_the_name_not_the_place(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    first, again, other = make(tmp_path, "a"), make(tmp_path, "b"), make(tmp_path, "c", seed=1)
    assert content(first) == content(again)
    assert content(first)["hazy/1_00.png"] != content(other)["hazy/1_00.png"]
    (tmp_path / "clean" / "0.png").unlink()
    fewer = make(tmp_path, "d")
    assert content(fewer)["hazy/1_01.png"] == content(first)["hazy/1_01.png"]


def test_an_interrupted_run_is_continued(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    out = make(tmp_path)
    whole = content(out)
    kept = out / "hazy" / "0_00.png"
    stamp = kept.stat().st_mtime_ns
    (out / "hazy" / "1_01.png").unlink()
    make(tmp_path)
    assert content(out) == whole
    assert kept.stat().st_mtime_ns == stamp


def test_fewer_versions_keep_the_truth_of_those_already_there(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    out = make(tmp_path)
    whole = content(out)
    make(tmp_path, count=1)
    assert content(out) == whole
    (out / "hazy" / "1_01.png").unlink()
    make(tmp_path, count=1)
    assert "1_01" not in (out / "truth.csv").read_text()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "seed"), ({"more": ("haze.beta=[0.5,0.6]",)}, r"haze\.beta"),
     ({"more": ("format=jpg",)}, "format")],
)  # fmt: skip
def test_other_settings_are_refused_in_the_same_folder(
    tmp_path: Path, change: dict, named: str
) -> None:
    write_scenes(tmp_path, 1)
    out = make(tmp_path)
    before = content(out)
    with pytest.raises(DataError, match=rf"out: was made with other settings \({named}\); give"):
        make(tmp_path, **change)
    assert content(out) == before
    make(tmp_path, count=3)  # more versions of the same haze
    after = content(out)
    assert all(after[name] == before[name] for name in before if name != "truth.csv")
    assert "hazy/0_02.png" in after


@pytest.mark.parametrize("settings", [None, b"{torn", b"[1]", b"\xff"])
def test_pictures_of_unknown_settings_are_refused(tmp_path: Path, settings: bytes | None) -> None:
    write_scenes(tmp_path, 1)
    path = make(tmp_path) / "settings.json"
    if settings is None:
        path.unlink()
    else:
        path.write_bytes(settings)
    with pytest.raises(DataError, match=r"no readable settings\.json"):
        make(tmp_path)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/sub: cannot be written \(Not a directory\)"):
        make(tmp_path, "file/sub")
    (tmp_path / "out" / "truth.csv").mkdir(parents=True)
    with pytest.raises(DataError, match=r"truth\.csv: cannot be written"):
        make(tmp_path)
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_named(tmp_path: Path, device: str) -> None:
    write_scenes(tmp_path, 1)
    with pytest.raises(DeviceError, match=f"device '{device}' is not .*; use device=cpu"):
        make(tmp_path, more=(f"device={device}",))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is available here")
def test_cuda_without_cuda_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    with pytest.raises(DeviceError, match="device 'cuda' is not available here"):
        make(tmp_path, more=("device=cuda",))


def test_a_broken_photo_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    (tmp_path / "clean" / "1.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"1 of 3 photos failed.*1\.png"):
        make(tmp_path)
    assert sorted(p.name for p in (tmp_path / "out" / "clear").iterdir()) == [
        "0_00.png", "0_01.png", "2_00.png", "2_01.png",
    ]  # fmt: skip


def test_the_convention_must_be_stated(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    with pytest.raises(ConfigurationError, match="convention=distance"):
        synthesize_folder(tmp_path / "clean", tmp_path / "depth", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="fog"):
        make(tmp_path, more=("haze.fog=1",))
