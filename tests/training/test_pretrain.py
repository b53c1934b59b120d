"""Pre-training end to end, with real files, real processes and a real kill."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from corun.configuration import load_configuration
from corun.errors import ConfigurationError, DataError, WeightsError
from corun.networks.averaging import WeightAverage
from corun.networks.checkpoints import convert_weights, load_network
from corun.training.checkpoint import load_checkpoint, save_atomically
from corun.training.configuration import OptimizerConfig
from corun.training.engine import TrainingDivergedError
from corun.training.optimizer import learning_rate_at, make_optimizer
from corun.training.pretrain import PretrainConfig, Pretraining, run, validated_on_own_data
from corun.training.resuming import State, agreed_by_all, resume
from corun.training.task import LossTerms
from rendered_folders import write_recipe, write_scenes

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PROGRAM = "import sys; from pathlib import Path; from corun.training.pretrain import run; "
PROGRAM += "run(Path(sys.argv[1]), sys.argv[2:])"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_scenes(tmp_path, 5)
    return write_recipe(tmp_path)


def command(recipe: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(recipe), *overrides]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "last.ckpt")["network"]


@pytest.mark.filterwarnings("ignore")
def test_a_run_leaves_weights_log_checkpoints_and_pictures(recipe: Path) -> None:
    folder = recipe.parent / "run"
    run(recipe, [])
    loaded = load_network(folder / "weights.safetensors")
    assert loaded.metadata["configuration"]["run"]["steps"] == 12
    assert loaded.metadata["validation"]["PSNR"] > 5
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "validation PSNR" in r] == [6, 12]
    assert load_checkpoint(folder / "best.ckpt")["step"] in (6, 12)
    assert list((folder / "events").iterdir())
    assert (folder / "pictures" / "synthetic-000012.png").is_file()
    assert not list(folder.glob(".*"))


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
def test_accumulation_gives_the_gradient_of_the_whole_batch(recipe: Path) -> None:
    """Without random degradations the parts of a batch are the batch."""
    plain = ["synthesis.darken_probability=0", "synthesis.noise_probability=0",
             "synthesis.jpeg_probability=0", "synthesis.beta=[1.0,1.0]",
             "synthesis.airlight=[0.8,0.8]", "synthesis.airlight_jitter=0",
             "run.steps=1", "run.batch=4"]  # fmt: skip
    run(recipe, [*plain, f"run.folder={recipe.parent}/a"])
    run(recipe, [*plain, f"run.folder={recipe.parent}/b", "run.accumulate=2"])
    whole, parts = (
        json.loads((recipe.parent / name / "log.jsonl").read_text().splitlines()[0])
        for name in ("a", "b")
    )
    assert parts["gradient norm"] == pytest.approx(whole["gradient norm"], rel=1e-3)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-4)
    a, b = weights(recipe.parent / "a"), weights(recipe.parent / "b")
    for name, tensor in a.items():
        # AdamW's first step is close to sign(g)·rate, so rounding may flip single zeros.
        assert ((tensor - b[name]).abs() > 1e-5).float().mean() < 0.02, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_train_together(recipe: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
                "--master-port=29531"]  # fmt: skip
    script = recipe.parent / "program.py"
    script.write_text(PROGRAM)
    result = subprocess.run(
        [*torchrun, str(script), str(recipe), "run.steps=4"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert load_checkpoint(recipe.parent / "run" / "last.ckpt")["step"] == 4
    metadata = load_network(recipe.parent / "run" / "weights.safetensors").metadata
    assert metadata["hardware"].startswith("2 ×")


@pytest.mark.filterwarnings("ignore")
def test_non_finite_loss_stops_before_it_poisons_anything(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Pretraining.loss

    def poisoned(self, network, batch, step, part, rank):  # type: ignore[no-untyped-def]
        terms = original(self, network, batch, step, part, rank)
        scale = float("nan") if step == 7 else 1.0
        return type(terms)(terms.total * scale, terms.parts)

    monkeypatch.setattr(Pretraining, "loss", poisoned)
    with pytest.raises(TrainingDivergedError) as caught:
        run(recipe, [])
    message = str(caught.value)
    assert "step 7" in message
    assert ".png" in message
    assert "learning_rate" in message
    checkpoint = load_checkpoint(recipe.parent / "run" / "last.ckpt")
    assert checkpoint["step"] == 6
    assert all(torch.isfinite(t).all() for t in checkpoint["network"].values())


@pytest.mark.filterwarnings("ignore")
def test_another_configuration_is_not_continued(recipe: Path) -> None:
    run(recipe, ["run.steps=3"])
    with pytest.raises(ConfigurationError, match="another configuration"):
        run(recipe, ["run.steps=3", "optimizer.learning_rate=1e-5"])
    run(recipe, ["run.steps=3", "run.validate_every=2"])  # what does not change the result may


def test_a_damaged_checkpoint_is_named(recipe: Path) -> None:
    (recipe.parent / "run").mkdir()
    (recipe.parent / "run" / "last.ckpt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(WeightsError, match=r"last\.ckpt"):
        run(recipe, [])


def test_missing_perceptual_weights_are_said(recipe: Path) -> None:

    config = load_configuration(PretrainConfig, recipe, ["loss.contrastive=0.2"])
    assert "contrastive perceptual term is off" in Pretraining(config).notices[0]
    with pytest.raises(WeightsError, match="absent"):
        run(recipe, ["loss.contrastive=0.2", "loss.vgg=absent.pth"])


def test_photos_without_depth_are_named(recipe: Path) -> None:
    (recipe.parent / "depth" / "3.npy").unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        run(recipe, [])


def test_missing_validation_data_and_layer_weights_are_named_at_the_start(recipe: Path) -> None:
    (recipe.parent / "empty").mkdir()
    for override in ("validation.real", "validation.clean"):
        with pytest.raises(DataError, match="empty"):
            run(recipe, [f"{override}={recipe.parent}/empty"])
    with pytest.raises(DataError, match="go together"):
        run(recipe, ["validation.depth=null"])


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_cannot_be_written_is_named(recipe: Path) -> None:
    (recipe.parent / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file.*cannot be written"):
        run(recipe, [f"run.folder={recipe.parent}/file/run"])


def test_batch_must_divide(recipe: Path) -> None:
    with pytest.raises(ConfigurationError, match="multiple"):
        run(recipe, ["run.batch=3", "run.accumulate=2"])


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
def test_weights_that_are_not_finite_are_not_written(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.optim.AdamW.step

    def too_far(self, *arguments, **settings):  # type: ignore[no-untyped-def]
        result = original(self, *arguments, **settings)
        if self.state[self.param_groups[0]["params"][0]]["step"] == 8:
            self.param_groups[0]["params"][0].data.fill_(float("inf"))
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", too_far)
    with pytest.raises(TrainingDivergedError, match="weights are not finite"):
        run(recipe, ["run.checkpoint_every=4"])
    assert load_checkpoint(recipe.parent / "run" / "last.ckpt")["step"] == 4


def test_learning_rate_rises_and_falls_to_its_end() -> None:
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, warmup_steps=4)
    rates = [learning_rate_at(step, 20, config) for step in range(21)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == pytest.approx(1.0)
    assert rates[12] == pytest.approx(0.55)
    assert rates[20] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


def test_the_density_term_is_the_judges_and_reaches_the_network(recipe: Path) -> None:
    from corun.judges.density_net import embedded_density

    def terms(weight: float) -> tuple[LossTerms, torch.Tensor]:
        override = f"loss.density={weight}"
        task = Pretraining(load_configuration(PretrainConfig, recipe, [override]))
        batch = task.prepare(0, 0, 0, 1)
        found = task.loss(task.network, batch, 0, 0, 0)
        found.total.backward()
        hazy = batch.haze.hazy
        with torch.no_grad():
            D = embedded_density().score(task.network(hazy).scene, 32).overall.mean()
        return found, D

    (without, D), (with_it, _) = terms(0.0), terms(0.5)
    assert "density" not in without.parts
    torch.testing.assert_close(with_it.parts["density"], D, atol=1e-5, rtol=0)
    torch.testing.assert_close(with_it.total, without.total + 0.5 * D, atol=1e-5, rtol=0)


def test_the_colour_term_is_that_of_the_last_scene(recipe: Path) -> None:
    from corun.losses import colour_loss

    losses = {}
    for weight in (0.0, 0.5):
        configuration = load_configuration(PretrainConfig, recipe, [f"loss.colour={weight}"])
        task = Pretraining(configuration)
        batch = task.prepare(0, 0, 0, 1)
        with torch.no_grad():
            losses[weight] = task.loss(task.network, batch, 0, 0, 0)
            expected = colour_loss(task.network(batch.haze.hazy).scene, batch.haze.target)
    assert "colour" not in losses[0.0].parts
    torch.testing.assert_close(losses[0.5].parts["colour"], expected, atol=1e-5, rtol=0)
    difference = losses[0.5].total - losses[0.0].total
    torch.testing.assert_close(difference, 0.5 * expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("term", ["last_stage", "earlier_stages", "transmission"])
def test_the_stages_are_held_to_the_truth_at_their_own_size(recipe: Path, term: str) -> None:

    losses = {}
    for weight in (0.0, 0.5):
        overrides = [f"loss.{term}={weight}", "network.stages=3"]
        task = Pretraining(load_configuration(PretrainConfig, recipe, overrides))
        batch = task.prepare(0, 0, 0, 1)
        with torch.no_grad():
            losses[weight] = task.loss(task.network, batch, 0, 0, 0)
            stages = task.network.unfold(batch.haze.hazy).stages

    def error(values: list[torch.Tensor], truth: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.avg_pool2d(truth, 2)
        return torch.stack([(value - cells).abs().mean() for value in values]).sum()

    scenes = [stage.scene for stage in stages]
    expected = {
        "last_stage": lambda: error(scenes[-1:], batch.haze.target),
        "earlier_stages": lambda: error(scenes[:-1], batch.haze.target),
        "transmission": lambda: error([s.transmission for s in stages], batch.haze.transmission),
    }[term]()
    name = term.replace("_", " ")
    torch.testing.assert_close(losses[0.5].parts[name], expected, atol=1e-5, rtol=0)
    assert name not in losses[0.0].parts
    difference = losses[0.5].total - losses[0.0].total
    torch.testing.assert_close(difference, 0.5 * expected, atol=1e-5, rtol=0)


def test_crops_that_the_stages_cannot_see_whole_are_refused(recipe: Path) -> None:
    for override in ("data.crop=34", "network.working_pixels=1000"):
        with pytest.raises(ConfigurationError, match=r"data\.crop"):
            run(recipe, [override])


def test_the_rate_can_be_constant_or_fall_in_a_line() -> None:
    line = OptimizerConfig(
        learning_rate=1.0, final_learning_rate=0.0, warmup_steps=10, schedule="linear"
    )
    rates = [learning_rate_at(step, 110, line) for step in (0, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])
    constant = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="constant")
    assert learning_rate_at(10, 110, constant) == learning_rate_at(109, 110, constant) == 1.0


def test_only_matrices_and_kernels_decay() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm(4))
    matrices, others = make_optimizer(network, OptimizerConfig(weight_decay=0.01)).param_groups
    assert [p.ndim for p in matrices["params"]] == [4]
    assert len(others["params"]) == 3
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.01, 0.0)


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
            run(recipe, ["run.steps=100000"])
    finally:
        first.kill()
        first.wait()
    step = load_checkpoint(folder / "last.ckpt")["step"]
    with pytest.raises(ConfigurationError, match=r"belongs to another configuration \(run.steps"):
        run(recipe, [f"run.steps={step}"])  # nobody holds the folder any more


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
        steps.append(resume(task, state, config.run, identity, Process(rank)))
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
def test_ones_own_data_are_validated_on_a_share_that_is_not_trained_on(recipe: Path) -> None:
    """A recipe's own validation photos are not looked for; nothing else needs to be said."""
    text = recipe.read_text(encoding="utf-8").replace(
        "validation: {clean: ", "validation: {clean: /nowhere"
    )
    recipe.write_text(text.replace("side: 32", "side: 32, real: /nowhere"), encoding="utf-8")
    folder = recipe.parent / "run"
    with pytest.raises(DataError, match="/nowhere"):
        run(recipe, [])
    own = [f"data.clean={recipe.parent}/clean", f"data.depth={recipe.parent}/depth"]
    run(recipe, [*own, "run.steps=6"])
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "validation PSNR" in r] == [6]
    assert "held out of" in load_checkpoint(folder / "best.ckpt")["criterion"]

    config = load_configuration(PretrainConfig, recipe, [*own, "validation.clean=null"])
    config = validated_on_own_data(config, [*own, "validation.held_out=0.4"])
    task = Pretraining(config)
    assert task.held_out is not None
    trained = {path.name for path in task.folder.photos}
    held = {path.name for path in task.held_out.photos}
    assert len(held) == 1
    assert not trained & held
    assert trained | held == {f"{n}.png" for n in range(5)}
    names = {name for step in range(8) for name in task.prepare(step, 0, 0, 1).names}
    assert names == trained


@pytest.mark.filterwarnings("ignore")
def test_validation_can_be_off(recipe: Path) -> None:
    run(recipe, ["validation=null", "run.steps=6"])
    folder = recipe.parent / "run"
    assert "validation" not in (folder / "log.jsonl").read_text()
    assert not (folder / "best.ckpt").exists()
    task = Pretraining(load_configuration(PretrainConfig, recipe, ["validation=null"]))
    assert len(task.folder) == 5


@pytest.mark.filterwarnings("ignore")
def test_one_photo_cannot_be_shared(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    with pytest.raises(DataError, match=r"one photo cannot be .* validation=null"):
        run(write_recipe(tmp_path), ["validation.clean=null", "validation.depth=null"])


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
