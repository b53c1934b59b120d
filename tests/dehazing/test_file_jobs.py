"""A picture that meets a bug of ours fails alone; the others are done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import pytest
from small_networks import Identity
from torch import Tensor, nn

from corun.dehazing import memory
from corun.dehazing.file_jobs import JobOptions, Outcome, failed_outcome, run_jobs
from corun.dehazing.file_naming import Naming
from corun.dehazing.file_plan import make_plan
from corun.dehazing.loading import from_network, load
from corun.dehazing.memory import memory_advice
from corun.errors import DeviceError
from sample_pictures import pil_picture


class Raising(nn.Module):
    """Fails on its first picture with whatever it is given."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.errors = [error]

    def forward(self, hazy: Tensor) -> Tensor:
        if self.errors:
            raise self.errors.pop()
        return hazy


def outcomes(folder: Path, error: BaseException) -> list[Outcome]:
    for name in ("a.png", "b.png"):
        pil_picture("RGB").save(folder / name)
    plan = make_plan([str(folder)], Naming())
    return list(run_jobs(plan.jobs, from_network(Raising(error), device="cpu"), JobOptions()))


@pytest.mark.parametrize("error", [KeyError("a\nb"), RuntimeError("odd"), AttributeError("x")])
def test_an_unforeseen_exception_fails_one_picture(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORUN_TRACEBACK", raising=False)
    first, second = outcomes(tmp_path, error)
    assert (first.status, second.status) == ("failed", "ok")
    assert first.error is not None
    assert "a.png: unexpected error" in first.error
    assert type(error).__name__ in first.error
    assert "CORUN_TRACEBACK=1" in first.error
    assert "\n" not in first.error
    assert (tmp_path / "b.dehazed.png").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Failed to allocate memory for requested buffer of size 9"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_no_bug_of_ours(tmp_path: Path, error: Exception) -> None:
    first, second = outcomes(tmp_path, error)
    assert (first.status, second.status) == ("failed", "ok")
    assert first.error is not None
    assert "not enough memory" in first.error
    assert "bug" not in first.error
    # So it is where the reading or the writing of a picture takes too much.
    dehazer = from_network(Identity(), name="corun-base", device="cpu")
    outside = failed_outcome("a.png", error, dehazer)
    assert outside.error == f"a.png: not enough memory; {memory_advice('corun-base', 'cpu')}"


def test_advice_on_memory_fits_the_model() -> None:
    assert memory_advice("corun-lite", "cpu") == "scale the picture down, or close other programs"
    assert "--model corun-lite" in memory_advice("corun-base", "cpu")
    assert memory_advice("corun-lite", "cuda:0").endswith("or use --device cpu")


def test_what_the_memory_is_too_little_for_is_refused_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    memory.require_memory(1000, 2, 3, "dcp", "cpu")
    memory.require_memory(2000, 2, 3, "dcp", "cuda")
    with pytest.raises(DeviceError, match="not enough memory on cpu for 3x2 pixels with dcp"):
        memory.require_memory(1001, 2, 3, "dcp", "cpu")
    with pytest.raises(DeviceError, match="not enough memory on cpu for 23x17 pixels with corun-l"):
        load("corun-lite", device="cpu")(pil_picture("RGB"))


def test_its_traceback_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORUN_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="odd"):
        outcomes(tmp_path, RuntimeError("odd"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), BrokenPipeError()])
def test_what_ends_the_command_is_not_held_up(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        outcomes(tmp_path, error)


def test_one_picture_to_a_reader_who_left_ends_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        buffer: Gone

        def flush(self) -> None:
            raise BrokenPipeError

    pil_picture("RGB").save(tmp_path / "a.png")
    plan = make_plan([str(tmp_path / "a.png")], Naming(output="-"))
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        list(run_jobs(plan.jobs, from_network(Identity(), device="cpu"), JobOptions()))


class Meddling(nn.Module):
    """While it works, another program writes a file under the result's name."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target

    def forward(self, hazy: Tensor) -> Tensor:
        self.target.write_bytes(b"another program's")
        return hazy


@pytest.mark.parametrize(
    ("existing", "status"), [("refuse", "failed"), ("skip", "skipped"), ("overwrite", "ok")]
)
def test_a_file_that_appears_meanwhile_is_not_overwritten_unasked(
    tmp_path: Path, existing: Literal["refuse", "skip", "overwrite"], status: str
) -> None:
    pil_picture("RGB").save(tmp_path / "a.png")
    target = tmp_path / "a.dehazed.png"
    plan = make_plan([str(tmp_path)], Naming())
    dehazer = from_network(Meddling(target), device="cpu")
    [outcome] = run_jobs(plan.jobs, dehazer, JobOptions(existing=existing))
    assert outcome.status == status
    if status == "failed":
        assert outcome.error == f"{target}: exists already; add --overwrite or --skip-existing"
    assert (target.read_bytes() == b"another program's") == (status != "ok")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dehazed.png", "a.png"]
