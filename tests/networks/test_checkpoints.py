"""Weights files: ours, the published layout, and everything that is neither."""

import json
import os
import random
import re
from pathlib import Path

import pytest
import torch
from published_weights import published_state
from safetensors.torch import load_file, save_file

from corun.errors import WeightsError
from corun.networks.checkpoints import (
    convert_weights,
    load_network,
    save_network,
    write_safetensors,
)
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.published_layout import our_name, published_name
from corun.training.checkpoint import load_checkpoint

TINY = CorunConfig(stages=3, dim=4, levels=1, ffn_expansion=2)


def published_names(network: CORUN) -> dict[str, torch.Tensor]:
    """A tiny network under published names, by inverting the translation."""
    stages = network.config.stages
    parts = {0: "first", stages - 1: "last", **{k: f"basic.{k - 1}" for k in range(1, stages - 1)}}
    inner = {
        "lam": "trans_prox.step_lambda",
        "gamma": "dehaze_prox.step_lambda",
        "transmission_prior.": "trans_net.",
        "scene_prior.": "dehaze_net.",
        "bottleneck.": "bottleneck.blocks.0.",
        "attention.position_in.": "0.pos_emb.0.",
        "attention.position_out.": "0.pos_emb.2.",
        "attention.": "0.",
        "ffn.expand.": "1.fn.net.0.",
        "ffn.depthwise.": "1.fn.net.2.",
        "ffn.project.": "1.fn.net.4.",
        ".norm.": ".1.norm.",
    }
    result = {}
    for name, tensor in network.state_dict().items():
        _, number, rest = name.split(".", 2)
        rest = re.sub(r"encoder\.(\d+)\.", r"encoder_layers.\1.0.blocks.0.", rest)
        rest = re.sub(r"decoder\.(\d+)\.", r"decoder_layers.\1.2.blocks.0.", rest)
        rest = re.sub(r"down\.(\d+)\.", r"encoder_layers.\1.1.body.0.", rest)
        rest = re.sub(r"up\.(\d+)\.", r"decoder_layers.\1.0.body.0.", rest)
        rest = re.sub(r"fuse\.(\d+)\.", r"decoder_layers.\1.1.", rest)
        for ours, theirs in inner.items():
            if ours in ("lam", "gamma"):
                rest = theirs if rest == ours else rest
            else:
                rest = rest.replace(ours, theirs, 1)
        result[f"{parts[int(number)]}.{rest}"] = tensor
    return result


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


class NotPlain:
    """Something a weights file must not hold."""


def write_pickle(path: Path) -> None:
    torch.save({"params": NotPlain()}, path)


def write_text(path: Path) -> None:
    path.write_text("not weights at all", encoding="utf-8")


def write_other_network(path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, path)


def write_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


def write_empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    "write", [write_pickle, write_text, write_other_network, write_list, write_empty]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_another_kind_are_refused_in_one_line(
    tmp_path: Path,
    write,
    suffix: str,  # type: ignore[no-untyped-def]
) -> None:
    path = tmp_path / f"net{suffix}"
    write(path)
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="header"):
        load_network(tmp_path / "net.safetensors")


def test_unknown_names_list_the_models() -> None:
    with pytest.raises(WeightsError, match="corun-lite"):
        load_network("corun-huge")


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    network = CORUN(TINY)
    with torch.no_grad():
        network.unfolding[0].scene_prior.mapping.weight[0, 0, 0, 0] = torch.nan
    save_network(tmp_path / "net.safetensors", network)
    torch.save(published_names(network), tmp_path / "net.pth")
    names = {"net.safetensors": "unfolding.0.scene_prior.mapping.weight",
             "net.pth": "first.dehaze_net.mapping.weight"}  # fmt: skip
    for file, tensor in names.items():
        with pytest.raises(WeightsError, match=rf"1 with values that are not finite: {tensor}"):
            load_network(tmp_path / file)


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


def write_with_header(path: Path, header: str) -> None:
    save_file(CORUN(TINY).state_dict(), path, {"corun": header})


def config_with(**changes: object) -> str:
    return json.dumps({"architecture": "CORUN", "config": {**TINY.to_dict(), **changes}})


@pytest.mark.parametrize(
    "header",
    [
        "{broken",
        "[" * 100_000,
        "[1]",
        "null",
        '"CORUN"',
        '{"architecture": "CORUN"}',
        '{"architecture": "CORUN", "config": [1]}',
        config_with(cell="x"),
        config_with(cell=None),
        config_with(transmission_step=[]),
        config_with(stages="3"),
        config_with(dim=31),
        config_with(dim=2 * 10**30),
        config_with(dim=2**20),
        config_with(stages=10**9),
        config_with(levels=60),
    ],
    ids=lambda text: text[-40:],
)
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, header: str) -> None:
    path = tmp_path / "net.safetensors"
    write_with_header(path, header)
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def changed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**published_names(CORUN(TINY)), name: tensor}


