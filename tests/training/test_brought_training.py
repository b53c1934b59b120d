"""Networks with running statistics, adapted: in one process and two, whole and interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from colabator_toy import toy_settings, write_toy
from safetensors.torch import load_file
from torch import Tensor, nn

import corun
from corun.errors import ConfigurationError, NetworkOutputError
from corun.training.checkpoint import load_checkpoint
from corun.training.colabator import ColabatorConfig, ColabatorTraining, identity_of
from corun.training.engine import train

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy"), 6)


def settings(toy: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    quick = {"run__steps": 4, "run__batch": 2, "run__checkpoint_every": 2}
    quick |= {"network__name": "toy_networks:Normalised", "teacher__decay": 0.5}
    return toy_settings(toy, folder, **quick | changes)


def adapt(
    made: dict[str, Any], kind: type[ColabatorTraining] = ColabatorTraining
) -> ColabatorTraining:
    config = ColabatorConfig.model_validate(made)
    task = kind(config)
    train(task, config.run, config.optimizer, identity_of(task))
    return task


class StoppedError(Exception):
    """Stands for a kill in the middle of a run."""


class StoppingTask(ColabatorTraining):
    def after_step(self, network: nn.Module) -> None:
        super().after_step(network)
        if self._done == 3:
            raise StoppedError


class WatchingTask(ColabatorTraining):
    """Keeps the running means of student and teacher after each step."""

    def __init__(self, config: ColabatorConfig) -> None:
        super().__init__(config)
        self.means: list[tuple[Tensor, Tensor]] = [self._means()]

    def _means(self) -> tuple[Tensor, Tensor]:
        networks = (self.network, self.teacher.network)
        found = tuple(network.before.running_mean.clone() for network in networks)
        return found[0], found[1]

    def after_step(self, network: nn.Module) -> None:
        before = self._means()[1]
        super().after_step(network)
        self.means.append(self._means())
        torch.testing.assert_close(before, self.means[-2][1])  # its own passes leave them alone


def test_the_teacher_averages_the_students_statistics_and_adds_none_of_its_own(
    toy: Path, tmp_path: Path
) -> None:
    task = adapt(settings(toy, tmp_path), WatchingTask)
    assert isinstance(task, WatchingTask)
    for (_, teacher), (student, after) in zip(task.means, task.means[1:], strict=False):
        assert not torch.equal(student, teacher)
        torch.testing.assert_close(after, (student + teacher) / 2)
    assert not task.teacher.network.training
    assert task.network.training
    content = load_checkpoint(tmp_path / "last.ckpt")
    shipped = content["average"]
    assert shipped["before.running_mean"].abs().max() > 0
    assert int(shipped["before.num_batches_tracked"]) == 4


@pytest.mark.parametrize("crop", [64, 48])
def test_running_statistics_resume_to_the_bit(toy: Path, tmp_path: Path, crop: int) -> None:
    """Both halves in one pass where their sides agree, else in two."""
    adapt(settings(toy, tmp_path / "whole", synthetic__crop=crop))
    with pytest.raises(StoppedError):
        adapt(settings(toy, tmp_path / "broken", synthetic__crop=crop), StoppingTask)
    adapt(settings(toy, tmp_path / "broken", synthetic__crop=crop))
    contents = [load_checkpoint(tmp_path / f / "last.ckpt") for f in ("whole", "broken")]
    for states in ([c["network"] for c in contents], [c["task"]["teacher"] for c in contents]):
        for name, value in states[0].items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][name])), name
    passes = 4 if crop == 64 else 8
    assert int(contents[0]["network"]["before.num_batches_tracked"]) == passes


@pytest.mark.parametrize(("name", "output"), [("Scales", 2), ("Scales", -1), ("Named", "clear")])
def test_which_of_several_outputs_is_the_scene_changes_nothing_else(
    toy: Path, tmp_path: Path, name: str, output: int | str
) -> None:
    adapt(settings(toy, tmp_path / "plain", run__steps=2))
    network = {"name": f"toy_networks:{name}", "output": output}
    adapt(settings(toy, tmp_path / "several", run__steps=2) | {"network": network})
    plain, several = (
        load_file(tmp_path / run / "weights.safetensors") for run in ("plain", "several")
    )
    assert plain.keys() == several.keys()
    assert all(torch.equal(plain[key], several[key]) for key in plain)


@pytest.mark.parametrize("name", ["MixDehazeNet", "RetinexFormer", "FFTformer"])
def test_real_networks_of_spandrel_are_adapted_and_run(
    toy: Path, tmp_path: Path, name: str
) -> None:
    """In training and in evaluation, at a size that they do not take, and from the file alone."""
    spandrel = pytest.importorskip("spandrel", reason="needs the extra spandrel")
    package = import_module(f"spandrel.architectures.{name}")
    sizes: dict[str, dict[str, Any]] = {
        "MixDehazeNet": {"embed_dims": [8, 16, 32, 16, 8], "depths": [1] * 5},
        "RetinexFormer": {"n_feat": 8, "stage": 1, "num_blocks": [1, 1, 1]},
        "FFTformer": {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    }
    torch.manual_seed(0)
    network = getattr(package, name)(**sizes[name])
    torch.save({"params_ema": network.state_dict()}, tmp_path / "theirs.pth")
    found = spandrel.ModelLoader().load_from_file(tmp_path / "theirs.pth")
    assert found.architecture.id == name
    made = settings(toy, tmp_path / "run", run__steps=2)
    adapt(made | {"network": {"name": f"spandrel:{tmp_path / 'theirs.pth'}"}})
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    before = network.state_dict()
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weights[key], before[key]) for key in before)
    picture = np.random.default_rng(0).integers(0, 256, (43, 70, 3), dtype=np.uint8)
    clear = corun.load(tmp_path / "run" / "weights.safetensors")(picture).image
    assert clear.shape == picture.shape


@pytest.mark.parametrize("name", ["Scales", "Named"])
def test_several_outputs_without_a_word_about_them_are_refused(
    toy: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(NetworkOutputError, match="the network must return a clear batch"):
        adapt(settings(toy, tmp_path, network__name=f"toy_networks:{name}"))


def test_only_a_corun_computes_its_priors_again(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"run\.recompute: is for a CORUN, not Normalised"):
        adapt(settings(toy, tmp_path / "run", run__recompute=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_passes_of_a_step_in_two_processes(toy: Path, tmp_path: Path) -> None:
    """Crops and regions of two sizes: the statistics move twice before the gradients are asked."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(settings(toy, tmp_path / "run", synthetic__crop=48)))
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from corun.training.colabator import run; "
        "run(Path(sys.argv[1]))"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*torchrun, program, recipe], capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_checkpoint(tmp_path / "run" / "last.ckpt")["step"] == 4
