"""Files that say they are graphs of ours and are not: one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corun.dehazing.engines.graph_facts import MAPS_NAMES, SCENE_NAMES, GraphFacts
from corun.dehazing.loading import load
from corun.errors import CorunError, DeviceError, NetworkOutputError, WeightsError
from corun.networks.registry import LITE_CONFIG, MODELS, graph_path

onnx = pytest.importorskip("onnx")

SAID = {
    "name": "lite",
    "part": "stages",
    "multiple": 16,
    "working_pixels": 307_200,
    "config": LITE_CONFIG.to_dict(),
}
PICTURES = np.zeros((1, 3, 32, 48), np.float32)


def one_line(caught: Any, path: Path) -> None:
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def graph(path: Path, shape: list[Any], element: str = "FLOAT", opset: int = 20) -> Path:
    """A graph that returns its input."""
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, element)
    values = [helper.make_tensor_value_info(name, kind, shape) for name in ("in", "out")]
    made = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["out"])], "g", values[:1], values[1:]
    )
    sets = [helper.make_opsetid("", opset)]
    path.write_bytes(helper.make_model(made, opset_imports=sets, ir_version=9).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("shape", "element", "message"),
    [
        ([1, 3, 256, 256], "FLOAT", "takes pictures of 256 x 256 only"),
        (["b", 3, 256, "w"], "FLOAT", "takes pictures of 256 only"),
        (["b", 3, "h", "w"], "UINT8", "no batch of RGB pictures"),
        (["b", 3, "h", "w"], "FLOAT16", "no batch of RGB pictures"),
        (["b", 1, "h", "w"], "FLOAT", "no batch of RGB pictures"),
        (["b", "n"], "FLOAT", "no batch of RGB pictures"),
    ],
)
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_what_takes_no_photo_of_any_size(
    tmp_path: Path, shape: list[Any], element: str, message: str, engine: Any
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    path = graph(tmp_path / "other.onnx", shape, element)
    with pytest.raises(WeightsError, match=message) as caught:
        load(path, engine=engine)
    one_line(caught, path)


def test_what_is_no_graph_at_all(tmp_path: Path) -> None:
    shipped = graph_path(MODELS["corun-lite"])
    assert shipped is not None
    content = shipped.read_bytes()
    cases: dict[str, tuple[bytes | None, str]] = {
        "empty.onnx": (b"", "onnx"),
        "half.onnx": (content[: len(content) // 2], "damaged"),
        "short.onnx": (content[:-1], "damaged"),
        "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs"),
        "page.onnx": (b"<!doctype html><title>Sign in</title>", "web page"),
        "newer.onnx": (
            graph(tmp_path / "n.onnx", ["b", 3, "h", "w"], opset=999).read_bytes(),
            "opset",
        ),
        "folder.onnx": (None, "Is a directory"),
    }
    for name, (given, message) in cases.items():
        path = tmp_path / name
        path.mkdir() if given is None else path.write_bytes(given)
        with pytest.raises(WeightsError, match=message) as caught:
            load(path, device="cpu")
        one_line(caught, path)


def test_openvino_says_that_the_weights_are_missing(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "lite.xml"
    path.write_text("<net/>", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"lite\.bin belongs beside it") as caught:
        load(path)
    one_line(caught, path)


@pytest.mark.parametrize(
    "changed",
    [
        *({"multiple": 0}, {"multiple": -16}, {"multiple": 10**9}, {"multiple": "x"}),
        *({"working_pixels": -1}, {"working_pixels": 1e300}, {"working_pixels": float("inf")}),
        *({"config": {"stages": 10**9}}, {"config": []}, {"config": {"evil": 1}}, {"part": ...}),
    ],
)
def test_facts_that_cannot_be_true(changed: dict[str, Any]) -> None:
    said = {key: value for key, value in {**SAID, **changed}.items() if value is not ...}
    with pytest.raises(WeightsError, match=r"lite\.onnx: what it says about itself is damaged"):
        GraphFacts.read("lite.onnx", json.dumps(said), ["hazy"], MAPS_NAMES)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '"x"', "{}"])
def test_facts_that_are_none(text: str) -> None:
    with pytest.raises(WeightsError, match="damaged"):
        GraphFacts.read("lite.onnx", text, ["hazy"], MAPS_NAMES)


def maps(**changed: tuple[int, ...]) -> list[np.ndarray]:
    shapes = dict(zip(MAPS_NAMES, [(1, 1, 8, 12), (1, 3, 8, 12), (1, 1, 8, 12), (1, 3, 1, 1)]))  # noqa: B905
    return [np.zeros(shape, np.float32) for shape in {**shapes, **changed}.values()]


def test_results_of_other_shapes_are_refused() -> None:
    facts = GraphFacts.read("lite.onnx", json.dumps(SAID), ["hazy"], MAPS_NAMES)
    assert facts.answer(maps(), PICTURES) is not None
    for name, shape in (
        ("gain", (1, 3, 8, 12)),
        ("offset", (1, 3, 4, 12)),
        ("transmission", (2, 1, 8, 12)),
        ("airlight", (1, 3)),
    ):
        with pytest.raises(NetworkOutputError, match=r"where .* belongs"):
            facts.answer(maps(**{name: shape}), PICTURES)
    whole = GraphFacts.read("w.onnx", json.dumps({**SAID, "part": "whole"}), ["hazy"], SCENE_NAMES)
    with pytest.raises(NetworkOutputError, match=r"where .* belongs"):
        whole.answer([PICTURES, PICTURES, np.zeros((1, 3, 1, 1))], PICTURES)
    foreign = GraphFacts.read("f.onnx", None, ["in"], ["out"])
    for result in ([1, [2, 3]], "text", {"a": 1}):
        with pytest.raises(NetworkOutputError, match="no arrays of numbers"):
            foreign.answer([result], PICTURES)


def test_more_threads_than_any_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="at most 1024"):
        load(threads=100_000)


def test_what_goes_wrong_while_opening_is_raised_where_it_is_waited_for(tmp_path: Path) -> None:
    from corun.dehazing.loading import begin_loading

    path = tmp_path / "cut.onnx"
    path.write_bytes(b"cut")
    loading = begin_loading(path, device="cpu")
    for _ in range(2):
        with pytest.raises(CorunError, match=r"cut\.onnx"):
            loading.wait()
