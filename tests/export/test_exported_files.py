"""Files of every kind hold at sizes that they were neither traced nor checked at."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from PIL import Image

from corun.export import ExportReport, export_model
from corun.export.onnx_graphs import OPSET
from corun.export.parity import GREATEST
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig

SIZES = [(1, 1, 1), (2, 1, 57), (1, 83, 1), (3, 30, 41), (1, 45, 46), (1, 131, 77)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pictures(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


def run(path: Path, name: str, picture: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(None, {name: picture.numpy()}), strict=True))


def facts_of(path: Path) -> dict[str, object]:
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return json.loads(properties["corun"])


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_whole_graph_is_the_network_at_any_size(
    whole_onnx: ExportReport, cells: CORUN, size: tuple[int, int, int]
) -> None:
    hazy = pictures(*size)
    results = run(whole_onnx.path, "hazy", hazy)
    expected = cells.explained(hazy)
    assert list(results) == ["scene", "transmission", "airlight"]
    np.testing.assert_allclose(results["scene"], expected.scene.clamp(0, 1), atol=2e-5)
    np.testing.assert_allclose(results["transmission"], expected.transmission, atol=2e-5)
    np.testing.assert_allclose(results["airlight"], expected.airlight, atol=2e-5)


@pytest.mark.parametrize("size", [(1, 4, 4), (2, 8, 60), (1, 84, 32)])
@torch.no_grad()
def test_the_stages_give_the_maps_at_any_multiple(
    stages_onnx: ExportReport, cells: CORUN, size: tuple[int, int, int]
) -> None:
    working = pictures(*size)
    results = run(stages_onnx.path, "working", working)
    expected = cells.maps(working)
    assert list(results) == ["gain", "offset", "transmission", "airlight"]
    for name, result in results.items():
        wanted = getattr(expected, name)
        assert result.shape == tuple(wanted.shape)
        np.testing.assert_allclose(result, wanted, atol=GREATEST["float16"])


def test_sides_that_are_no_multiples_are_no_picture_for_the_stages(
    stages_onnx: ExportReport,
) -> None:
    with pytest.raises(Fail, match="cannot be reshaped"):
        run(stages_onnx.path, "working", pictures(1, 9, 8))


def test_the_card_travels_in_the_metadata(
    whole_onnx: ExportReport, stages_onnx: ExportReport, weights: Path, cells: CORUN
) -> None:
    facts = facts_of(whole_onnx.path)
    assert facts == whole_onnx.facts
    assert facts == {
        "name": "tiny.safetensors",
        "architecture": "CORUN",
        "config": cells.config.to_dict(),
        "licence": "unknown",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "corun": version("corun-dehaze"),
        "part": "whole",
        "precision": "float32",
        "working_pixels": 2000,
        "multiple": 4,
    }
    assert facts_of(stages_onnx.path)["part"] == "stages"
    assert facts_of(stages_onnx.path)["precision"] == "float16"


def test_the_graph_states_its_opset_and_names_its_sizes(whole_onnx: ExportReport) -> None:
    model = onnx.load(whole_onnx.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert whole_onnx.opset == OPSET
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "hazy": ["batch", 3, "height", "width"],
        "scene": ["batch", 3, "height", "width"],
        "transmission": ["batch", 1, "height", "width"],
        "airlight": ["batch", 3, 1, 1],
    }


def test_nothing_of_the_machine_is_in_the_file(whole_onnx: ExportReport) -> None:
    content = whole_onnx.path.read_bytes()
    assert b"site-packages" not in content
    assert os.fsencode(Path(__file__).resolve().parents[2]) not in content


def test_half_weights_are_stored_and_widened(stages_onnx: ExportReport, cells: CORUN) -> None:
    graph = onnx.load(stages_onnx.path).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = {f"network.{name}": value for name, value in cells.named_parameters()}
    large = [name for name, value in weights.items() if value.numel() >= 64]
    used = [stored[name] for name in (f"{name}.float16" for name in large) if name in stored]
    assert len(used) > len(large) / 2
    assert set(used) == {onnx.TensorProto.FLOAT16}
    assert not set(large) & set(stored)
    inputs = {value.type.tensor_type.elem_type for value in graph.input}
    assert inputs == {onnx.TensorProto.FLOAT}


def test_the_example_clears_a_photo(
    whole_onnx: ExportReport, photos: Path, tmp_path: Path, cells: CORUN
) -> None:
    example = runpy.run_path(str(EXAMPLES / "onnx_runtime.py"))
    example["main"](whole_onnx.path, photos / "0.png", tmp_path / "clear.png")
    with Image.open(photos / "0.png") as image:
        hazy = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    with Image.open(tmp_path / "clear.png") as image:
        clear = np.asarray(image)
    with torch.no_grad():
        scene = cells.explained(hazy).scene[0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(clear / 255 - scene).max() <= 0.51 / 255


@torch.no_grad()
def test_the_stages_as_a_torch_program(cells: CORUN, tmp_path: Path) -> None:
    report = export_model(
        cells, tmp_path / "stages.pt2", format="torch-export", part="stages", precision="float16"
    )
    assert report.opset is None
    extra = {"corun.json": ""}
    program = torch.export.load(report.path, extra_files=extra)
    assert json.loads(extra["corun.json"]) == report.facts
    assert {weight.dtype for weight in program.state_dict.values()} == {torch.float16}
    for size in [(1, 4, 4), (2, 8, 60)]:
        working = pictures(*size)
        for result, wanted in zip(program.module()(working), cells.maps(working), strict=True):
            torch.testing.assert_close(result, wanted, atol=GREATEST["float16"], rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells", "plain"])
@torch.no_grad()
def test_the_whole_as_a_torch_program(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    network: CORUN = request.getfixturevalue(name)
    export_model(network, tmp_path / "whole.pt2", format="torch-export")
    module = torch.export.load(tmp_path / "whole.pt2").module()
    for size in SIZES:
        hazy = pictures(*size)
        expected = network.explained(hazy)
        scene, transmission, airlight = module(hazy)
        torch.testing.assert_close(scene, expected.scene.clamp(0, 1), atol=2e-5, rtol=0)
        torch.testing.assert_close(transmission, expected.transmission, atol=2e-5, rtol=0)
        torch.testing.assert_close(airlight, expected.airlight, atol=2e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["whole", "stages"])
@torch.no_grad()
def test_a_network_without_a_step_at_full_size_gives_its_scene(
    plain: CORUN, part: str, tmp_path: Path
) -> None:
    report = export_model(plain, tmp_path / "plain.onnx", part=part)
    name, sizes = ("hazy", SIZES) if part == "whole" else ("working", [(1, 2, 2), (2, 12, 38)])
    for size in sizes:
        hazy = pictures(*size)
        results = run(report.path, name, hazy)
        assert list(results) == ["scene", "transmission", "airlight"]
        expected = plain.explained(hazy)
        np.testing.assert_allclose(results["scene"], expected.scene.clamp(0, 1), atol=2e-5)
        np.testing.assert_allclose(results["transmission"], expected.transmission, atol=2e-5)
        np.testing.assert_allclose(results["airlight"], expected.airlight, atol=2e-5)


@pytest.mark.slow
def test_eight_bits_are_calibrated_on_photos_and_only_for_the_last_scene_prior(
    photos: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    small = CorunConfig(
        stages=2, dim=4, levels=1, ffn_expansion=1, transmission_step="least_squares", cell=2
    )
    network = CORUN(small).eval().requires_grad_(False)
    report = export_model(network, tmp_path / "int8.onnx", precision="int8", photos=photos)
    assert facts_of(report.path)["precision"] == "int8"
    assert all(found.scene_mean <= 1 / 255 for found in report.differences.values())
    beside = report.scores["brightness"]
    assert beside.exported == pytest.approx(beside.reference, abs=1 / 255)
    assert run(report.path, "hazy", pictures(1, 33, 51))["scene"].shape == (1, 3, 33, 51)
    convolutions = [n for n in onnx.load(report.path).graph.node if n.op_type == "Conv"]
    in_float, in_eight_bits = (
        {n.input[1].rpartition("unfolding.")[2] for n in convolutions if wanted is is_eight(n)}
        for wanted in (False, True)
    )
    assert not any(name.startswith("0.scene_prior") for name in in_eight_bits)
    assert any(name.startswith("0.scene_prior.bottleneck.ffn") for name in in_float)
    assert {name[:3] for name in in_eight_bits} >= {"0.t", "1.s"}


def is_eight(convolution: onnx.NodeProto) -> bool:
    return "Dequantize" in convolution.input[1]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openvino") is None, reason="needs the extra openvino")
@pytest.mark.parametrize("precision", ["float32", "float16"])
@torch.no_grad()
def test_openvino_runs_it_at_any_size(
    cells: CORUN, weights: Path, precision: str, tmp_path: Path
) -> None:
    import openvino

    report = export_model(weights, tmp_path / "m.xml", format="openvino", precision=precision)
    assert {path.name for path in tmp_path.iterdir()} == {"m.xml", "m.bin"}
    core = openvino.Core()
    model = core.read_model(tmp_path / "m.xml")
    assert json.loads(model.get_rt_info(["corun"]).value) == report.facts
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in SIZES:
        hazy = pictures(*size)
        scene = compiled({"hazy": hazy.numpy()})["scene"]
        expected = cells.explained(hazy).scene.clamp(0, 1)
        np.testing.assert_allclose(scene, expected, atol=GREATEST[precision])
