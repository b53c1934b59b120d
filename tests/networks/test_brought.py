"""Any network by specification, and what any network may return."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError, WeightsError
from corun.networks.adapted import load_any, save_adapted
from corun.networks.averaging import WeightAverage
from corun.networks.brought import open_network, open_spandrel, read_state
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.dgun import Dgun
from corun.networks.outputs import NetworkOutputError, read_output


class Brightener(nn.Module):
    """A class of the user's own."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, hazy: Tensor) -> Tensor:
        return hazy * self.gain


class Picky(Brightener):
    """Takes sides that are multiples of 8 and at least 16 only."""

    def forward(self, hazy: Tensor) -> Tensor:
        assert all(side % 8 == 0 and side >= 16 for side in hazy.shape[-2:])
        return super().forward(hazy)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("own_package")
    own.Brightener = Brightener  # type: ignore[attr-defined]
    own.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_package", own)


def test_a_class_by_import_path(module: None, tmp_path: Path) -> None:
    network = open_network("own_package:Brightener", arguments={"gain": 2.0})
    assert torch.equal(network(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 2.0))
    save_adapted(tmp_path / "w.safetensors", network, {"steps": 3}, "own_package:Brightener")
    again = open_network("own_package:Brightener", weights=tmp_path / "w.safetensors")
    assert isinstance(again, Brightener)
    assert float(again.gain.detach()) == 2.0
    assert again.training
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: not the weights of Brightener"):
        open_network("own_package:Brightener", weights=tmp_path / "other.pth")


def test_what_its_author_froze_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfFrozen(Brightener):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Linear(2, 2).requires_grad_(False)

    own = ModuleType("own_package")
    own.HalfFrozen = HalfFrozen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_package", own)
    network = open_network("own_package:HalfFrozen")
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {"gain"}
    assert all(p.requires_grad for p in open_network("plain-unet").parameters())


