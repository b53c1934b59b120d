"""What a training tells, on a disk that takes no more: one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from corun.errors import DataError
from corun.training.configuration import RunConfig
from corun.training.reporting import Reporter

REMEDY = r"mend that, and the same command goes on from the last checkpoint"


def reporter(folder: Path) -> Reporter:
    run = RunConfig(folder=folder, steps=100)
    return Reporter(run, 0, {"seed": 3}, enabled=True, every=1)


def step(reporter: Reporter) -> None:
    reporter.step(1, {"loss": 0.5})


def pictures(reporter: Reporter) -> None:
    reporter.pictures(1, {"labels": torch.zeros(3, 4, 5)})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("report", "name"), [(step, "log.jsonl"), (pictures, "pictures/labels-000001.png")]
)
def test_a_full_disk_is_one_line(
    tmp_path: Path, report: Callable[[Reporter], None], name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to("/dev/full")
    with (
        pytest.raises(DataError, match=rf"{name}: cannot be written \(No space left .*{REMEDY}"),
        reporter(tmp_path) as running,
    ):
        report(running)


@pytest.mark.parametrize("name", ["events", "pictures"])
def test_what_is_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a file")
    with pytest.raises(DataError, match=rf"cannot be written .*{REMEDY}"), reporter(tmp_path) as r:
        pictures(r)


def test_no_bar_is_drawn_into_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich then takes a pipe for a terminal
    with reporter(tmp_path) as running:
        running.step(1, {"loss": 0.5})
    assert capfd.readouterr().err == ""


def test_a_log_is_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reporter(tmp_path) as running:
        running.step(1, {"loss": 0.5})
        whole = (tmp_path / "log.jsonl").read_bytes()
        torn = Path.open

        def tear(path: Path, mode: str = "r", **options: object) -> object:
            stream = torn(path, mode, **options)
            if path.name == "log.jsonl":
                stream.write('{"half')
                stream.close()
                raise OSError(28, "No space left on device")
            return stream

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", tear)
            with pytest.raises(DataError, match=r"log\.jsonl: cannot be written"):
                running.step(2, {"loss": 0.4})
        assert (tmp_path / "log.jsonl").read_bytes() == whole
