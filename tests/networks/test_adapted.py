"""Files of adapted networks: what they say of their network, and whose code they run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from corun.errors import WeightsError
from corun.networks.adapted import code_digest, load_any, save_adapted
from corun.networks.brought import open_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.plain_unet import PlainUNet

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, hazy):
        assert hazy.shape[-1] % 4 == 0 and hazy.shape[-2] % 4 == 0
        return {"coarse": hazy, "fine": hazy * self.gain}

def factory(gain=1.0):
    return Net(gain)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on the import path that nobody has imported; its name."""
    (tmp_path / "their_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_network", raising=False)
    return "their_network"


def adapted(tmp_path: Path, specification: str) -> Path:
    """A file of a network that needs sides of 4, and values in [-1,1], and returns two pictures."""
    made: dict[str, Any] = {"value_range": (-1.0, 1.0), "multiple": 4, "output": "fine"}
    network = open_network(specification, arguments={"gain": 0.5}, **made)
    path = tmp_path / "adapted.safetensors"
    save_adapted(path, network, {"steps": 3}, specification, {"gain": 0.5})
    sys.modules.pop("their_network", None)
    return path


@pytest.mark.parametrize("name", ["Net", "factory"])
def test_the_file_alone_says_how_the_network_is_made(
    module: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = adapted(tmp_path, f"{module}:{name}")
    with pytest.raises(WeightsError, match=rf"{path}: .*{module}:{name}\(gain=0.5\).*--trust"):
        load_any(path)
    assert module not in sys.modules  # named before it is imported
    assert capsys.readouterr().err == ""
    loaded = load_any(path, trust=True)
    assert capsys.readouterr().err == f"note: {path}: runs {module}:{name}(gain=0.5)\n"
    assert loaded.metadata["steps"] == 3
    assert loaded.file == path
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())
    hazy = torch.rand(2, 3, 6, 7)
    torch.testing.assert_close(loaded.network(hazy).scene, (0.5 * (2 * hazy - 1) + 1) / 2)


def test_built_in_networks_and_ours_need_no_trust(tmp_path: Path) -> None:
    network = PlainUNet(dim=4, levels=1)
    path = tmp_path / "plain.safetensors"
    save_adapted(path, network, {}, "plain-unet", {"dim": 4, "levels": 1})
    hazy = torch.rand(1, 3, 9, 11)
    torch.testing.assert_close(load_any(path).network(hazy), network(hazy))
    save_adapted(path, CORUN(CorunConfig(stages=1, dim=4, levels=1)), {}, "ignored")
    assert isinstance(load_any(path).network, CORUN)


def header(path: Path, **changed: Any) -> Path:
    content = {"architecture": "their_network:Net", "network": {}, **changed}
    save_file({"gain": torch.tensor(2.0)}, path, {"corun": json.dumps(content)})
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "os:system"}, r"names os:system\(command='true'\).*part of Python"),
        ({"architecture": "subprocess:run"}, "part of Python"),
        ({"architecture": "Newer-Network"}, "'Newer-Network', which this version does not know"),
        ({"architecture": "no_such_module:Net"}, "no_such_module:Net: cannot be imported.*PYTHON"),
        ({"architecture": "their_network:Gone"}, "their_network:Gone: cannot be imported"),
        ({"architecture": "their_network:torch"}, "not a class"),
        ({"network": {"arguments": {"depth": 3}}}, "arguments do not fit"),
        ({"network": {"arguments": [1]}}, "what it says of its network is damaged"),
        ({"network": {"range": [0, "1"]}}, "what it says of its network is damaged"),
        ({"network": {"multiple": 0}}, "what it says of its network is damaged"),
        ({"network": {"multiple": 10**9}}, "what it says of its network is damaged"),
        ({"network": {"hook": "x"}}, "of a newer version"),
        ({"network": 3}, "what it says of its network is damaged"),
    ],
)
def test_files_that_lead_nowhere(
    module: str, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    if changed.get("architecture") == "os:system":
        changed = {**changed, "network": {"arguments": {"command": "true"}}}
    path = header(tmp_path / "w.safetensors", **changed)
    with pytest.raises(WeightsError, match=message) as told:
        load_any(path, trust=True)
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)


def test_other_weights_and_broken_code_are_told(module: str, tmp_path: Path) -> None:
    path = header(tmp_path / "w.safetensors")
    save_file(
        {"other": torch.tensor(2.0)}, path, {"corun": '{"architecture": "their_network:Net"}'}
    )
    with pytest.raises(WeightsError, match=r"w\.safetensors: not the weights of Net"):
        load_any(path, trust=True)
    (tmp_path / "broken_network.py").write_text("def half(:\n")
    path = header(tmp_path / "w.safetensors", architecture="broken_network:Net")
    with pytest.raises(WeightsError, match="broken_network:Net: cannot be imported"):
        load_any(path, trust=True)


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = header(tmp_path / "w.safetensors", network={"arguments": {"\x1b[2J": "\u202e"}})
    with pytest.raises(WeightsError) as told:
        load_any(path)
    assert "\x1b" not in str(told.value)
    assert "\u202e" not in str(told.value)


def test_changed_code_is_told_from_what_it_was(module: str, tmp_path: Path) -> None:
    path = header(tmp_path / "w.safetensors")
    before = code_digest(path)
    assert len(before) == 64
    (tmp_path / "their_network.py").write_text(MODULE + "# changed\n")
    assert code_digest(path) not in ("", before)
    assert code_digest(header(tmp_path / "w.safetensors", architecture="CORUN")) == ""
    assert code_digest(header(tmp_path / "w.safetensors", architecture="no_such:Net")) == ""


@pytest.mark.parametrize("marker", ["__init__.py", None])
def test_the_digest_of_a_module_in_packages_imports_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str | None
) -> None:
    inner = tmp_path / "their_package" / "inner"
    inner.mkdir(parents=True)
    (inner / "network.py").write_text(MODULE)
    if marker is not None:
        for folder in (inner, inner.parent):
            (folder / marker).write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = header(tmp_path / "w.safetensors", architecture="their_package.inner.network:Net")
    before = code_digest(path)
    (inner / "network.py").write_text(MODULE + "# changed\n")
    assert len(before) == 64
    assert code_digest(path) not in ("", before)
    assert not [name for name in sys.modules if name.startswith("their_package")]
