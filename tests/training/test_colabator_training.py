"""Adaptation from end to end on rendered scenes: it helps, resumes exactly, and names bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from colabator_toy import pretrained, real_error, toy_settings, write_toy
from toy_networks import VeilRemover

from corun.colabator.label_pool import open_existing
from corun.configuration import load_configuration
from corun.errors import ConfigurationError, CorunError, DataError, WeightsError
from corun.training.checkpoint import load_checkpoint, save_atomically
from corun.training.colabator import ColabatorConfig, ColabatorTraining, identity_of
from corun.training.colabator import run as run_program
from corun.training.engine import train
from corun.training.task import LossTerms

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy"))


class StoppedError(Exception):
    """Stands for a kill in the middle of a run."""


class FailingTask(ColabatorTraining):
    def loss(self, network: nn.Module, batch: Any, step: int, part: int, rank: int) -> LossTerms:
        if step == 6:
            raise StoppedError
        return super().loss(network, batch, step, part, rank)


def adapt(settings: dict[str, Any], kind: type[ColabatorTraining] = ColabatorTraining) -> None:
    config = ColabatorConfig.model_validate(settings)
    task = kind(config)
    train(task, config.run, config.optimizer, identity_of(task))


def assert_same(a: Any, b: Any) -> None:
    """Equal to the bit, through nested containers."""
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        for first, second in zip(a, b, strict=True):
            assert_same(first, second)
    else:
        assert a == b


def test_a_resumed_run_is_the_uninterrupted_one(toy: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    adapt(toy_settings(toy, straight))
    with pytest.raises(StoppedError):
        adapt(toy_settings(toy, broken), FailingTask)
    adapt(toy_settings(toy, broken))
    for part in ("network", "average", "optimizer", "task"):
        assert_same(
            load_checkpoint(straight / "last.ckpt")[part],
            load_checkpoint(broken / "last.ckpt")[part],
        )
    pools = [open_existing(folder / "pool") for folder in (straight, broken)]
    assert pools[0].photos() == pools[1].photos()
    assert len(pools[0]) == len(pools[1]) == 12
    for key in pools[0].photos():
        first, second = (pool.get(key) for pool in pools)
        assert first is not None
        assert second is not None
        assert torch.equal(first.scene, second.scene)
        assert torch.equal(first.weights, second.weights)
        assert first[3:] == second[3:]
    assert load_file(straight / "weights.safetensors").keys() == VeilRemover().state_dict().keys()


@pytest.mark.parametrize("teacher", [True, False])
def test_a_run_that_starts_from_another_takes_its_teacher(
    toy: Path, tmp_path: Path, teacher: bool
) -> None:
    """Of one without, as a pre-training's, the averaged network becomes the teacher."""
    first, second, start = tmp_path / "first", tmp_path / "second", tmp_path / "start.ckpt"
    adapt(toy_settings(toy, first, run__steps=3, run__ema_decay=0.5, teacher__decay=0.8))
    before = load_checkpoint(first / "last.ckpt")
    save_atomically(before if teacher else {**before, "task": {}}, start)
    still = {"optimizer__learning_rate": 1e-12, "optimizer__final_learning_rate": 0.0}
    settings = toy_settings(toy, second, run__steps=1, teacher__decay=0.999999, **still)
    settings["run"]["start_from"] = str(start)
    adapt(settings)
    after = load_checkpoint(second / "last.ckpt")["task"]["teacher"]
    expected = before["task"]["teacher"] if teacher else before["average"]
    assert after.pop("__updates__") == (4 if teacher else 1)
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=0)
    others = (VeilRemover().state_dict(), before["network"])
    assert all(_distance(after, other) > 1e-4 for other in others)


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_adaptation_lowers_the_error_on_real_haze(toy: Path, tmp_path: Path) -> None:
    """The student has seen thin grey haze; the "real" one is dense and blue; truth is known."""
    weights = tmp_path / "pretrained.safetensors"
    state = pretrained(toy)
    save_file(state, weights)
    before, after = VeilRemover(), VeilRemover()
    before.load_state_dict(state)
    adapt(toy_settings(toy, tmp_path / "run", **TOY_RECIPE, network__weights=str(weights)))
    after.load_state_dict(load_file(tmp_path / "run" / "weights.safetensors"))
    assert real_error(after, toy) < TOY_GAIN * real_error(before, toy)


TOY_RECIPE: dict[str, Any] = {
    "run__steps": 200,
    "run__checkpoint_every": 200,
    "run__ema_decay": 0.9,
    "adaptation__density_real": 0.3,
    "adaptation__density_synthetic": 0.1,
    "teacher__decay": 0.95,
}
TOY_GAIN = 0.95
"""0.924 when this was written."""


@pytest.mark.parametrize("name", ["dgun", "plain-unet"])
def test_other_networks_are_adapted(toy: Path, tmp_path: Path, name: str) -> None:
    settings = toy_settings(toy, tmp_path, run__steps=2, run__batch=2)
    settings["network"] = {"name": name, "arguments": {"dim": 4}}
    adapt(settings)
    before = ColabatorTraining(ColabatorConfig.model_validate(settings)).network.state_dict()
    after = load_file(tmp_path / "weights.safetensors")
    assert any(not torch.equal(before[key], after[key]) for key in after)


