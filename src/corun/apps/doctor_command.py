"""`corun doctor`: what is installed, what would be chosen, and whether it clears a picture."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from corun.dehazing.dehazer import Dehazer
    from corun.dehazing.loading import EngineName

MEAN_LIMIT = 2.0
"""Largest mean difference from the golden result, of 255: bfloat16 stays below a half of it."""

LARGEST_LIMIT = 24
"""Largest difference of a sample, of 255."""


def doctor(
    device: Annotated[str, typer.Option(help="As of corun dehaze.")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, onnx, openvino or torch.")] = "auto",
) -> None:
    """Say what is installed, what would be chosen, and clear a golden picture.

    Paste all of it into a report: it names no folder and no file of yours. The exit status is 1
    where the self-test fails.
    """
    from corun.apps.exit_status import FAILED
    from corun.errors import CorunError

    for line in (*_installed(), *_devices()):
        print(line)
    try:
        passed, said = _self_test(device, cast("EngineName", engine))
    except CorunError as error:
        passed, said = False, str(error)
    print(f"self-test: {'passed' if passed else 'FAILED'}; {said}")
    if not passed:
        raise typer.Exit(FAILED)


def _installed() -> Iterator[str]:
    import platform

    from corun.apps.installation import extras, packages, version_line
    from corun.dehazing.devices import usable_threads

    yield version_line()
    yield (
        f"python {platform.python_version()} on {platform.system()} {platform.release()}, "
        f"{platform.machine()}, {usable_threads()} processors"
    )
    found = packages()
    yield "packages: " + ", ".join(f"{name} {found[name] or 'MISSING'}" for name in sorted(found))
    for extra, missing in extras().items():
        yield f"extra {extra}: " + (f"lacks {', '.join(missing)}" if missing else "installed")


def _devices() -> Iterator[str]:
    from corun.dehazing.devices import torch_installed, usable_threads

    yield f"threads: {usable_threads()} may be used"
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        yield f"onnxruntime: {', '.join(onnxruntime.get_available_providers())}"
    if not torch_installed():
        yield "torch: not installed; photos need none"
        return
    import torch

    from corun.dehazing.engines.torch_devices import cpu_computes_bfloat16

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield f"torch: {torch.__version__}, built with {built}, {torch.get_num_threads()} threads"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    names += ["mps"] * torch.backends.mps.is_available()
    bfloat16 = "with" if cpu_computes_bfloat16() else "without"
    yield "devices: " + ", ".join([*names, f"cpu {bfloat16} bfloat16 instructions"])


def _self_test(device: str, engine: EngineName) -> tuple[bool, str]:
    """Whether the default model makes of the golden picture what it made when it was released."""
    import time
    from importlib.resources import as_file, files

    import numpy as np

    from corun.dehazing.loading import load
    from corun.pictures.reading import read_picture

    began = time.perf_counter()
    dehazer = load(device=device, engine=engine)
    print(f"chosen: {_choice(dehazer)}", flush=True)
    with as_file(files("corun") / "weights" / "golden.png") as path:
        both = np.asarray(read_picture(path).image)
    hazy, expected = np.split(both, 2)
    clear = np.asarray(dehazer(hazy).image)
    difference = np.abs(clear.astype(np.int16) - expected)
    mean, largest = float(difference.mean()), int(difference.max())
    passed = mean <= MEAN_LIMIT and largest <= LARGEST_LIMIT
    said = (
        f"{time.perf_counter() - began:.1f} s; mean difference {mean:.2f} of 255 "
        f"(limit {MEAN_LIMIT:g}), largest {largest} (limit {LARGEST_LIMIT})"
    )
    return passed, said


def _choice(dehazer: Dehazer) -> str:
    facts = dehazer.engine.facts
    return f"{dehazer.name} by {facts.name} on {facts.device} in {facts.dtype}"
