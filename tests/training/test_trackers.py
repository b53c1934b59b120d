"""What trackers are told, that a run goes on in them, and what is said where they cannot be."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from corun.errors import DataError, MissingExtraError
from corun.training.configuration import RunConfig
from corun.training.trackers import Tracker, open_tracker

pytestmark = pytest.mark.filterwarnings("ignore")
SHEET = torch.zeros(3, 4, 5)


def opened(folder: Path, logger: str, first: int = 0, **more: Any) -> Tracker:
    run = RunConfig(folder=folder, logger=logger, **more)
    tracker = open_tracker(run, first, {"run": {"seed": 3}, "loss": {"pixel": 1.0}})
    assert tracker is not None
    return tracker


def report(tracker: Tracker, *steps: int, failed: bool = False) -> None:
    for step in steps:
        tracker.numbers({"train/loss": 1 / step}, step)
    tracker.picture("labels", SHEET, steps[-1])
    tracker.close(failed=failed)


def test_tensorboard_forgets_what_the_resumed_run_does_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report(opened(tmp_path, "tensorboard"), 1, 2, 3, failed=True)
    # Files of one second are read in the order of a number that is not padded: 10 before 9.
    time.sleep(1.1)
    report(opened(tmp_path, "tensorboard", first=2), 3, 4)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 3, 4]
    assert events.Tags()["images"] == ["labels"]


def test_none_is_none(tmp_path: Path) -> None:
    assert open_tracker(RunConfig(folder=tmp_path, logger="none"), 0, {}) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_mlflow_in_the_runs_folder_goes_on_with_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny (extra mlflow)")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    report(opened(tmp_path, "mlflow", project="haze"), 1, 2, failed=True)
    name = json.loads((tmp_path / "tracker.json").read_text())["mlflow"]
    client = mlflow.MlflowClient(f"file:{tmp_path}/mlruns")
    assert client.get_run(name).info.status == "FAILED"
    report(opened(tmp_path, "mlflow", first=2, project="haze"), 3)
    (experiment,) = [e for e in client.search_experiments() if e.name == "haze"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (name, "FINISHED")
    assert run.data.params["loss/pixel"] == "1.0"
    assert [m.step for m in client.get_metric_history(name, "train/loss")] == [1, 2, 3]
    pictures = {artifact.path for artifact in client.list_artifacts(name, "pictures")}
    assert pictures == {"pictures/labels-000002.png", "pictures/labels-000003.png"}


@pytest.mark.slow
def test_wandb_offline_writes_into_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs wandb (extra wandb)")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert __import__("os").environ["HF_HUB_OFFLINE"] == "1"  # what corun --offline sets
    for first in (0, 2):
        report(opened(tmp_path, "wandb", first), first + 1, first + 2)
    name = json.loads((tmp_path / "tracker.json").read_text())["wandb"]
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{name}"))
    assert runs
    assert all(list(run.glob("*.wandb")) for run in runs)


class FakeTrackio(ModuleType):
    """Keeps what it is told, by the name of the run."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.told: dict[str, list[Any]] = {}
        self.current: list[Any] = []
        self.failing = False

    def init(self, *, project: str, name: str, resume: str) -> SimpleNamespace:
        assert (project, resume) == ("corun", "allow")
        self.current = self.told.setdefault(name, [])
        return SimpleNamespace(config=SimpleNamespace(update=self.current.append))

    def log(self, values: dict[str, Any], step: int) -> None:
        if self.failing:
            raise ConnectionError("no route\nto host")
        self.current.append((step, *values))

    def Image(self, pixels: Any) -> Any:  # noqa: N802
        assert pixels.shape == (4, 5, 3)
        return pixels

    def finish(self) -> None:
        self.current.append("finished")


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    return fake


def test_trackio_goes_on_with_the_same_run(tmp_path: Path, trackio: FakeTrackio) -> None:
    for first in (0, 1):
        report(opened(tmp_path, "trackio", first), first + 1)
    ((name, told),) = trackio.told.items()
    assert name.startswith(f"{tmp_path.name}-")
    settings = {"run": {"seed": 3}, "loss": {"pixel": 1.0}}
    assert told == [
        settings,  # once: a run that goes on has them
        *((1, "train/loss"), (1, "labels"), "finished"),
        *((2, "train/loss"), (2, "labels"), "finished"),
    ]


def test_a_service_that_fails_is_said_once_and_tried_again(
    tmp_path: Path, trackio: FakeTrackio, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = opened(tmp_path, "trackio")
    trackio.failing = True
    tracker.numbers({"train/loss": 1.0}, 1)
    tracker.numbers({"train/loss": 1.0}, 2)
    trackio.failing = False
    tracker.numbers({"train/loss": 1.0}, 3)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "run.logger=trackio: does not answer (no route to host); the run goes on" in told
    assert trackio.current[1:] == [(3, "train/loss")]


@pytest.mark.parametrize("logger", ["wandb", "mlflow", "trackio"])
def test_what_is_not_installed_says_how_to_install_it(
    tmp_path: Path, logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning.pytorch.loggers as loggers

    def absent(**settings: Any) -> None:
        raise ModuleNotFoundError("not there")  # as Lightning's loggers do

    monkeypatch.setattr(loggers, "WandbLogger", absent)
    monkeypatch.setattr(loggers, "MLFlowLogger", absent)
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'corun-dehaze\[{logger}\]'"):
        opened(tmp_path, logger)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_opened_is_one_line(tmp_path: Path, trackio: FakeTrackio) -> None:
    (tmp_path / "tracker.json").write_text("{")
    with pytest.raises(DataError, match=r"tracker\.json: is damaged; remove it"):
        opened(tmp_path, "trackio")
    (tmp_path / "tracker.json").write_text('{"trackio": "gone"}')
    trackio.init = lambda **settings: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"run\.logger=none; to begin a run anew there, remove"):
        opened(tmp_path, "trackio")
