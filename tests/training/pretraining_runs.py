"""Pre-trainings as processes of their own, and what they leave."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from torch import Tensor

from corun.training.checkpoint import load_checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PROGRAM = "import sys; from pathlib import Path; from corun.training.pretrain import run; "
PROGRAM += "run(Path(sys.argv[1]), sys.argv[2:])"


def command(recipe: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(recipe), *overrides]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_checkpoint(folder / "last.ckpt")["network"]
