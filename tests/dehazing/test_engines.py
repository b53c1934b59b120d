"""Every engine gives the same picture, says what is wrong in one line, and needs no torch."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import corun
from corun.data.scenes import render
from corun.dehazing import devices
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.engines.graph_facts import MAPS_NAMES, SCENE_NAMES, GraphFacts
from corun.dehazing.engines.onnx import OnnxEngine
from corun.dehazing.engines.protocol import MapsAnswer
from corun.dehazing.loading import load
from corun.errors import CorunError, DeviceError, NetworkOutputError, WeightsError
from corun.files import checksum
from corun.networks.checkpoints import load_network
from corun.networks.registry import LITE_CONFIG, MODELS, graph_path, weights_path

onnx = pytest.importorskip("onnx")

WITHOUT_TORCH = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is forbidden here", name=name)

sys.meta_path.insert(0, Forbidden())
"""


def hazy_scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A rendered scene in haze, uint8 RGB."""
    scene = render(seed, height, width)
    t = np.exp(-3 * scene.depth)[:, :, None]
    return np.rint(255 * (scene.clean * t + np.float32(0.85) * (1 - t))).astype(np.uint8)


def without_torch(code: str, folder: Path) -> str:
    """What a process prints in which importing torch raises."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + code], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_light_commands_and_calls_run_where_torch_is_forbidden(tmp_path: Path) -> None:
    Image.fromarray(hazy_scene(60, 80)).save(tmp_path / "hazy.png")
    said = without_torch(
        """
from corun.apps.cli import app

def command(*words):
    try:
        app(list(words), prog_name="corun")
    except SystemExit as end:
        assert not end.code, words

command("--help")
command("dehaze", "hazy.png", "--save-transmission")
command("dehaze", "hazy.png", "--model", "dcp", "-o", "dcp.png")
command("demo", "-o", "demo", "--width", "64", "--height", "40")
command("models")

import corun, io
import numpy as np
from PIL import Image

content = open("hazy.png", "rb").read()
picture = Image.open("hazy.png")
results = [
    corun.dehaze(given).image
    for given in ("hazy.png", content, io.BytesIO(content), picture, np.asarray(picture))
]
assert all(np.array_equal(np.asarray(results[0]), np.asarray(one)) for one in results)
for given in ("own.safetensors", "published.pth"):
    open(given, "wb").close()
    try:
        corun.load(given)
    except corun.errors.CorunError as error:
        print(error)
""",
        tmp_path,
    )
    for words in (
        ["models", "info", "corun-lite"],
        ["train", "pretrain", "--config", "hazy.png"],
        ["export", "corun-lite", "-o", "lite.onnx"],
        ["config", "keys"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"{WITHOUT_TORCH}\nsys.argv[1:] = {words!r}\n"
             "from corun.apps.cli import main\nmain()"],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1, (words, done.stderr)
        assert done.stderr.splitlines() == [
            "corun: torch is not installed; install it with: pip install 'corun-dehaze[torch]'"
        ], words
    assert said.count("pip install 'corun-dehaze[torch]'") == 2
    assert (tmp_path / "hazy.dehazed.png").is_file()
    assert (tmp_path / "hazy.transmission.png").is_file()


def test_a_photo_imports_no_torch_where_it_is_installed(tmp_path: Path) -> None:
    Image.fromarray(hazy_scene(60, 80)).save(tmp_path / "hazy.png")
    code = (
        "import sys, corun\ncorun.load(device='cpu')('hazy.png').save('clear.png')\n"
        "print([name for name in ('torch', 'pydantic', 'rich', 'typer') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "[]"


def engines() -> dict[str, Dehazer]:
    found = {name: load("corun-lite", engine=name, device="cpu") for name in ("onnx", "torch")}
    with contextlib.suppress(CorunError):
        found["openvino"] = load("corun-lite", engine="openvino")
    return found


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (1, 1), (500, 800)], ids=str)
def test_all_engines_give_the_same_picture(size: tuple[int, int]) -> None:
    # What cells lose of a uniform picture is rounding alone, which attention normalises.
    atol = 1e-3 if size == (1, 1) else 1e-4
    picture = hazy_scene(*size)
    results = {name: dehazer(picture) for name, dehazer in engines().items()}
    expected = results["torch"]
    for result in results.values():
        assert np.abs(result.image.astype(int) - expected.image).max() <= 1
        np.testing.assert_allclose(result.transmission, expected.transmission, atol=atol)
        np.testing.assert_allclose(result.airlight, expected.airlight, atol=atol)


@pytest.mark.slow
def test_all_engines_give_the_same_picture_of_photos(shared: Path) -> None:
    found = engines()
    for path in sorted((shared / "data" / "fattal").iterdir())[::3]:
        photo = np.asarray(Image.open(path).convert("RGB"))
        expected = found["torch"](photo).image.astype(int)
        for name in found:
            assert np.abs(found[name](photo).image - expected).max() <= 1, (path.name, name)


def test_the_shipped_graph_is_the_export_of_the_shipped_weights() -> None:
    card = MODELS["corun-lite"]
    graph, weights = graph_path(card), weights_path(card)
    assert graph is not None
    assert weights is not None
    assert graph.stat().st_size <= 6_000_000
    model = onnx.load(graph)
    facts = json.loads({p.key: p.value for p in model.metadata_props}["corun"])
    assert facts["sha256"] == checksum(weights)
    assert (facts["part"], facts["precision"]) == ("stages", "float16")
    batch = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    answer = OnnxEngine(graph).run(batch)
    with torch.no_grad():
        expected = load_network("corun-lite").network.maps(torch.from_numpy(batch))
    assert isinstance(answer, MapsAnswer)
    for got, wanted in zip(answer, expected, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)


