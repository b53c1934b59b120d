"""corun inside other programs: spandrel, ComfyUI, OpenCV, pipelines of tensors."""

from __future__ import annotations

import pickle
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import corun
from corun.networks.corun_config import CorunConfig
from corun.networks.registry import LITE_CONFIG
from sample_pictures import gradient

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_opencv(channels: int, dtype: str) -> None:
    dehaze = runpy.run_path(str(EXAMPLES / "opencv_dehaze.py"))["dehaze"]
    rgb = gradient(24, 32, channels, dtype)
    order = [2, 1, 0, 3][:channels]
    dehazer = corun.load("dcp")
    clear = dehaze(np.ascontiguousarray(rgb[..., order]), dehazer)
    np.testing.assert_array_equal(clear[..., order], dehazer(rgb).image)


def test_opencv_files(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLES / "opencv_dehaze.py"))
    rgb = gradient(24, 32, 3, "uint8")
    Image.fromarray(rgb).save(tmp_path / "a.png")
    example["main"](str(tmp_path / "a.png"), str(tmp_path / "b.png"), "dcp")
    clear = cv2.cvtColor(cv2.imread(str(tmp_path / "b.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(clear, corun.dehaze(rgb, "dcp").image)
    with pytest.raises(SystemExit, match=r"gone\.png: cannot be read"):
        example["main"](str(tmp_path / "gone.png"), "b.png", "dcp")


def test_a_transform_of_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "torch_transform.py"))
    transform = example["Dehaze"]("dcp", strength=0.5)
    image = torch.from_numpy(gradient(24, 32, 3, "uint8")).permute(2, 0, 1)
    clear = transform(image)
    assert (clear.dtype, clear.shape) == (torch.uint8, image.shape)
    expected = corun.dehaze(image, "dcp", strength=0.5).image
    assert torch.equal(clear, expected)
    with_a_session = example["Dehaze"]("corun-lite")
    with_a_session(image)
    state = pickle.loads(pickle.dumps(with_a_session.__getstate__()))
    assert state["_dehazer"] is None
    example["main"]("dcp")
    assert capsys.readouterr().out == "(2, 3, 48, 64)\n"


def test_a_comfyui_node() -> None:
    module = runpy.run_path(str(EXAMPLES / "comfyui_corun" / "__init__.py"))
    node = module["NODE_CLASS_MAPPINGS"]["CorunDehaze"]
    assert "corun-lite" in node.INPUT_TYPES()["required"]["model"][0]
    images = torch.from_numpy(gradient(24, 32, 3, "float32")).expand(2, -1, -1, -1)
    clear, mask = getattr(node(), node.FUNCTION)(images, "dcp", 1.0)
    assert clear.shape == images.shape
    assert mask.shape == (2, 24, 32)
    expected = corun.dehaze(images.permute(0, 3, 1, 2), "dcp").image.permute(0, 2, 3, 1)
    torch.testing.assert_close(clear, expected)


@pytest.mark.parametrize(
    "config",
    [CorunConfig(stages=3, dim=4, levels=1, ffn_expansion=2), LITE_CONFIG],
    ids=["published size", "lite"],
)
def test_spandrel_reads_the_hyper_parameters_off_the_shapes(
    config: CorunConfig, tmp_path: Path
) -> None:
    spandrel = pytest.importorskip("spandrel", reason="needs the extra spandrel")
    from corun.integrations.spandrel import register

    register()
    register()
    torch.manual_seed(0)
    network = corun.CORUN(config).eval()
    network.save_pretrained(tmp_path)
    found = spandrel.ModelLoader().load_from_file(tmp_path / "model.safetensors")
    assert found.architecture.id == "CORUN"
    assert found.model.config == config
    picture = torch.rand(1, 3, 30, 42)
    with torch.no_grad():
        torch.testing.assert_close(found(picture), network(picture).scene.clamp(0, 1))
