"""What a run begins with: its own last checkpoint, or another run's; and who owns its folder."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from pretraining_runs import ENVIRONMENT, command, weights

from corun.configuration import load_configuration
from corun.errors import ConfigurationError, WeightsError
from corun.networks.averaging import WeightAverage
from corun.networks.checkpoints import load_network
from corun.training.checkpoint import load_checkpoint, save_atomically
from corun.training.configuration import OptimizerConfig
from corun.training.optimizer import learning_rate_at, make_optimizer
from corun.training.pretrain import PretrainConfig, Pretraining, run
from corun.training.resuming import State, agreed_by_all, resume


@pytest.mark.filterwarnings("ignore")
def test_killed_at_any_moment_it_resumes_bit_identically(recipe: Path) -> None:
    run(recipe, [f"run.folder={recipe.parent}/whole"])
    last = recipe.parent / "run" / "last.ckpt"
    process = subprocess.Popen(
        command(recipe), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not last.exists():
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < load_checkpoint(last)["step"] < 12
    run(recipe, [])
    uninterrupted, resumed = weights(recipe.parent / "whole"), weights(last.parent)
    for name, tensor in uninterrupted.items():
        assert torch.equal(tensor, resumed[name]), name
    one = load_checkpoint(recipe.parent / "whole" / "last.ckpt")
    other = load_checkpoint(last)
    for name, tensor in one["average"].items():
        assert torch.equal(torch.as_tensor(tensor), torch.as_tensor(other["average"][name])), name


@pytest.mark.filterwarnings("ignore")
def test_another_configuration_is_not_continued(recipe: Path) -> None:
    run(recipe, ["run.steps=3"])
    with pytest.raises(ConfigurationError, match="another configuration"):
        run(recipe, ["run.steps=3", "optimizer.learning_rate=1e-5"])
    run(recipe, ["run.steps=3", "run.validate_every=2"])  # what does not change the result may


@pytest.mark.filterwarnings("ignore")
def test_a_run_killed_before_its_validation_validates_when_it_goes_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Pretraining, network: torch.nn.Module) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pretraining, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, ["run.validate_every=12"])
    folder = recipe.parent / "run"
    assert load_checkpoint(folder / "last.ckpt")["step"] == 12
    monkeypatch.undo()
    run(recipe, ["run.validate_every=12"])
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "validation PSNR" in r] == [12]
    assert load_checkpoint(folder / "best.ckpt")["step"] == 12
    assert (folder / "best" / "weights.safetensors").is_file()


@pytest.mark.filterwarnings("ignore")
def test_a_run_starts_from_another_with_its_optimiser(recipe: Path, tmp_path: Path) -> None:
    run(recipe, ["run.steps=3", "optimizer.schedule=constant"])
    first = tmp_path / "run" / "last.ckpt"
    second = tmp_path / "second"
    start = [f"run.folder={second}", f"run.start_from={first}", "run.steps=1", "run.seed=9"]
    run(recipe, [*start, "optimizer.schedule=constant", "optimizer.learning_rate=1e-12"])
    before, after = load_checkpoint(first), load_checkpoint(second / "last.ckpt")
    assert (before["step"], after["step"]) == (3, 1)
    for name, tensor in before["network"].items():
        torch.testing.assert_close(after["network"][name], tensor, atol=1e-6, rtol=0)
    steps = {float(state["step"]) for state in after["optimizer"]["state"].values()}
    assert steps == {4.0}
    assert after["average"]["__updates__"] == 4
    assert {group["lr"] for group in after["optimizer"]["param_groups"]} == {1e-12 / 2}
    with pytest.raises(WeightsError, match=r"start_from"):
        run(recipe, [*start[1:], f"run.folder={tmp_path / 'third'}", "network.dim=6"])


@pytest.mark.filterwarnings("ignore")
def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(recipe: Path) -> None:
    folder = recipe.parent / "run"
    first = subprocess.Popen(command(recipe, "run.steps=100000"), env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "last.ckpt").exists():
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.1)
        with pytest.raises(ConfigurationError, match="another run is training there"):
            run(recipe, ["run.steps=1"])  # so few that it would not go on if it were let in
    finally:
        first.kill()
        first.wait()
    step = load_checkpoint(folder / "last.ckpt")["step"]
    run(recipe, [f"run.steps={step}"])  # nobody holds the folder any more
    assert (folder / "weights.safetensors").is_file()


@pytest.mark.filterwarnings("ignore")
def test_processes_without_the_checkpoint_begin_where_the_first_does(recipe: Path) -> None:
    """Two machines without a shared disk: only the first one's has a checkpoint."""
    run(recipe, ["run.steps=3"])
    said: list[object] = []

    class Process:
        """A process of two, as Fabric tells it of itself."""

        world_size = 2

        def __init__(self, rank: int) -> None:
            self.is_global_zero = rank == 0

        def broadcast(self, value: object) -> object:
            if self.is_global_zero:
                said.append(value)
            return said[-1]

    content = load_checkpoint(recipe.parent / "run" / "last.ckpt")
    save_atomically({**content, "world": 2}, recipe.parent / "run" / "last.ckpt")
    states, steps = [], []
    for rank, name in enumerate(("run", "elsewhere")):
        overrides = ["run.steps=3", f"run.folder={recipe.parent}/{name}", f"run.seed={3 + rank}"]
        config = load_configuration(PretrainConfig, recipe, overrides)
        task = Pretraining(config)
        optimizer = make_optimizer(task.network, config.optimizer)
        state = State(task.network, WeightAverage(task.network), optimizer)
        identity = content["identity"]
        process = Process(rank)
        steps.append(resume(task, state, config.run, config.optimizer, identity, process))
        states.append(state)
    assert steps == [3, 3]
    for first, second in zip(*(s.network.parameters() for s in states), strict=True):
        assert torch.equal(first, second)
    for first, second in zip(*(s.average.network.parameters() for s in states), strict=True):
        assert torch.equal(first, second)
    moments = [s.optimizer.state_dict()["state"][0]["exp_avg"] for s in states]
    assert torch.equal(*moments)

    def damaged(process: Process) -> int:
        if process.is_global_zero:
            raise WeightsError("last.ckpt: damaged")
        return 0

    for rank in (0, 1):  # the first one's error ends all, so that none waits for it
        with pytest.raises(WeightsError, match="damaged"):
            agreed_by_all(Process(rank), lambda rank=rank: damaged(Process(rank)))