def test_a_batch_is_as_good_as_one_by_one_and_threads_do_not_mix() -> None:
    dehazer = load("corun-lite", device="cpu")
    pictures = [hazy_scene(48, 64, seed) for seed in range(4)]
    one_by_one = [dehazer(picture).image for picture in pictures]
    maps = dehazer.maps(pictures)
    for picture, found, expected in zip(pictures, maps, one_by_one, strict=True):
        assert np.abs(dehazer.apply(picture, found).astype(int) - expected).max() <= 1
    results: dict[int, Any] = {}

    def work(index: int) -> None:
        for _ in range(3):
            results[index] = dehazer(pictures[index]).image

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(results[i], one_by_one[i]) for i in range(4))


def graph(path: Path, inputs: int = 1, scale: int = 1) -> Path:
    """A graph of another program: the picture halved, or of another size."""
    from onnx import TensorProto, helper

    shape = ["b", 3, "h", "w"]
    values = [
        helper.make_tensor_value_info(f"in{i}", TensorProto.FLOAT, shape) for i in range(inputs)
    ]
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    nodes = [helper.make_node("Mul", ["in0", "half"], ["scaled"])]
    if scale > 1:
        nodes.append(helper.make_node("Slice", ["scaled", "s", "e", "a"], ["out"]))
    else:
        nodes.append(helper.make_node("Identity", ["scaled"], ["out"]))
    constants = [half] + [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("s", 0), ("e", 5), ("a", 2))
    ]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["b", 3, "h2", "w"])
    made = helper.make_graph(nodes, "g", values, [out], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_of_another_program_runs_if_it_keeps_the_size(tmp_path: Path) -> None:
    picture = hazy_scene(20, 30)
    result = load(graph(tmp_path / "half.onnx"))(picture)
    assert np.abs(result.image.astype(float) - picture / 2).max() <= 0.5
    assert result.transmission is None
    with pytest.raises(NetworkOutputError, match="must return a clear batch"):
        load(graph(tmp_path / "small.onnx", scale=2))(picture)


def test_what_is_no_graph_of_a_picture_is_refused_by_name(tmp_path: Path) -> None:
    shipped = graph_path(MODELS["corun-lite"])
    assert shipped is not None
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(shipped.read_bytes()[:100_000])
    two = graph(tmp_path / "two.onnx", inputs=2)
    text = tmp_path / "text.onnx"
    text.write_text("<html>")
    for path, message in ((cut, "damaged"), (two, "2 inputs"), (text, "web page")):
        with pytest.raises(WeightsError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for given, options, message in (
        ("corun-lite", {"engine": "onnx", "device": "cuda"}, "ONNX Runtime has"),
        ("corun-lite", {"engine": "onnx", "dtype": "bfloat16"}, "float32"),
        ("corun-lite", {"threads": 0}, "at least 1"),
        (two, {"engine": "torch"}, "--engine onnx"),
        ("dcp", {"device": "cuda"}, "runs on the CPU"),
    ):
        with pytest.raises(CorunError, match=message):
            load(given, **options)


class Failing:
    """A session that behaves as one whose device is lost."""

    def run(self, *arguments: Any) -> None:
        raise RuntimeError("CUDA error: device lost\nmore lines")


def test_a_device_that_fails_is_left_for_the_cpu_and_that_is_said_once() -> None:
    dehazer = load("corun-lite", engine="onnx")
    engine = dehazer.engine
    assert isinstance(engine, OnnxEngine)
    picture = Image.fromarray(hazy_scene(48, 64))
    expected = np.asarray(dehazer(picture).image)
    engine._session, engine._device = Failing(), "cuda"
    first, second = dehazer(picture), dehazer(picture)
    assert np.array_equal(np.asarray(first.image), expected)
    assert first.metadata.notes == (
        "cuda failed (CUDA error: device lost more lines); went on with the CPU",
    )
    assert second.metadata.notes == ()
    assert dehazer.device == "cpu"
    engine._session = Failing()
    with pytest.raises(DeviceError, match="device lost"):
        dehazer(picture)


def test_no_more_threads_than_the_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(devices, "CGROUP_QUOTA", quota)
    plain = devices.usable_threads()
    quota.write_text("max 100000\n")
    assert devices.usable_threads() == plain
    quota.write_text("50000 100000\n")
    assert devices.usable_threads() == 1
    assert load("corun-lite", engine="onnx").threads == 1


def test_open_files_and_bytes_are_pictures(tmp_path: Path) -> None:
    with io.BytesIO() as file:
        Image.fromarray(hazy_scene(20, 30)).save(file, "PNG")
        content = file.getvalue()
    result = corun.dehaze(content, "dcp")
    result.save(tmp_path / "clear.png")
    assert result.size == (20, 30)
    with pytest.raises(CorunError, match="the picture"):
        corun.dehaze(b"no picture", "dcp")


@pytest.mark.parametrize("part", ["whole", "stages"])
def test_no_frame_is_kept_from_a_network_that_has_learned_them(part: str) -> None:
    """An exported corun-lite sees the pictures that it sees in torch, whatever comes out of it."""
    said = {
        "name": "lite",
        "part": part,
        "multiple": 16,
        "working_pixels": 307_200,
        "config": LITE_CONFIG.to_dict(),
    }
    outputs = MAPS_NAMES if part == "stages" else SCENE_NAMES
    facts = GraphFacts.read("lite.onnx", json.dumps(said), ["hazy"], outputs)
    assert facts.engine_facts("onnx", "cpu", "float32").learned_frames
    foreign = GraphFacts.read("other.onnx", None, ["in"], ["out"])
    assert not foreign.engine_facts("onnx", "cpu", "float32").learned_frames
