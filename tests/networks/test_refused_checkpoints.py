"""Weights that are damaged, hostile or another program's are refused in one line."""

import json
import random
import re
from pathlib import Path

import pytest
import torch
from published_weights import published_names
from safetensors.torch import load_file, save_file

from corun.errors import WeightsError
from corun.networks.checkpoints import (
    load_network,
    save_network,
    write_safetensors,
)
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.training.checkpoint import load_checkpoint

TINY = CorunConfig(stages=3, dim=4, levels=1, ffn_expansion=2)


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
