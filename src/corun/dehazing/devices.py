"""How many processors this process may use, and whether a GPU is there; without importing torch."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from importlib.util import find_spec
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container's share of the processors is written: microseconds allowed, and in how many."""


def usable_threads() -> int:
    """Processors that this process may use: its affinity, and the container's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # macOS and Windows have no affinity that Python knows
        count = os.cpu_count() or 1
    try:
        allowed, period = CGROUP_QUOTA.read_text(encoding="ascii").split()
        quota = math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count
    return max(1, min(count, quota))


def torch_installed() -> bool:
    """Whether torch could be imported."""
    try:
        return find_spec("torch") is not None
    except (ImportError, ValueError):  # somebody forbids it in this process
        return False


def gpu_for_torch() -> bool:
    """Whether torch is installed and there is a GPU that it may know how to use.

    Asked of the drivers, because importing torch takes longer than clearing a photo.
    """
    if not torch_installed():
        return False
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    return cuda_devices() > 0


def cuda_devices() -> int:
    """How many GPUs NVIDIA's driver has; none where there is no driver."""
    name = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:  # no such driver
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
