"""CORUN's fast formulation against the literal one, in one run: speed, peak memory, accuracy.

    python benchmarks/inference.py                 # 512×512, memory at 2048×1536, large pictures
    python benchmarks/inference.py --only large    # what working_pixels saves at 4096×3072
    python benchmarks/inference.py --against 2676054   # corun-lite as shipped, here and there
    python benchmarks/inference.py --device cuda   # the same on a GPU, and a training step

The literal formulation (tests/literal_formulation.py) computes queries, keys and values at every
pixel and whole feed-forward maps, in float32 and contiguous memory order. Speed is the median
over pairs run in turn; memory is each process's own high-water mark less that of a process that
only imports and builds the network. At 2048×1536 the float32 sums over three million pixels in
the literal formulation round to about 3e-5 of the output, so there the difference is also taken
to the literal formulation with those sums alone carried in float64. Both formulations run at full
size; only ``--only large`` lets corun-lite reduce large pictures for its stages, as it ships.

``--against COMMIT`` checks that commit out beside this one and calls ``corun.load("corun-lite")``
of both on the same 8-bit pictures of three sizes, in processes in turn: median seconds of a call
after a first one, and the peak of memory above the process with the loaded model and the picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from corun.networks.corun import CORUN
from corun.networks.registry import BASE_CONFIG, LITE_CONFIG
from literal_formulation import LiteralCORUN

CONFIGS = {"corun-base": BASE_CONFIG, "corun-lite": LITE_CONFIG}


class LowPrecision(nn.Module):
    """The network under autocast, as the Dehazer runs it with ``--dtype bfloat16``."""

    def __init__(self, network: CORUN, device: str) -> None:
        super().__init__()
        self.network, self.device = network, device

    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device, torch.bfloat16):
            scene, transmission = self.network(hazy)
        return scene.float(), transmission.float()


def build(name: str, variant: str, device: str) -> nn.Module:
    torch.manual_seed(0)
    config = CONFIGS[name]
    if variant != "as shipped":
        config = dataclasses.replace(config, working_pixels=0)
    network = CORUN(config).eval().to(device)
    if variant.startswith("literal"):
        return LiteralCORUN(network, exact_sums=variant == "literal, exact sums")
    network = network.to(memory_format=torch.channels_last)
    return LowPrecision(network, device) if variant == "bfloat16" else network


def picture(height: int, width: int, device: str) -> Tensor:
    from corun.data.scenes import render_scene

    image = render_scene(height, width, 0).image
    return (0.5 * image + 0.45)[None].to(device)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a.clamp(0, 1) - b.clamp(0, 1)).square().mean().log10())


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def speed(name: str, side: int, pairs: int, device: str) -> dict[str, object]:
    """Median seconds of each variant, in turn, and the ratios pair by pair."""
    hazy = picture(side, side, device)
    networks = {v: build(name, v, device) for v in ("literal", "float32", "bfloat16")}
    outputs = {variant: network(hazy)[0] for variant, network in networks.items()}
    seconds: dict[str, list[float]] = {variant: [] for variant in networks}
    for _ in range(pairs):
        for variant, network in networks.items():
            synchronise(device)
            start = time.perf_counter()
            network(hazy)
            synchronise(device)
            seconds[variant].append(time.perf_counter() - start)

    def ratio(variant: str) -> float:
        ratios = [a / b for a, b in zip(seconds["literal"], seconds[variant], strict=True)]
        return round(sorted(ratios)[len(ratios) // 2], 2)

    return {
        "model": name,
        "size": f"{side}x{side}",
        "median seconds": {v: round(sorted(s)[len(s) // 2], 3) for v, s in seconds.items()},
        "times faster than literal": {v: ratio(v) for v in ("float32", "bfloat16")},
        "largest difference, float32": float((outputs["float32"] - outputs["literal"]).abs().max()),
        "PSNR to literal, dB": {
            v: round(psnr(outputs[v], outputs["literal"]), 1) for v in ("float32", "bfloat16")
        },
    }


def memory_child(name: str, variant: str, height: int, width: int, out: Path | None) -> None:
    """In a process of its own: run once, print the high-water mark in MiB."""
    network = None if variant == "nothing" else build(name, variant, "cpu")
    hazy = picture(height, width, "cpu")
    if network is not None:
        with torch.no_grad():
            scene = network(hazy)[0]
        if out is not None:
            torch.save(scene, out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(name: str, height: int, width: int, folder: Path) -> dict[str, object]:
    """Peak memory of one picture beyond an idle process, literal and fast, and their difference."""
    peaks = {}
    for variant in ("nothing", "literal", "literal, exact sums", "float32"):
        command = [sys.executable, __file__, "--child", name, variant, str(height), str(width),
                   str(folder / f"{variant}.pt")]  # fmt: skip
        peaks[variant] = float(subprocess.run(command, check=True, capture_output=True).stdout)
    ours = torch.load(folder / "float32.pt", weights_only=True)
    difference = {
        v: float((torch.load(folder / f"{v}.pt", weights_only=True) - ours).abs().max())
        for v in ("literal", "literal, exact sums")
    }
    used = {v: peaks[v] - peaks["nothing"] for v in ("literal", "float32")}
    return {
        "model": name,
        "size": f"{width}x{height}",
        "peak MiB beyond an idle process": {v: round(u) for v, u in used.items()},
        "share of literal": round(used["float32"] / used["literal"], 3),
        "largest difference to": difference,
    }


def large_child(name: str, variant: str, height: int, width: int) -> None:
    """In a process of its own: run twice, print the second's seconds and the peak in MiB."""
    network = None if variant == "nothing" else build(name, variant, "cpu")
    hazy = torch.rand(1, 3, height, width)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        if network is not None:
            with torch.no_grad():
                network(hazy)
        seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def large(name: str, height: int, width: int, pairs: int) -> dict[str, object]:
    """One large picture, as shipped and with every stage at full size, in turn."""
    variants = ("nothing", "float32", "as shipped")
    seconds: dict[str, list[float]] = {v: [] for v in variants}
    peaks: dict[str, list[float]] = {v: [] for v in variants}
    for _ in range(pairs):
        for variant in variants:
            command = [sys.executable, __file__, "--large-child", name, variant, str(height),
                       str(width)]  # fmt: skip
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            second, peak = map(float, printed.split())
            seconds[variant].append(second)
            peaks[variant].append(peak)

    def median(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    ratios = [a / b for a, b in zip(seconds["float32"], seconds["as shipped"], strict=True)]
    used = {v: median(peaks[v]) - median(peaks["nothing"]) for v in variants[1:]}
    return {
        "model": name,
        "size": f"{width}x{height}",
        "median seconds": {v: round(median(seconds[v]), 2) for v in variants[1:]},
        "peak MiB beyond a process that has the picture": {v: round(u) for v, u in used.items()},
        "times faster than every stage at full size": round(median(ratios), 1),
        "share of its memory": round(used["as shipped"] / used["float32"], 3),
    }


COMPARED_SIZES = ((480, 640), (1080, 1920), (3000, 4000))
COMPARED_CALLS = """
import json, resource, sys, time
import numpy as np
import corun
height, width, calls = map(int, sys.argv[1:])
y, x = np.mgrid[:height, :width]
grey = 128 + 90 * np.sin(y / height * 7 + 1) * np.cos(x / width * 9) + 8 * ((x // 4 + y // 4) % 2)
picture = np.repeat(grey[..., None].clip(0, 255).astype(np.uint8), 3, 2)
del x, y, grey
dehazer = corun.load("corun-lite", device="cpu")
dehazer(picture[:16, :16])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the high-water mark starts anew
def status(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
before = status("VmRSS")
seconds = []
for _ in range(calls + 1):
    start = time.perf_counter()
    dehazer(picture)
    seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": sorted(seconds[1:])[calls // 2], "MiB": status("VmHWM") - before}))
"""


def against(commit: str, pairs: int) -> list[dict[str, object]]:
    """corun-lite as shipped, of this checkout and of another commit, in processes in turn."""
    here = Path(__file__).resolve().parents[1]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        git = ["git", "-C", str(here), "worktree"]
        subprocess.run([*git, "add", "--detach", "-q", str(other), commit], check=True)
        try:
            for height, width in COMPARED_SIZES:
                calls = 3 if height > 2000 else 7
                found: dict[str, list[dict[str, float]]] = {"here": [], commit: []}
                for _ in range(pairs):
                    for label, tree in (("here", here), (commit, other)):
                        environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
                        command = [sys.executable, "-c", COMPARED_CALLS]
                        done = subprocess.run(
                            [*command, str(height), str(width), str(calls)],
                            check=True, capture_output=True, text=True, env=environment,
                        )  # fmt: skip
                        found[label].append(json.loads(done.stdout))
                ratios = [b["seconds"] / a["seconds"] for a, b in zip(*found.values(), strict=True)]
                result: dict[str, object] = {"size": f"{width}x{height}"}
                for label, runs in found.items():
                    result[label] = {
                        key: round(sorted(run[key] for run in runs)[len(runs) // 2], 3)
                        for key in ("seconds", "MiB")
                    }
                result["times faster"] = round(sorted(ratios)[len(ratios) // 2], 2)
                results.append(result)
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)
    return results


def training_step(name: str, side: int, batch: int, device: str, repeats: int) -> dict[str, object]:
    """Seconds and peak memory of forward, backward and AdamW, literal and fast."""
    result: dict[str, object] = {"model": name, "batch": batch, "size": f"{side}x{side}"}
    hazy = torch.rand(batch, 3, side, side, device=device)
    for variant in ("literal", "float32", "bfloat16"):
        network = build(name, variant, device).train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(repeats + 1):
            synchronise(device)
            start = time.perf_counter()
            scene, transmission = network(hazy)
            ((scene - hazy).abs().mean() + 0.01 * transmission.mean()).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            synchronise(device)
            times.append(time.perf_counter() - start)
        seconds = sorted(times[1:])[repeats // 2]
        peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
        result[variant] = {"seconds": round(seconds, 3), "peak MiB": peak and round(peak)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=["speed", "memory", "large", "training"])
    parser.add_argument("--against", metavar="COMMIT", help="compare with another commit")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--large-child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, variant, height, width, out = arguments.child
        memory_child(name, variant, int(height), int(width), Path(out))
        return
    if arguments.large_child:
        name, variant, height, width = arguments.large_child
        large_child(name, variant, int(height), int(width))
        return
    if arguments.against:
        for result in against(arguments.against, arguments.pairs):
            print(json.dumps(result), flush=True)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}")
    if arguments.only in (None, "speed"):
        for name in CONFIGS:
            print(json.dumps(speed(name, 512, arguments.pairs, arguments.device), indent=1))
    if arguments.only in (None, "memory") and arguments.device == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(memory("corun-base", 1536, 2048, Path(folder)), indent=1))
    if arguments.only in (None, "large") and arguments.device == "cpu":
        print(json.dumps(large("corun-lite", 3072, 4096, arguments.pairs), indent=1))
    if arguments.only == "training" or (arguments.only is None and arguments.device == "cuda"):
        batch = 16 if arguments.device == "cuda" else 2
        print(json.dumps(training_step("corun-base", 288, batch, arguments.device, 3), indent=1))


if __name__ == "__main__":
    main()
