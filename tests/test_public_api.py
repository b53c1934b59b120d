"""`import corun`: five names, nothing heavy until one is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import corun
from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer


def test_the_public_names_are_few_and_all_there() -> None:
    assert sorted(corun.__all__) == ["CORUN", "Dehazed", "dehaze", "list_models", "load"]
    assert corun.Dehazed is Dehazed
    assert {"Dehazed", "dehaze", "list_models", "load", "__version__"} <= set(dir(corun))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        corun.nothing  # noqa: B018


def test_importing_corun_imports_nothing_heavy() -> None:
    code = "import sys, corun; sys.exit(len({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_are_listed_with_a_line_each() -> None:
    models = corun.list_models()
    assert "corun-lite" in models
    assert "dark-channel" in models["dcp"]


def test_dehaze_takes_every_kind_of_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    array = np.random.default_rng(0).integers(80, 220, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)
    expected = corun.dehaze(array, "dcp").image
    assert expected.dtype == np.uint8
    for image in (str(path), path, Image.fromarray(array)):
        np.testing.assert_array_equal(np.asarray(corun.dehaze(image, "dcp").image), expected)
    tensor = corun.dehaze(torch.from_numpy(array).permute(2, 0, 1), "dcp").image
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), expected)


def test_load_gives_an_object_to_call_repeatedly(tmp_path: Path) -> None:
    dehazer = corun.load("dcp", device="cpu")
    assert isinstance(dehazer, Dehazer)
    array = np.random.default_rng(0).integers(80, 220, (20, 30, 3), dtype=np.uint8)
    first, second = dehazer(array), dehazer(array, strength=0.0)
    np.testing.assert_array_equal(second.image, array)
    assert first.transmission.shape == (20, 30)
    assert first.airlight.shape == (3,)
    assert first.save(tmp_path / "clear.png").exists()


def test_errors_are_one_family() -> None:
    from corun.errors import CorunError

    for call in (
        lambda: corun.dehaze("gone.jpg", "dcp"),
        lambda: corun.load("no-such-model"),
        lambda: corun.load("dcp", device="warp"),
        lambda: corun.dehaze(np.zeros((2, 2)), "dcp", strength=2.0),
        lambda: corun.dehaze(np.zeros((2, 2, 9), np.uint8), "dcp"),
    ):
        with pytest.raises(CorunError) as error:
            call()
        assert "\n" not in str(error.value)
