"""Checkpoints are whole or absent, and a changed byte in one is found."""

import zipfile
from pathlib import Path

import pytest
import torch

from corun.errors import WeightsError
from corun.networks.checkpoints import convert_weights, load_network
from corun.training.checkpoint import load_checkpoint, save_atomically
from corun.training.pretrain import run


def test_a_damaged_checkpoint_is_named(recipe: Path) -> None:
    (recipe.parent / "run").mkdir()
    (recipe.parent / "run" / "last.ckpt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(WeightsError, match=r"last\.ckpt"):
        run(recipe, [])


def test_a_failed_write_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_atomically({"step": 1}, path)

    def torn(content: object, stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="No space"):
        save_atomically({"step": 2}, path)
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_that_torch_reports_its_own_way_is_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(content: object, stream: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] unexpected pos 64 vs 0\n...")

    monkeypatch.setattr(torch, "save", refused)
    with pytest.raises(OSError, match="unexpected pos 64 vs 0") as caught:
        save_atomically({"step": 1}, tmp_path / "last.ckpt")
    assert caught.value.filename == str(tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_becomes_a_weights_file(recipe: Path) -> None:
    """A run that was stopped early is not lost: its averaged weights are those it would ship."""
    run(recipe, [])
    folder = recipe.parent / "run"
    convert_weights(folder / "last.ckpt", recipe.parent / "net.safetensors")
    converted = load_network(recipe.parent / "net.safetensors")
    shipped = load_network(folder / "weights.safetensors").network.state_dict()
    assert converted.metadata["steps"] == 12
    assert converted.network.config.stages == 2
    for name, tensor in converted.network.state_dict().items():
        assert torch.equal(tensor, shipped[name]), name


@pytest.mark.filterwarnings("ignore")
def test_bit_rot_in_a_checkpoint_is_refused_wherever_it_is(recipe: Path) -> None:
    run(recipe, ["run.steps=3"])
    path = recipe.parent / "run" / "last.ckpt"
    sound = path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        tensors = [entry for entry in parts.infolist() if "/data/" in entry.filename]
    refused = 0
    for entry in tensors[:: max(1, len(tensors) // 20)]:
        name, extra = (
            int.from_bytes(sound[entry.header_offset + at : entry.header_offset + at + 2], "little")
            for at in (26, 28)
        )
        content = entry.header_offset + 30 + name + extra
        rotten = bytearray(sound)
        rotten[content + entry.file_size // 2] ^= 1
        path.write_bytes(rotten)
        with pytest.raises(WeightsError, match=r"last\.ckpt: damaged .*not what its checksum says"):
            load_checkpoint(path)
        refused += 1
    assert refused >= 10
    path.write_bytes(sound)
    assert load_checkpoint(path)["step"] == 3
