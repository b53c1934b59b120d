"""What a long run meets: broken validation photos, odd networks, folders that cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from colabator_toy import toy_settings, write_toy

from corun.colabator.label_pool import open_existing
from corun.errors import ConfigurationError, DataError
from corun.training.checkpoint import load_checkpoint
from corun.training.colabator import ColabatorConfig, ColabatorTraining, identity_of
from corun.training.engine import train
from corun.training.task import LossTerms, Validation

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore::FutureWarning")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(Path(__file__).parent),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy"), 6)


class StoppedError(Exception):
    """Stands for a kill in the middle of a run."""


class StoppingTask(ColabatorTraining):
    def loss(self, network: nn.Module, batch: Any, step: int, part: int, rank: int) -> LossTerms:
        if step == 3:
            raise StoppedError
        return super().loss(network, batch, step, part, rank)


class DiskErrorTask(ColabatorTraining):
    def loss(self, network: nn.Module, batch: Any, step: int, part: int, rank: int) -> LossTerms:
        raise FileNotFoundError(2, "No such file or directory", "a table of the network's own")


def short(toy: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    quick = {"run__steps": 4, "run__batch": 2, "run__checkpoint_every": 2}
    return toy_settings(
        toy, folder, **{**quick, "network__name": "toy_networks:Residual"} | changes
    )


def adapt(settings: dict[str, Any], kind: type[ColabatorTraining] = ColabatorTraining) -> None:
    config = ColabatorConfig.model_validate(settings)
    task = kind(config)
    train(task, config.run, config.optimizer, identity_of(task))


def same(one: Path, other: Path, part: str) -> bool:
    first, second = (load_checkpoint(f / "last.ckpt")[part] for f in (one, other))
    return all(torch.equal(torch.as_tensor(first[k]), torch.as_tensor(second[k])) for k in first)


def test_a_broken_validation_photo_is_named_once(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "00.png").write_bytes(b"not a picture")
    (real / "01.png").write_bytes((toy / "real" / "01.png").read_bytes())
    settings = short(toy, tmp_path / "run", validation={"real": str(real)}, run__validate_every=2)
    adapt(settings)
    assert capsys.readouterr().err.count("skipped in validation") == 1
    assert load_checkpoint(tmp_path / "run" / "best.ckpt")["criterion"].startswith("quality + 1")
    assert (tmp_path / "run" / "best" / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"real": "{empty}"}, "holds no images to validate on"),
        ({"clean": "{clean}"}, "go together"),
    ],
)
def test_validation_data_is_asked_for_at_the_start(
    toy: Path, tmp_path: Path, validation: dict[str, str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "clean": toy / "clean"}
    filled = {key: value.format(**places) for key, value in validation.items()}
    with pytest.raises(DataError, match=message):
        adapt(short(toy, tmp_path / "run", validation=filled))


def test_the_checkpoint_is_written_before_the_validation(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ColabatorTraining, network: nn.Module) -> None:
        raise StoppedError

    monkeypatch.setattr(ColabatorTraining, "validate", broken)
    with pytest.raises(StoppedError):
        adapt(short(toy, tmp_path, run__validate_every=2))
    assert load_checkpoint(tmp_path / "last.ckpt")["step"] == 2


def test_a_network_with_dropout_resumes_to_the_bit(toy: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    dropping = {"network__name": "toy_networks:Dropping"}
    adapt(short(toy, straight, **dropping))
    with pytest.raises(StoppedError):
        adapt(short(toy, broken, **dropping), StoppingTask)
    torch.manual_seed(12345)
    adapt(short(toy, broken, **dropping))
    assert same(straight, broken, "network")


def test_dropout_differs_from_step_to_step(toy: Path, tmp_path: Path) -> None:
    drawn = []

    class Watching(ColabatorTraining):
        def loss(
            self, network: nn.Module, batch: Any, step: int, part: int, rank: int
        ) -> LossTerms:
            drawn.append(float(torch.rand(())))
            return super().loss(network, batch, step, part, rank)

    adapt(short(toy, tmp_path, run__accumulate=2), Watching)
    assert len(set(drawn)) == 8


def test_renamed_folders_do_not_stop_a_run(toy: Path, tmp_path: Path) -> None:
    for name in ("real", "clean", "depth"):
        (tmp_path / name).mkdir()
        for path in (toy / name).iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(StoppedError):
        adapt(short(tmp_path, tmp_path / "run"), StoppingTask)
    (tmp_path / "elsewhere").mkdir()
    for name in ("real", "clean", "depth"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    adapt(short(tmp_path / "elsewhere", tmp_path / "run"))
    assert load_checkpoint(tmp_path / "run" / "last.ckpt")["step"] == 4
    (tmp_path / "elsewhere" / "real" / "00.png").unlink()
    with pytest.raises(ConfigurationError, match=r"another configuration \(real\.folder\)"):
        adapt(short(tmp_path / "elsewhere", tmp_path / "run"))


def test_another_number_of_processes_is_refused(toy: Path, tmp_path: Path) -> None:
    adapt(short(toy, tmp_path))
    path = tmp_path / "last.ckpt"
    content = load_checkpoint(path)
    torch.save({**content, "world": 2}, path)
    with pytest.raises(ConfigurationError, match="made by 2 processes, not 1"):
        adapt(short(toy, tmp_path))


def test_the_best_is_replaced_when_the_criterion_changes(toy: Path, tmp_path: Path) -> None:
    """PSNR is in the tens, Q + 1 − D at most 2: the one must not stand against the other."""
    psnr = {"clean": str(toy / "clean"), "depth": str(toy / "depth"), "side": 64}
    with pytest.raises(StoppedError):
        adapt(short(toy, tmp_path, validation=psnr, run__validate_every=2), StoppingTask)
    assert load_checkpoint(tmp_path / "best.ckpt")["criterion"].startswith("PSNR on")
    adapt(short(toy, tmp_path, validation={"real": str(toy / "real")}, run__validate_every=2))
    best = load_checkpoint(tmp_path / "best.ckpt")
    assert best["criterion"].startswith("quality + 1 - density")
    # The step that the run went on from is validated by the new criterion, too.
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = {
        record["step"]: record["validation quality"] + 1 - record["validation density"]
        for record in records
        if "validation quality" in record
    }
    assert sorted(scores) == [2, 4]
    assert best["step"] == max(scores, key=lambda step: scores[step])
    weights = load_file(tmp_path / "best" / "weights.safetensors")
    assert torch.equal(weights["convolution.weight"], best["average"]["convolution.weight"])


def test_a_run_that_starts_anew_forgets_the_best_of_the_one_before(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(value: float) -> Any:
        def validate(self: ColabatorTraining, network: nn.Module) -> Validation:
            return Validation({"score": value}, value, "score")

        return validate

    for value in (2.0, 1.0):
        monkeypatch.setattr(ColabatorTraining, "validate", scored(value))
        adapt(short(toy, tmp_path, run__steps=2))
        assert load_checkpoint(tmp_path / "best.ckpt")["best"] == value
        (tmp_path / "last.ckpt").unlink()


def test_a_network_without_parameters_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no parameters to train"):
        adapt(short(toy, tmp_path, network__name="dcp"))


def test_folders_that_cannot_be_used_are_named(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"file.*cannot be written"):
            adapt(short(toy, folder))
    with pytest.raises(DataError, match=r"another pool\.folder"):
        adapt(short(toy, tmp_path / "run", pool__folder=str(tmp_path / "file")))


def test_an_error_of_the_network_is_not_blamed_on_the_run_folder(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a table of the network's own"):
        adapt(short(toy, tmp_path), DiskErrorTask)


def test_section_5s_settings_are_the_defaults(toy: Path, tmp_path: Path) -> None:
    settings = toy_settings(toy, tmp_path)
    settings["run"] = {"folder": str(tmp_path)}
    settings["optimizer"] = {"warmup_steps": 3}
    config = ColabatorConfig.model_validate(settings)
    assert (config.run.steps, config.run.batch) == (5000, 8)
    assert config.optimizer.learning_rate == 5e-5
    assert config.optimizer.final_learning_rate == 1e-6


def test_a_step_in_bfloat16(toy: Path, tmp_path: Path) -> None:
    adapt(short(toy, tmp_path, run__steps=2, run__precision="bfloat16"))
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    assert len(open_existing(tmp_path / "pool")) == 4


PROGRAM = "import sys; from pathlib import Path; from corun.training.colabator import run; "
PROGRAM += "run(Path(sys.argv[1]))"


def test_killed_at_any_moment_it_resumes_bit_identically(toy: Path, tmp_path: Path) -> None:
    long = {"run__steps": 12, "network__name": "toy_networks:Dropping"}
    adapt(short(toy, tmp_path / "straight", **long))
    broken = tmp_path / "broken"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(short(toy, broken, **long)))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(recipe)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (broken / "last.ckpt").exists():
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < load_checkpoint(broken / "last.ckpt")["step"] < 12
    adapt(short(toy, broken, **long))
    for part in ("network", "average"):
        assert same(tmp_path / "straight", broken, part)
    pools = [open_existing(tmp_path / name / "pool") for name in ("straight", "broken")]
    for key in pools[0].photos():
        first, second = (pool.get(key) for pool in pools)
        assert first is not None
        assert second is not None
        assert torch.equal(first.scene, second.scene)
        assert first[3:] == second[3:]


TWO = """
import hashlib, sys
from pathlib import Path
from corun.training import colabator
from corun.configuration import load_configuration
from corun.training.engine import train

def digits(network):
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()

if __name__ == "__main__":
    config = load_configuration(colabator.ColabatorConfig, Path(sys.argv[1]))
    task = colabator.ColabatorTraining(config)
    train(task, config.run, config.optimizer, colabator.identity_of(task))
    import os
    place = Path(sys.argv[1]).parent / f"rank{os.environ['RANK']}"
    place.write_text(digits(task.network) + " " + digits(task.teacher.network))
"""


@pytest.mark.slow
def test_two_processes_have_the_same_student_teacher_and_statistics(
    toy: Path, tmp_path: Path
) -> None:
    """With running statistics, and with a parameter without a gradient."""
    settings = short(toy, tmp_path / "run", network__name="toy_networks:Normalised")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "program.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, tmp_path / "program.py", tmp_path / "recipe.yaml"],
        capture_output=True, text=True, timeout=600, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    assert first == second