def test_an_unreadable_photo_is_named_once_and_skipped(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for path in (toy / "real").iterdir():
        (real / path.name).write_bytes(path.read_bytes())
    (real / "broken.png").write_bytes(b"not a picture")
    adapt(toy_settings(toy, tmp_path / "run", real__folder=str(real), run__steps=8))
    assert capsys.readouterr().err.count("skipped:") == 1


def test_fewer_photos_than_a_batch(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="12 real photos are fewer than a batch of 13"):
        adapt(toy_settings(toy, tmp_path, run__batch=13))


def test_the_pool_of_another_network_is_refused(toy: Path, tmp_path: Path) -> None:
    settings = toy_settings(
        toy, tmp_path / "one", run__steps=1, pool__folder=str(tmp_path / "pool")
    )
    adapt(settings)
    settings["run"]["folder"] = str(tmp_path / "two")
    settings["network"] = {"name": "plain-unet", "arguments": {"dim": 4}}
    with pytest.raises(DataError, match=r"network is 'VeilRemover .*move this one away"):
        adapt(settings)


def test_a_run_that_keeps_anothers_labels_resumes_and_does_not_delete_them(
    toy: Path, tmp_path: Path
) -> None:
    """The run before is at step 8 when the one that keeps its labels is at 4 and fails at 6."""
    pool = str(tmp_path / "pool")
    adapt(toy_settings(toy, tmp_path / "one", pool__folder=pool))
    with pytest.raises(DataError, match=r"12 labels of the run in .*/one.*pool\.keep=true"):
        adapt(toy_settings(toy, tmp_path / "two", pool__folder=pool))
    assert len(open_existing(Path(pool))) == 12
    settings = toy_settings(toy, tmp_path / "two", pool__folder=pool, pool__keep=True)
    with pytest.raises(StoppedError):
        adapt(settings, FailingTask)
    adapt(settings)
    assert load_checkpoint(tmp_path / "two" / "last.ckpt")["step"] == 8
    assert {entry["run"] for entry in open_existing(Path(pool)).history()} == {1, 2}


def test_labels_of_another_region_are_refused(toy: Path, tmp_path: Path) -> None:
    settings = toy_settings(toy, tmp_path / "one", pool__folder=str(tmp_path / "pool"))
    adapt(settings | {"run": settings["run"] | {"steps": 1}})
    changed = toy_settings(
        toy, tmp_path / "two", pool__folder=str(tmp_path / "pool"), pool__keep=True,
        real__region="whole",
    )  # fmt: skip
    with pytest.raises(DataError, match="region is 'crop', not 'whole'"):
        adapt(changed)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"evaluators__density": {"kind": "hazdesnet"}}, ConfigurationError, "HDF5"),
        (
            {"evaluators__density": {"kind": "embedded", "weights": "/nowhere/d.safetensors"}},
            WeightsError,
            "corun train density",
        ),
        (
            {"evaluators__quality": {"kind": "embedded", "weights": "/nowhere/q.json"}},
            WeightsError,
            "corun fit quality",
        ),
        ({"evaluators__density": {"kind": "clip"}}, ConfigurationError, "pretrained"),
        ({"network__name": "no_such_module:Net"}, ConfigurationError, "cannot be imported"),
        ({"network__name": "nothing"}, WeightsError, "neither a model's name nor a file"),
        ({"adaptation__vgg": "/nowhere/vgg.pth"}, CorunError, "no such file"),
    ],
)
def test_what_cannot_load_says_what_it_wants(
    toy: Path, tmp_path: Path, change: dict[str, Any], error: type[CorunError], message: str
) -> None:
    with pytest.raises(error, match=message):
        adapt(toy_settings(toy, tmp_path, **change))


def test_the_documented_recipe_is_valid_and_short_enough_to_be_typed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "adapt-your-own-network.md").read_text()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(page.split("```yaml\n")[1].split("```")[0])
    config = load_configuration(ColabatorConfig, recipe)
    assert config.network.arguments == {"width": 32}
    assert config.validation.real is not None


def test_an_unknown_key_is_named(toy: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(toy_settings(toy, tmp_path, adaptation__blok=3)))
    with pytest.raises(ConfigurationError, match=r"adaptation\.blok: unknown key"):
        run_program(recipe)


@pytest.mark.slow
def test_two_processes_share_the_pool_and_agree(toy: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(toy_settings(toy, tmp_path / "run", run__batch=3)))
    program = (
        "import sys; from pathlib import Path; from corun.training.colabator import run; "
        "run(Path(sys.argv[1]))"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, script, recipe],
        capture_output=True,
        text=True,
        timeout=600,
        env={**__import__("os").environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pool = open_existing(tmp_path / "run" / "pool")
    assert len(pool) == 12
    assert load_checkpoint(tmp_path / "run" / "last.ckpt")["step"] == 8