EXPAND = "first.dehaze_net.bottleneck.blocks.0.1.fn.net.0.weight"
EMBEDDING = "first.dehaze_net.embedding.weight"


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        (EXPAND, torch.zeros(8)),
        (EXPAND, torch.zeros(8, 0, 1, 1)),
        (EMBEDDING, torch.zeros(31, 3, 3, 3)),
        (EMBEDDING, torch.zeros(0, 3, 3, 3)),
        ("first.trans_prox.step_lambda", torch.zeros(1, dtype=torch.complex64)),
        ("first.trans_prox.step_lambda", torch.zeros(1, dtype=torch.int64)),
        ("first.trans_prox.step_lambda", torch.zeros(1).to_sparse()),
    ],
    ids=lambda value: value.replace(".", "_") if isinstance(value, str) else str(value.shape),
)
def test_published_tensors_corun_cannot_have_are_refused(
    tmp_path: Path, name: str, tensor: torch.Tensor
) -> None:
    path = tmp_path / "net.pth"
    torch.save(changed(name, tensor), path)
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_junk_named_pth_is_refused_whatever_it_begins_with(tmp_path: Path) -> None:
    from corun.losses import VggFeatures
    from corun.networks.brought import read_state

    path = tmp_path / "w.pth"
    for start in b"jMJXGr}":  # opcodes of pickle that want more bytes than there are
        path.write_bytes(bytes([start, 1]))
        for read in (load_network, read_state, VggFeatures):
            with pytest.raises(WeightsError, match=r"w\.pth"):
                read(path)


def test_text_named_pth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_text("hello")
    with pytest.raises(WeightsError, match=r"net\.pth: not a (readable|plain) weights file"):
        load_network(path)


def test_a_name_too_long_for_a_file_is_refused() -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load_network("x" * 5000 + ".pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_bytes_load_or_are_refused_and_nothing_else(tmp_path: Path, legacy: bool) -> None:
    """Flipped and cut bytes of the zip and of the older, bare pickle layout."""
    rng = random.Random(int(legacy))
    whole, path = tmp_path / "whole.pth", tmp_path / "net.pth"
    state = {"params": published_names(CORUN(TINY))}
    torch.save(state, whole, _use_new_zipfile_serialization=not legacy)
    content = whole.read_bytes()
    start = 0 if legacy else content.index(b"data.pkl")  # where the structure is, not the numbers
    refused = []
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[min(start + rng.randrange(6000), len(damaged) - 1)] = rng.randrange(256)
        if rng.random() < 0.1:
            del damaged[rng.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        for read in (load_network, load_checkpoint):
            try:
                read(path)
            except WeightsError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert all(str(path) in message and "\n" not in message for message in refused)


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


def test_files_of_version_0_1_load_or_are_refused_by_name(tmp_path: Path) -> None:
    """The hyper-parameters that are gone do not matter where they did nothing."""
    config = CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)
    save_network(tmp_path / "new.safetensors", CORUN(config))
    tensors = load_file(tmp_path / "new.safetensors")
    old = {**config.to_dict(), "prior_downscale": 1, "affine_cell": 0, "affine_noise": 1.5e-5}
    del old["cell"]

    def written(**changes: object) -> Path:
        header = {"architecture": "CORUN", "config": {**old, **changes}}
        path = tmp_path / "old.safetensors"
        write_safetensors(path, tensors, {"corun": json.dumps(header)})
        return path

    assert load_network(written()).network.config == config
    with pytest.raises(
        WeightsError, match=r"old\.safetensors: made by corun 0\.1, whose affine_cell"
    ):
        load_network(written(affine_cell=16))
    with pytest.raises(WeightsError, match=r"prior_downscale no longer.*lite-1-pretrain"):
        load_network(written(prior_downscale=2))


@pytest.mark.parametrize("value", [10**9, 10**30, True, -1])
@pytest.mark.parametrize("key", ["stages", "dim", "levels", "ffn_expansion", "cell",
                                 "working_pixels"])  # fmt: skip
def test_hyper_parameters_that_no_machine_runs_are_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    """working_pixels stands in no tensor: of 1e9, the file loaded and no photo ran."""
    config = CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1, cell=2, working_pixels=4096)
    header = {"architecture": "CORUN", "config": {**config.to_dict(), key: value}}
    path = tmp_path / "odd.safetensors"
    write_safetensors(path, CORUN(config).state_dict(), {"corun": json.dumps(header)})
    with pytest.raises(WeightsError, match=rf"odd\.safetensors: {key} must be a whole number from"):
        load_network(path)
