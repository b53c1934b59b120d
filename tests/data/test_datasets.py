"""The readers on miniature copies of every data set, and `corun data check` on what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corun.apps.data_check_commands import data_app
from corun.data.datasets.boxes import read_coco, read_voc
from corun.data.datasets.catalogue import DATASETS, open_dataset
from corun.data.datasets.check import check_dataset
from corun.data.datasets.photo_sets import central_box
from corun.errors import DataError


def save_picture(path: Path, size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (120, 130, 140)).save(path)


def save_voc(path: Path, *objects: tuple[str, int, int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{a}</xmin>"
        f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in objects
    )
    size = "<size><width>12</width><height>9</height><depth>3</depth></size>"
    path.write_text(f"<annotation>{size}{items}</annotation>", encoding="utf-8")


MINIATURES: dict[str, tuple[list[str], int, dict[str, str]]] = {
    # data set: files, photos, photo name → its reference or depth
    "rtts": (["JPEGImages/AM_1.png", "Annotations/AM_1.xml"], 1, {"AM_1": "AM_1.xml"}),
    "urhi": (["URHI/HZ_1.jpg", "URHI/part/HZ_2.jpg"], 2, {}),
    "fattal": (["canon.jpg", "train.png"], 2, {}),
    "sots-indoor": (
        ["SOTS/indoor/hazy/1400_1.png", "SOTS/indoor/hazy/1400_2.png", "SOTS/indoor/gt/1400.png"],
        2,
        {"1400_1": "1400.png", "1400_2": "1400.png"},
    ),
    "sots-outdoor": (
        ["outdoor/hazy/0001_0.8_0.2.jpg", "outdoor/gt/0001.png"],
        1,
        {"0001_0.8_0.2": "0001.png"},
    ),
    "its": (["hazy/1_1_0.90179.png", "clear/1.png"], 1, {"1_1_0.90179": "1.png"}),
    "ots": (
        ["haze/part1/0025_0.8_0.1.jpg", "clear/0025.jpg"],
        1,
        {"part1-0025_0.8_0.1": "0025.jpg"},
    ),
    "o-haze": (
        ["# O-HAZY NTIRE 2018/hazy/1_out_hazy.jpg", "# O-HAZY NTIRE 2018/GT/1_out_GT.jpg"],
        1,
        {"1_out_hazy": "1_out_GT.jpg"},
    ),
    "i-haze": (
        ["hazy/01_indoor_hazy.jpg", "GT/01_indoor_GT.jpg"],
        1,
        {"01_indoor_hazy": "01_indoor_GT.jpg"},
    ),
    "dense-haze": (["hazy/01_hazy.png", "GT/01_GT.png"], 1, {"01_hazy": "01_GT.png"}),
    "nh-haze": (["01_hazy.png", "01_GT.png"], 1, {"01_hazy": "01_GT.png"}),
    "ridcp500": (["rgb_500/1.jpg", "depth_500/1.npy"], 1, {"1": "1.npy"}),
    "dawn": (["JPEGImages/foggy-1.jpg", "Annotations/foggy-1.xml"], 1, {"foggy-1": "foggy-1.xml"}),
    "folder": (["a.bmp", "b.webp"], 2, {}),
    "pairs": (["hazy/a.png", "clear/a.jpg"], 1, {"a": "a.jpg"}),
}


def make_files(folder: Path, names: list[str]) -> None:
    for name in names:
        if name.endswith(".xml"):
            save_voc(folder / name, ("car", 2, 3, 6, 7))
        elif name.endswith(".npy"):
            (folder / name).parent.mkdir(parents=True)
            np.save(folder / name, np.zeros((9, 12), np.float32))
        else:
            save_picture(folder / name)


def test_every_data_set_has_a_miniature() -> None:
    assert set(MINIATURES) == set(DATASETS)


@pytest.mark.parametrize("name", MINIATURES)
def test_reads_the_published_layout(name: str, tmp_path: Path) -> None:
    files, count, companions = MINIATURES[name]
    make_files(tmp_path, files)
    found = open_dataset(name, tmp_path)
    assert found.problems == ()
    assert len(found.photos) == count
    named = {photo.name: photo for photo in found.photos}
    for photo_name, companion in companions.items():
        photo = named[photo_name]
        path = photo.reference or photo.annotation or photo.depth
        assert path is not None
        assert path.name == companion


def test_check_counts_against_the_published_number(tmp_path: Path) -> None:
    make_files(tmp_path, MINIATURES["rtts"][0])
    result = check_dataset("rtts", tmp_path)
    text = "\n".join(result.lines())
    assert not result.complete
    assert "photos: 1 of 4322 published (4321 missing)" in text
    assert "boxes: 1 (car 1)" in text
    assert "https://sites.google.com/view/reside-dehaze-datasets" in text


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    save_picture(tmp_path / "hazy" / "a.png")
    save_picture(tmp_path / "clear" / "a.png", (10, 9))
    save_picture(tmp_path / "hazy" / "b.png")
    save_picture(tmp_path / "hazy" / "c.png")
    save_picture(tmp_path / "hazy" / "c.jpg")
    save_picture(tmp_path / "clear" / "c.png")
    (tmp_path / "hazy" / "d.png").write_bytes(b"no picture")
    save_picture(tmp_path / "clear" / "d.png")
    result = check_dataset("pairs", tmp_path)
    problems = "\n".join(result.problems)
    assert result.photos == 1
    assert "12x9, but its reference" in problems
    assert "b.png: no reference of the name b" in problems
    assert "another picture has the stem 'c'" in problems
    assert "d.png: not a picture corun can read" in problems


def test_indoor_references_may_be_larger_than_their_photos(tmp_path: Path) -> None:
    """RESIDE publishes SOTS indoor as 620×460 hazy and 640×480 clear, cut by 10 on each side."""
    save_picture(tmp_path / "hazy" / "1400_1.png", (62, 46))
    save_picture(tmp_path / "gt" / "1400.png", (64, 48))
    result = check_dataset("sots-indoor", tmp_path)
    assert (result.photos, result.problems) == (1, ())
    save_picture(tmp_path / "hazy" / "1400_2.png", (66, 46))
    assert "66x46, but its reference" in check_dataset("sots-indoor", tmp_path).problems[0]
    save_picture(tmp_path / "clear" / "1400_1.png", (64, 48))
    assert "62x46, but its reference" in "\n".join(check_dataset("pairs", tmp_path).problems)


def test_the_middle_of_a_picture() -> None:
    assert central_box((640, 480), (620, 460)) == (10, 10, 630, 470)
    assert central_box((5, 4), (2, 4)) == (1, 0, 3, 4)
    assert central_box((5, 4), (5, 5)) is None


def test_more_photos_than_published_are_complete(tmp_path: Path) -> None:
    for index in range(32):
        save_picture(tmp_path / f"{index}.png")
    result = check_dataset("fattal", tmp_path)
    text = "\n".join(result.lines())
    assert result.complete
    assert "32 of 31 published (1 more)" in text
    assert "obtain" not in text


def test_only_decoding_finds_a_picture_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    assert check_dataset("folder", tmp_path).complete
    assert "a.png" in check_dataset("folder", tmp_path, decode=True).problems[0]


def test_wrong_layout_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no JPEGImages/ or RTTS/JPEGImages/"):
        open_dataset("rtts", tmp_path)
    with pytest.raises(DataError, match="no such data set; known are rtts, urhi"):
        open_dataset("nyu", tmp_path)


def test_voc_boxes_become_half_open(tmp_path: Path) -> None:
    """VOC counts pixels from 1 and includes the last: pixel 2 alone is [1, 2)."""
    save_voc(tmp_path / "a.xml", ("Car", 2, 3, 2, 5))
    truth = read_voc(tmp_path / "a.xml")
    assert truth.boxes.tolist() == [[1, 2, 2, 5]]
    assert truth.labels == ("car",)
    assert truth.size == (12, 9)


def test_broken_annotations_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><object>")
    with pytest.raises(DataError, match=r"a\.xml: no usable VOC annotation"):
        read_voc(tmp_path / "a.xml")
    save_voc(tmp_path / "b.xml", ("car", 7, 3, 2, 5))
    with pytest.raises(DataError, match=r"b\.xml: .* box from"):
        read_voc(tmp_path / "b.xml")
    (tmp_path / "c.json").write_text('{"images": []}')
    with pytest.raises(DataError, match=r"c\.json: no usable COCO ground truth"):
        read_coco(tmp_path / "c.json")


def test_coco_boxes(tmp_path: Path) -> None:
    content = {
        "images": [
            {"id": 7, "file_name": "x/a.jpg", "width": 12, "height": 9},
            {"id": 8, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 3, "name": "Car"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    truth = read_coco(tmp_path / "truth.json")
    assert truth["a"].boxes.tolist() == [[1, 2, 4, 6]]
    assert truth["a"].labels == ("car",)
    assert truth["a"].ignored.tolist() == [True]
    assert len(truth["b"].boxes) == 0


def test_command_line(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    runner = CliRunner()
    done = runner.invoke(data_app, ["check", "folder", str(tmp_path)])
    assert done.exit_code == 0
    assert "photos: 1" in done.output
    missing = runner.invoke(data_app, ["check", "fattal", str(tmp_path)])
    assert missing.exit_code == 1
    assert "30 missing" in missing.output
    listed = runner.invoke(data_app, ["list"])
    assert "rtts:" in listed.output
    assert "4322" in listed.output


def test_dawn_as_it_lies_beside_the_checkout(shared: Path) -> None:
    result = check_dataset("dawn", shared / "data" / "dawn")
    assert result.photos == 100
    assert result.boxes["car"] == 532
    assert result.problems == ()