@pytest.mark.parametrize(
    ("specification", "arguments", "message"),
    [
        ("own_package:Missing", {}, "cannot be imported"),
        ("no_package:Net", {}, "PYTHONPATH"),
        ("own_package:number", {}, "not a class"),
        ("own_package:Brightener", {"shape": 3}, "network.arguments do not fit"),
        ("builtins:dict", {}, "not a torch.nn.Module"),
    ],
)
def test_what_does_not_lead_to_a_network(
    module: None, specification: str, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_network(specification, arguments=arguments)


def test_a_built_in_and_one_of_our_files(tmp_path: Path) -> None:
    assert isinstance(open_network("dgun", arguments={"stages": 1, "dim": 4}), Dgun)
    network = CORUN(CorunConfig(stages=1, dim=4, levels=1))
    save_adapted(tmp_path / "c.safetensors", network, {}, "ignored")
    again = open_network(str(tmp_path / "c.safetensors"))
    assert isinstance(again, CORUN)
    assert all(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("key", [None, "params_ema", "params", "state_dict"])
def test_state_dicts_wherever_they_lie(tmp_path: Path, key: str | None) -> None:
    state = {"module.gain": torch.tensor(3.0)}
    torch.save(state if key is None else {key: state}, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth") == {"gain": torch.tensor(3.0)}


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_state(tmp_path / "absent.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(tmp_path / "list.pth")


class Signed(Brightener):
    """Takes values in [0,1] and gives them in [−1,1]."""

    def forward(self, hazy: Tensor) -> Tensor:
        return super().forward(hazy) * 2 - 1


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in of the same face: spandrel itself needs torchvision. It goes by files' names."""

    class ImageModelDescriptor(SimpleNamespace):
        pass

    class ModelLoader:
        def __init__(self, device: torch.device) -> None:
            self.device = device

        def load_from_file(self, path: Path) -> ImageModelDescriptor:
            if "unknown" in path.name:
                raise ValueError("unsupported\nmany lines")
            picky = "eights" in path.name
            kind = Picky if picky else Signed if "signed" in path.name else Brightener
            return self.described(path, kind)

        def load_from_state_dict(self, state: dict[str, Tensor]) -> ImageModelDescriptor:
            kind = Picky(0.0)
            kind.load_state_dict(state)
            return self.described(Path("eights.pth"), lambda gain: kind)

        def described(self, path: Path, kind: Any) -> ImageModelDescriptor:
            picky = "eights" in path.name
            needs = SimpleNamespace(
                multiple_of=8 if picky else 1, minimum=16 if picky else 0, square=False
            )
            return ImageModelDescriptor(
                model=kind(1.5).requires_grad_(False),
                scale=4 if "4x" in path.name else 1,
                input_channels=1 if "grey" in path.name else 3,
                output_channels=3,
                size_requirements=needs,
                architecture=SimpleNamespace(id="MixDehazeNet" if "mix" in path.name else "Other"),
                _call_fn=lambda model, image: (
                    model(image) * 0.5 + 0.5 if kind is Signed else model(image)
                ),
            )

    stand_in = ModuleType("spandrel")
    stand_in.ImageModelDescriptor = ImageModelDescriptor  # type: ignore[attr-defined]
    stand_in.ModelLoader = ModelLoader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", stand_in)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("4x.pth", "one of the same size"),
        ("grey.pth", "one of the same size"),
        ("unknown.pth", r"does not recognise it \(unsupported\)"),
        ("absent.pth", "no such file"),
    ],
)
def test_what_spandrel_cannot_bring(
    spandrel: None, tmp_path: Path, name: str, message: str
) -> None:
    if name != "absent.pth":
        (tmp_path / name).touch()
    for open_it in (open_spandrel, lambda path: open_network(f"spandrel:{path}")):
        with pytest.raises(WeightsError, match=message):
            open_it(tmp_path / name)


def test_spandrels_networks_are_called_as_spandrel_does(spandrel: None, tmp_path: Path) -> None:
    for name in ("restormer.pth", "signed.pth"):
        (tmp_path / name).touch()
        hazy = torch.rand(2, 3, 5, 6)
        fixed = open_spandrel(tmp_path / name)
        assert not any(p.requires_grad for p in fixed.parameters())
        trained = open_network(f"spandrel:{tmp_path / name}")
        for network in (fixed, trained):
            torch.testing.assert_close(network(hazy).scene, 1.5 * hazy)
        trained(hazy).scene.sum().backward()
        (gain,) = trained.parameters()
        assert float(gain.grad) == pytest.approx(float(hazy.sum()), rel=1e-5)


def test_mixdehazenet_is_called_as_it_was_trained(spandrel: None, tmp_path: Path) -> None:
    """With values in [−1,1]: spandrel halves and shifts what comes out, but not what goes in."""
    (tmp_path / "mix.pth").touch()
    hazy = torch.rand(2, 3, 5, 6)
    scene = open_spandrel(tmp_path / "mix.pth")(hazy).scene
    torch.testing.assert_close(scene, (1.5 * (2 * hazy - 1) + 1) / 2)


def test_spandrels_networks_are_padded(spandrel: None, tmp_path: Path) -> None:
    (tmp_path / "eights.pth").touch()
    padded = open_network(f"spandrel:{tmp_path / 'eights.pth'}")
    for size in ((16, 24), (17, 30), (3, 5), (1, 1)):
        hazy = torch.rand(2, 3, *size)
        torch.testing.assert_close(padded(hazy).scene, 1.5 * hazy)
    teacher = WeightAverage(padded, 0.5, warmup=False)
    teacher.update(padded)
    assert teacher.state_dict().keys() == {"gain", "__updates__"}
    save_adapted(tmp_path / "w.safetensors", padded, {}, "spandrel:eights.pth")
    assert read_state(tmp_path / "w.safetensors").keys() == {"gain"}
    again = open_network(f"spandrel:{tmp_path / 'eights.pth'}", weights=tmp_path / "w.safetensors")
    assert [name for name, _ in again.named_parameters()] == ["network.gain"]
    # The file alone is enough, and spandrel's own code needs no trust.
    alone = load_any(tmp_path / "w.safetensors").network
    torch.testing.assert_close(alone(torch.ones(1, 3, 9, 17)).scene, torch.full((1, 3, 9, 17), 1.5))


def test_a_class_of_another_range(module: None) -> None:
    """Black is −1 to it and white 1, in and out."""
    network = open_network(
        "own_package:Brightener", arguments={"gain": 0.5}, value_range=(-1.0, 1.0)
    )
    hazy = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(network(hazy).scene, (0.5 * (2 * hazy - 1) + 1) / 2)
    assert network.state_dict().keys() == {"gain"}
    for name, limits in (("plain-unet", (-1.0, 1.0)), ("own_package:Brightener", (1.0, 1.0))):
        with pytest.raises(ConfigurationError, match=r"network\.range: .* by import path"):
            open_network(name, value_range=limits)


HAZY = torch.rand(2, 3, 4, 5)
T = torch.rand(2, 1, 4, 5)


@pytest.mark.parametrize(
    ("output", "has_transmission"),
    [
        (HAZY, False),
        ((HAZY, T), True),
        ([HAZY, "notes"], False),
        ({"scene": HAZY, "transmission": T}, True),
        ({"scene": HAZY}, False),
    ],
)
def test_outputs_that_are_understood(output: object, has_transmission: bool) -> None:
    found = read_output(output, HAZY)
    assert found.scene is HAZY
    assert (found.transmission is T) is has_transmission


@pytest.mark.parametrize(
    ("output", "got"),
    [(HAZY[..., :2], r"\(2, 3, 4, 2\)"), (None, "NoneType"), ((), "tuple"), ({"x": HAZY}, "dict")],
)
def test_outputs_that_are_not_say_what_was_got(output: object, got: str) -> None:
    with pytest.raises(NetworkOutputError, match=rf"\(2, 3, 4, 5\).*returned {got}"):
        read_output(output, HAZY)


def test_a_transmission_of_another_shape_is_not_dropped_silently() -> None:
    for wrong in (T.expand(-1, 3, -1, -1), T[..., :2]):
        with pytest.raises(NetworkOutputError, match=r"transmission must have the shape \(2, 1, 4"):
            read_output((HAZY, wrong), HAZY)
        assert read_output((HAZY, wrong), HAZY, strict=False).transmission is None


def test_a_network_without_parameters_cannot_be_trained() -> None:
    with pytest.raises(ConfigurationError, match="dcp: has no parameters to train"):
        open_network("dcp")
