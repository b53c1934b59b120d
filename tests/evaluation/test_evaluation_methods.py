"""Each kind of method makes an 8-bit RGB PNG of the input's size, or says why not."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from PIL import Image

from corun.errors import ConfigurationError, ImageFileError, WeightsError
from corun.evaluation import methods
from corun.evaluation.methods import parse_method, run_method
from corun.networks.checkpoints import save_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig


@pytest.fixture
def hazy(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    return save_levels(tmp_path / "in put.png", rng.integers(90, 200, (17, 23, 3)).astype(np.uint8))


def result_of(text: str, hazy: Path, tmp_path: Path) -> np.ndarray:
    target = tmp_path / "out" / "r.png"
    run_method(parse_method(text), hazy, target)
    with Image.open(target) as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image)
    assert [path.name for path in target.parent.iterdir()] == ["r.png"]
    return pixels


def test_the_input_itself(hazy: Path, tmp_path: Path) -> None:
    with Image.open(hazy) as image:
        assert (result_of("input", hazy, tmp_path) == np.asarray(image)).all()


def test_the_classical_baseline(hazy: Path, tmp_path: Path) -> None:
    assert result_of("DCP 2009=dcp", hazy, tmp_path).shape == (17, 23, 3)


def test_weights_of_ours(hazy: Path, tmp_path: Path) -> None:
    network = CORUN(CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1))
    save_network(tmp_path / "w.safetensors", network)
    method = parse_method(str(tmp_path / "w.safetensors"))
    assert method.label == "w"
    assert len(method.checksum) == 64
    assert result_of(str(tmp_path / "w.safetensors"), hazy, tmp_path).shape == (17, 23, 3)


def test_an_onnx_file(hazy: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, 3, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["hazy", "half"], ["clear"])],
        "half",
        [helper.make_tensor_value_info("hazy", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("clear", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32(0.5), "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "half.onnx")
    with Image.open(hazy) as image:
        expected = np.asarray(image) / 2
    assert np.abs(result_of(str(tmp_path / "half.onnx"), hazy, tmp_path) - expected).max() <= 0.5


def test_a_shell_command(hazy: Path, tmp_path: Path) -> None:
    script = "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2])"
    command = f"command:{shlex.quote(sys.executable)} -c {shlex.quote(script)} {{input}} {{output}}"
    assert result_of(command, hazy, tmp_path).shape == (17, 23, 3)


def test_a_command_that_fails_says_what_it_said(hazy: Path, tmp_path: Path) -> None:
    failing = parse_method("x=command:echo no memory >&2; false {input} {output}")
    with pytest.raises(ImageFileError, match=r"status 1 \(no memory\)"):
        run_method(failing, hazy, tmp_path / "r.png")
    silent = parse_method("x=command:true {input} {output}")
    with pytest.raises(ImageFileError, match=r"wrote no \{output\} file"):
        run_method(silent, hazy, tmp_path / "r.png")


@pytest.mark.parametrize("text", ["dcp", "weights", "input"])
def test_a_fingerprint_changes_with_the_code(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text == "weights":
        save_network(
            tmp_path / "w.safetensors",
            CORUN(CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)),
        )
        text, engine = str(tmp_path / "w.safetensors"), "network"
    else:
        engine = text
    before = parse_method(text).fingerprint
    assert parse_method(text).fingerprint == before
    monkeypatch.setitem(methods.RESULT_VERSIONS, engine, 99)
    fixed = parse_method(text).fingerprint
    assert fixed != before
    monkeypatch.setattr(methods, "version", lambda package: "99.0")
    assert (parse_method(text).fingerprint != fixed) == (engine != "input")


def test_long_texts_are_no_file_names() -> None:
    long = "x" * 300
    with pytest.raises(ConfigurationError, match="no method; give"):
        parse_method(long)
    command = f"command:convert {{input}} {long} {{output}}"
    assert parse_method(command).kind == "command"
    assert parse_method("c=" + command).label == "c"


def test_what_is_no_method(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give corun-lite"):
        parse_method("nothing-of-that-name")
    with pytest.raises(ConfigurationError, match="needs both"):
        parse_method("command:convert {input}")
    with pytest.raises(ConfigurationError, match="write LABEL=SOURCE"):
        parse_method("ours=")
    (tmp_path / "w.pth").write_text("nothing")
    broken = parse_method(str(tmp_path / "w.pth"))
    with pytest.raises(WeightsError):
        run_method(
            broken,
            save_levels(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8)),
            tmp_path / "r.png",
        )


def test_a_folder_of_results_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    method = parse_method(str(tmp_path / "theirs"))
    assert (method.kind, method.label) == ("folder", "theirs")
    assert parse_method(f"RIDCP (2023)={tmp_path}").source == str(tmp_path)
