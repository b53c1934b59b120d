"""Pre-training end to end, with real files and real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pretraining_runs import ENVIRONMENT, PROGRAM, weights

from corun.configuration import load_configuration
from corun.errors import ConfigurationError, DataError
from corun.networks.checkpoints import load_network
from corun.training.checkpoint import load_checkpoint
from corun.training.engine import TrainingDivergedError
from corun.training.pretrain import PretrainConfig, Pretraining, run, validated_on_own_data
from rendered_folders import write_recipe, write_scenes


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


def test_crops_that_the_stages_cannot_see_whole_are_refused(recipe: Path) -> None:
    for override in ("data.crop=34", "network.working_pixels=1000"):
        with pytest.raises(ConfigurationError, match=r"data\.crop"):
            run(recipe, [override])


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
    trained = {path.name for path in task.data.clean.photos}
    held = {path.name for path in task.held_out.clean.photos}
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
    assert len(task.data.clean) == 5


@pytest.mark.filterwarnings("ignore")
def test_one_photo_cannot_be_shared(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    with pytest.raises(DataError, match=r"one photo cannot be .* validation=null"):
        run(write_recipe(tmp_path), ["validation.clean=null", "validation.depth=null"])


@pytest.mark.filterwarnings("ignore")
def test_recomputed_priors_train_the_same_network(recipe: Path) -> None:
    steps = ["run.steps=3", "run.validate_every=3"]
    run(recipe, [*steps, f"run.folder={recipe.parent}/kept"])
    run(recipe, [*steps, "run.recompute=true"])
    kept, again = weights(recipe.parent / "kept"), weights(recipe.parent / "run")
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, again[name], atol=1e-6, rtol=0)