@pytest.mark.filterwarnings("ignore")
def test_another_validation_does_not_stop_a_run(recipe: Path) -> None:
    run(recipe, ["run.steps=12", "run.checkpoint_every=12"])
    content = load_checkpoint(recipe.parent / "run" / "last.ckpt")
    identity = json.loads(content["identity"])
    assert "validation" not in identity
    identity["validation"] = {"clean": "elsewhere", "side": 32}  # as version 0.1 wrote it
    changed = {**content, "identity": json.dumps(identity)}
    save_atomically(changed, recipe.parent / "run" / "last.ckpt")
    run(recipe, ["run.steps=12", "run.checkpoint_every=12", "validation=null"])


@pytest.mark.filterwarnings("ignore")
def test_a_finished_run_at_a_constant_rate_goes_on_as_if_it_had_been_longer(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant, whole = "optimizer.schedule=constant", recipe.parent / "whole"
    run(recipe, [constant, "run.steps=6", f"run.folder={whole}"])
    run(recipe, [constant, "run.steps=3"])
    folder = recipe.parent / "run"
    short = load_checkpoint(folder / "last.ckpt")
    capsys.readouterr()
    run(recipe, [constant, "run.steps=6"])
    told = capsys.readouterr().err
    assert "3 of 3 steps are done, and the run now ends at 6; its rate stays as it is" in told
    long, straight = weights(folder), weights(whole)
    assert all(torch.equal(long[name], straight[name]) for name in straight)
    assert load_network(folder / "weights.safetensors").metadata["steps"] == 6
    with pytest.raises(ConfigurationError, match=r"6 steps are done, more than run\.steps=5"):
        run(recipe, [constant, "run.steps=5"])
    # Version 0.1 kept the number of steps in what must not change.
    identity = json.loads(short.pop("identity"))
    identity["run"]["steps"] = short.pop("steps")
    save_atomically({**short, "identity": json.dumps(identity)}, folder / "last.ckpt")
    run(recipe, [constant, "run.steps=6"])
    again = weights(folder)
    assert all(torch.equal(again[name], straight[name]) for name in straight)


@pytest.mark.filterwarnings("ignore")
def test_a_falling_rate_is_stretched_over_more_steps_and_that_is_said(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe, ["run.steps=4"])
    run(recipe, ["run.steps=8"])
    told = capsys.readouterr().err
    config = OptimizerConfig(learning_rate=1e-3, warmup_steps=2)
    now = learning_rate_at(4, 8, config)
    assert f"cosine rate is stretched over all of them: {now:.3g} at step 4, where it was 0" in told
    groups = load_checkpoint(recipe.parent / "run" / "last.ckpt")["optimizer"]["param_groups"]
    assert groups[0]["lr"] == pytest.approx(learning_rate_at(7, 8, config))
