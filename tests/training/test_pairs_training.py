"""Pre-training and adaptation on pairs, beside photos with depth and alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from colabator_toy import real_haze, toy_settings, write_picture, write_toy
from torch import Tensor, nn

from corun.configuration import load_configuration
from corun.data.scenes import render_scene
from corun.errors import ConfigurationError, DataError
from corun.networks.checkpoints import load_network
from corun.training import colabator, pretrain
from corun.training.checkpoint import load_checkpoint
from corun.training.engine import train
from corun.training.task import LossTerms

pytestmark = pytest.mark.filterwarnings("ignore")


def write_pairs(folder: Path, count: int = 4, side: int = 48) -> list[str]:
    """Rendered scenes as ``NN_hazy.png`` and ``NN_GT.png`` in one folder; the overrides of it."""
    for seed in range(count):
        scene = render_scene(side, side, 300 + seed)
        write_picture(folder / f"{seed:02d}_GT.png", scene.image)
        write_picture(folder / f"{seed:02d}_hazy.png", real_haze(scene.image, scene.depth, seed))
    return [f"data.pairs.nh.{kind}={folder}" for kind in ("hazy", "clear")]


class StoppedError(Exception):
    """Stands for a kill in the middle of a run."""


def stopping_at(step: int, original: Any) -> Any:
    def loss(self: Any, network: nn.Module, batch: Any, at: int, part: int, rank: int) -> Any:
        if at == step:
            raise StoppedError
        return original(self, network, batch, at, part, rank)

    return loss


def test_a_mixed_pretraining_resumes_to_the_bit_and_scores_both(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    overrides = [*write_pairs(tmp_path / "nh"), "run.steps=6", "loss.transmission=0.3"]
    pretrain.run(recipe, [*overrides, f"run.folder={tmp_path}/whole"])
    said = capsys.readouterr().err
    assert "pairs nh: 4 pairs of 4 clear photos, by the rule 'role'" in said
    assert "loss.transmission leaves out pairs" in said
    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Pretraining, "loss", stopping_at(4, pretrain.Pretraining.loss))
        with pytest.raises(StoppedError):
            pretrain.run(recipe, overrides)
    pretrain.run(recipe, overrides)
    one, other = (load_checkpoint(tmp_path / f / "last.ckpt") for f in ("whole", "run"))
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name]), name
    scores = load_network(tmp_path / "run" / "weights.safetensors").metadata["validation"]
    assert scores.keys() == {"PSNR", "SSIM", "PSNR nh", "SSIM nh"}
    best = load_checkpoint(tmp_path / "run" / "best.ckpt")
    assert best["best"] == pytest.approx((scores["PSNR"] + scores["PSNR nh"]) / 2)
    assert best["criterion"].endswith(f"{tmp_path}/clean and pairs held out of {tmp_path}/nh")
    assert (tmp_path / "run" / "pictures" / "pairs-nh-000006.png").is_file()
    with pytest.raises(ConfigurationError, match=r"another .* \(data\.pairs\.nh\.weight"):
        pretrain.run(recipe, [*overrides, "data.pairs.nh.weight=2"])


def test_pairs_alone_need_neither_depth_nor_a_recipes_validation(
    recipe: Path, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "nh")
    text = recipe.read_text(encoding="utf-8").replace(
        "validation: {clean: ", "validation: {clean: /nowhere"
    )
    recipe.write_text(text, encoding="utf-8")
    pretrain.run(recipe, [*pairs, "data.weight=0", "run.steps=2", "run.validate_every=2"])
    records = [json.loads(t) for t in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {k for r in records for k in r if k.startswith("validation")} == {
        "validation PSNR nh",
        "validation SSIM nh",
    }


def test_the_transmissions_truth_is_asked_of_photos_with_depth_only(
    recipe: Path, tmp_path: Path
) -> None:
    """The other terms see all crops; a crop weighs the same whatever else is in its batch."""
    overrides = [*write_pairs(tmp_path / "nh"), "run.batch=8", "loss.transmission=1"]
    task = pretrain.Pretraining(load_configuration(pretrain.PretrainConfig, recipe, overrides))
    batch = task.prepare(0, 0, 0, 1)
    assert batch.known is not None
    assert batch.known.any()
    assert not batch.known.all()

    def terms(changed: Any) -> LossTerms:
        with torch.no_grad():
            return task.loss(task.network, changed, 0, 0, 0)

    found = terms(batch)
    wrong = batch.haze.transmission.clone()
    wrong[~batch.known] = 0.3
    assert torch.equal(terms(batch._replace(haze=batch.haze._replace(transmission=wrong))).total,
                       found.total)  # fmt: skip
    only = batch.haze._replace(**{k: v[batch.known] for k, v in batch.haze._asdict().items()})
    alone = terms(batch._replace(haze=only, known=None))
    share = batch.known.float().mean()
    torch.testing.assert_close(found.parts["transmission"], share * alone.parts["transmission"])
    with torch.no_grad():
        scene = task.network(batch.haze.hazy).scene
    torch.testing.assert_close(found.parts["pixel"], (scene - batch.haze.target).abs().mean())


def test_pairs_of_two_sizes_stop_a_run_before_it_starts(recipe: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "nh")
    write_picture(tmp_path / "nh" / "01_GT.png", torch.zeros(3, 40, 48))
    with pytest.raises(DataError, match=r"01_hazy\.png is 48x48, .*01_GT\.png 48x40"):
        pretrain.run(recipe, pairs)
    assert not (tmp_path / "run").exists()


class StoppingTask(colabator.ColabatorTraining):
    loss = stopping_at(3, colabator.ColabatorTraining.loss)


@pytest.mark.parametrize("alone", [False, True])
def test_colabators_synthetic_half_may_be_pairs(tmp_path: Path, alone: bool) -> None:
    toy = write_toy(tmp_path / "toy", 6)
    write_pairs(tmp_path / "nh", side=64)
    folders = {"hazy": str(tmp_path / "nh"), "clear": str(tmp_path / "nh")}

    def settings(name: str) -> dict[str, Any]:
        made = toy_settings(
            toy, tmp_path / name, run__steps=4, run__batch=2, run__checkpoint_every=2,
            synthetic__pairs={"nh": folders}, adaptation__transmission=0.1,
            validation={"pairs": {"nh": folders}, "side": 64},
        )  # fmt: skip
        if alone:
            for key in ("clean", "depth", "convention"):
                del made["synthetic"][key]
        return made

    def adapt(name: str, kind: type[colabator.ColabatorTraining]) -> None:
        config = colabator.ColabatorConfig.model_validate(settings(name))
        task = kind(config)
        assert "adaptation.transmission leaves out pairs" in " ".join(task.notices)
        train(task, config.run, config.optimizer, colabator.identity_of(task))

    adapt("whole", colabator.ColabatorTraining)
    with pytest.raises(StoppedError):
        adapt("broken", StoppingTask)
    adapt("broken", colabator.ColabatorTraining)
    states: list[dict[str, Tensor]] = [
        load_checkpoint(tmp_path / name / "last.ckpt")["network"] for name in ("whole", "broken")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert load_checkpoint(tmp_path / "whole" / "best.ckpt")["criterion"].startswith("PSNR on ")
    (tmp_path / "nh" / "00_GT.png").unlink()
    with pytest.raises(ConfigurationError, match=r"another configuration \(synthetic\.pairs\.nh"):
        adapt("whole", colabator.ColabatorTraining)
