"""Models from and to the Hub: addresses, revisions, checksums, offline; and local folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub, running_hub
from PIL import Image

import corun
from corun.errors import WeightsError
from corun.networks.corun_config import CorunConfig
from corun.networks.files import HubFile, network_file
from corun.networks.hub import model_card, write_folder

TINY = CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    corun.CORUN(TINY).save_pretrained(tmp_path / "tiny", name="tiny", licence="MIT")
    return tmp_path / "tiny"


def run(hub: FakeHub, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which finds the fake where the Hub would be."""
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_test",
        "CORUN_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1", **more,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "corun", *arguments],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://a/b", HubFile("a/b")),
        ("a/b@v1", HubFile("a/b", revision="v1")),
        ("hf://a/b/c/d.pth", HubFile("a/b", "c/d.pth")),
        ("hf://a/b@main/d.onnx", HubFile("a/b", "d.onnx", "main")),
    ],
)
def test_addresses(text: str, expected: HubFile) -> None:
    assert HubFile.parse(text) == expected


@pytest.mark.parametrize("text", ["hf://a", "hf://a/", "hf://a/b@", "hf://", "hf:///b"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(WeightsError, match="expected hf://owner/name"):
        network_file(text)


def test_a_folder_is_a_model(tiny: Path) -> None:
    network = corun.CORUN.from_pretrained(tiny)
    assert network.config == TINY
    assert not network.training
    card = json.loads((tiny / "corun.json").read_text())
    assert card["licence"] == "MIT"
    assert 'license: "mit"' in (tiny / "README.md").read_text()
    picture = torch.rand(1, 3, 8, 8)
    same = corun.CORUN.from_pretrained(tiny / "model.safetensors")
    torch.testing.assert_close(network(picture).scene, same(picture).scene)
    assert isinstance(corun.CORUN.from_pretrained("corun-lite"), corun.CORUN)


def test_the_card_of_the_shipped_weights(tmp_path: Path) -> None:
    write_folder("corun-lite", tmp_path)
    text = (tmp_path / "README.md").read_text()
    card = json.loads((tmp_path / "corun.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.safetensors", "model.onnx", "corun.json", "README.md",
    }  # fmt: skip
    assert card["sha256"] in text
    assert card["data_terms"] in text
    assert text.startswith('---\nlicense: "apache-2.0"\n')
    assert text == model_card(card)


@pytest.mark.parametrize("model", ["dcp", "corun-base", "README.md"])
def test_what_has_no_weights_of_ours(tmp_path: Path, model: str) -> None:
    (tmp_path / "README.md").write_text("no weights")
    name = str(tmp_path / model) if model.endswith(".md") else model
    with pytest.raises(WeightsError) as error:
        write_folder(name, tmp_path / "out")
    assert model in str(error.value)


def test_push_get_list_and_load(hub: FakeHub, tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    weights = str(tiny / "model.safetensors")
    first = run(hub, home, "models", "push", weights, "me/tiny")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"hf://me/tiny@{hub.commit('me/tiny')}\n"
    assert set(hub.repositories["me/tiny"][0]) == {"model.safetensors", "corun.json", "README.md"}
    again = {**hub.repositories["me/tiny"][0], "corun.json": b"{}"}
    hub.repositories["me/tiny"].append(again)

    old = run(hub, home, "models", "get", "me/tiny@v1/corun.json", "-o", str(tmp_path / "card"))
    assert old.returncode == 0, old.stderr
    assert (tmp_path / "card").read_bytes() != b"{}"
    new = run(hub, home, "models", "get", "hf://me/tiny/corun.json")
    assert Path(new.stdout.strip()).read_bytes() == b"{}"
    assert str(home) in new.stdout
    listed = run(hub, home, "models", "list", "--remote")
    assert listed.stdout == f"hf://me/tiny@{hub.commit('me/tiny')[:8]}  7 downloads\n"

    code = "import corun; print(corun.CORUN.from_pretrained('me/tiny', revision='v1').config.dim)"
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "CORUN_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert loaded.stdout == "4\n", loaded.stderr

    asked = len(hub.asked)
    kept = run(hub, home, "--offline", "models", "get", "me/tiny/corun.json")
    assert kept.stdout == new.stdout
    lacking = run(hub, home, "--offline", "models", "get", "me/tiny/README.md")
    assert lacking.returncode == 1
    assert lacking.stderr.count("\n") == 1
    assert "it was not fetched before" in lacking.stderr
    assert len(hub.asked) == asked


def test_a_damaged_download_is_not_used(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["me/damaged"] = [{"model.safetensors": b"weights"}]
    hub.damaged.add("model.safetensors")
    damaged = run(hub, tmp_path, "models", "get", "me/damaged")
    assert damaged.returncode == 1
    assert "the checksum is not the Hub's" in damaged.stderr
    assert damaged.stderr.count("\n") == 1
    hub.damaged.clear()
    sound = run(hub, tmp_path, "models", "get", "me/damaged")
    assert Path(sound.stdout.strip()).read_bytes() == b"weights"


def test_what_the_hub_refuses(hub: FakeHub, tiny: Path, tmp_path: Path) -> None:
    gone = run(hub, tmp_path, "models", "get", "me/gone")
    assert gone.returncode == 1
    assert gone.stderr.startswith("corun: hf://me/gone/model.safetensors: cannot be fetched (")
    assert gone.stderr.count("\n") == 1
    nobody = run(
        hub, tmp_path, "models", "push", str(tiny), "me/t", HF_TOKEN="", HF_HOME=str(tmp_path)
    )
    assert nobody.returncode == 1
    assert "log in with `hf auth login`" in nobody.stderr
    assert nobody.stderr.count("\n") == 1


LIGHT = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is not installed", name="torch")

sys.meta_path.insert(0, NoTorch())
from corun.__main__ import main
main()
"""


def run_light(hub: FakeHub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where torch is not installed."""
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "CORUN_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_without_torch_the_graph_of_a_repository_is_taken(hub: FakeHub, tmp_path: Path) -> None:
    write_folder("corun-lite", tmp_path / "lite")
    files = {path.name: path.read_bytes() for path in (tmp_path / "lite").iterdir()}
    graph, card = files.pop("model.onnx"), json.loads(files.pop("corun.json"))
    assert card["graph"] == "model.onnx"
    named = {"corun.json": json.dumps({**card, "graph": "lite-8.onnx"}).encode()}
    hub.repositories["me/named"] = [{**files, **named, "lite-8.onnx": graph}]
    hub.repositories["me/plain"] = [{**files, "model.onnx": graph}]  # without a card
    outside = {"corun.json": b'{"graph": "../../secret.onnx"}'}
    hub.repositories["me/outside"] = [{**files, **outside, "model.onnx": graph}]
    hub.repositories["me/weights"] = [files]
    photo = tmp_path / "photo.png"
    Image.new("RGB", (32, 24), (200, 180, 160)).save(photo)
    words = ("dehaze", str(photo), "--overwrite", "-o", str(tmp_path / "clear.png"), "--model")
    before = len(hub.asked)
    for name in ("named", "plain", "outside"):
        done = run_light(hub, tmp_path / "home", *words, f"hf://me/{name}")
        assert done.returncode == 0, done.stderr
    assert not any(path.endswith("model.safetensors") for path in hub.asked[before:])
    done = run_light(hub, tmp_path / "home", *words, str(tmp_path / "lite"))
    assert done.returncode == 0, done.stderr
    lacking = run_light(hub, tmp_path / "home", *words, "hf://me/weights")
    assert lacking.returncode == 1
    assert lacking.stderr.count("\n") == 1
    assert lacking.stderr.startswith("corun: hf://me/weights: has no graph (model.onnx), and its")
    assert "pip install 'corun-dehaze[torch]'" in lacking.stderr
    weights = run_light(hub, tmp_path / "home", *words, "hf://me/plain/model.safetensors")
    assert weights.returncode == 1
    assert "needs torch" in weights.stderr


@pytest.mark.slow  # huggingface_hub tries for half a minute
def test_a_hub_that_is_not_there(hub: FakeHub, tmp_path: Path) -> None:
    away = run(hub, tmp_path, "models", "list", "--remote", HF_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 1
    assert "cannot be had from the Hub" in away.stderr.splitlines()[-1]
