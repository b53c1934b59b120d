"""Weights files: ours, the published layout, and everything that is neither."""

import json
import os
from pathlib import Path

import pytest
import torch
from published_weights import published_names, published_state

from corun.errors import WeightsError
from corun.networks.checkpoints import (
    convert_weights,
    load_network,
    save_network,
)
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.published_layout import our_name, published_name

TINY = CorunConfig(stages=3, dim=4, levels=1, ffn_expansion=2)


def test_names_translate_both_ways() -> None:
    network = CORUN(TINY)
    translated = {our_name(name, TINY.stages) for name in published_names(network)}
    assert translated == set(network.state_dict())
    back = {published_name(name, TINY.stages) for name in network.state_dict()}
    assert back == set(published_names(network))


def test_full_layout_translates_completely(shared: Path) -> None:
    layout = json.loads((shared / "fixtures" / "official_corun_state_dict.json").read_text())
    with torch.device("meta"):
        expected = {n: tuple(t.shape) for n, t in CORUN().state_dict().items()}
    assert {our_name(n, 4): tuple(s) for n, s in layout.items()} == expected
    assert {published_name(n, 4) for n in expected} == set(layout)


@pytest.mark.parametrize("nesting", ["params_ema", "params", "bare"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_files_load_however_they_are_nested(
    tmp_path: Path, nesting: str, prefix: str
) -> None:
    torch.manual_seed(0)
    network = CORUN(TINY)
    state = {prefix + n: t for n, t in published_names(network).items()}
    torch.save(state if nesting == "bare" else {nesting: state}, tmp_path / "net.pth")
    loaded = load_network(tmp_path / "net.pth").network
    assert loaded.config == CorunConfig(**{**TINY.to_dict(), "transmission_step": "paper"})
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_ema_wins_over_the_raw_weights(tmp_path: Path) -> None:
    ema, raw = CORUN(TINY), CORUN(TINY)
    content = {"params": published_names(raw), "params_ema": published_names(ema)}
    torch.save(content, tmp_path / "net.pth")
    loaded = load_network(tmp_path / "net.pth").network
    assert torch.equal(loaded.unfolding[0].lam, ema.unfolding[0].lam)
    first = "unfolding.0.scene_prior.embedding.weight"
    assert torch.equal(loaded.state_dict()[first], ema.state_dict()[first])


def test_errors_list_missing_unexpected_and_misshaped_tensors(tmp_path: Path) -> None:
    state = published_names(CORUN(TINY))
    del state["last.dehaze_net.mapping.weight"]
    state["last.surprise"] = torch.zeros(1)
    state["first.trans_net.mapping.weight"] = torch.zeros(9, 4, 3, 3)
    torch.save({"params": state}, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        load_network(tmp_path / "net.pth")
    message = str(caught.value)
    assert "net.pth" in message
    assert "1 missing: last.dehaze_net.mapping.weight" in message
    assert "1 unexpected: last.surprise" in message
    assert "first.trans_net.mapping.weight is (9, 4, 3, 3), expected (1, 4, 3, 3)" in message
    assert "\n" not in message


def test_hyper_parameters_travel_inside_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = CorunConfig(
        stages=2, dim=6, levels=2, ffn_expansion=3, cell=2,
        transmission_step="least_squares", working_pixels=4000,
    )  # fmt: skip
    network = CORUN(config).eval()
    save_network(tmp_path / "net.safetensors", network, {"note": "made in a test"})
    loaded = load_network(tmp_path / "net.safetensors")
    assert loaded.network.config == config
    assert loaded.metadata["note"] == "made in a test"
    image = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(image).scene, network(image).scene)


def test_the_network_is_built_once_and_without_memory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(tmp_path / "w.safetensors", CORUN(CorunConfig(stages=2, dim=4, levels=1)))
    built: list[bool] = []
    make = CORUN.__init__

    def counted(self: CORUN, config: CorunConfig | None = None) -> None:
        built.append(torch.empty(0).is_meta)
        make(self, config)

    monkeypatch.setattr(CORUN, "__init__", counted)
    network = load_network(tmp_path / "w.safetensors").network
    assert built == [True]
    places = [p.data_ptr() for p in network.parameters()]
    assert len(set(places)) == len(places)


def test_half_precision_storage_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    network = CORUN(CorunConfig(stages=2, dim=16, levels=1))
    save_network(tmp_path / "full.safetensors", network)
    save_network(tmp_path / "half.safetensors", network, dtype=torch.float16)
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half")]
    assert sizes[1] < 0.62 * sizes[0]
    loaded = load_network(tmp_path / "half.safetensors").network
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_conversion_gives_the_same_network(tmp_path: Path, shared: Path) -> None:
    state = published_state(shared / "fixtures", 3)
    torch.save({"params_ema": state}, tmp_path / "published.pth")
    convert_weights(tmp_path / "published.pth", tmp_path / "ours.safetensors")
    one = load_network(tmp_path / "published.pth").network
    other = load_network(tmp_path / "ours.safetensors").network
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_unknown_names_list_the_models() -> None:
    with pytest.raises(WeightsError, match="corun-lite"):
        load_network("corun-huge")


def test_base_without_weights_says_what_to_do() -> None:
    with pytest.raises(WeightsError, match="convert"):
        load_network("corun-base")


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        os.ftruncate(descriptor, 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match="No space left"):
        save_network(tmp_path / "net.safetensors", CORUN(TINY))
    assert list(tmp_path.iterdir()) == []


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    save_network(tmp_path / "net.safetensors", CORUN(TINY))
    (tmp_path / "other").write_text("")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_name_too_long_for_a_file_is_refused() -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load_network("x" * 5000 + ".pth")


@pytest.mark.parametrize(
    ("measured", "expected"),
    [(None, False), (49.9, False), ("60", False), (50, True), (61.5, True)],
)
def test_bfloat16_needs_a_measurement_of_these_weights(
    tmp_path: Path, measured: object, expected: bool
) -> None:
    metadata = {} if measured is None else {"bfloat16_psnr": measured}
    save_network(tmp_path / "net.safetensors", CORUN(TINY), metadata)
    card = load_network(tmp_path / "net.safetensors").card
    assert card is not None
    assert card.bfloat16_on_cpu is expected
