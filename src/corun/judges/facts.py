"""What each judge is: facts that metrics, losses and Colabator share. Nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]
Kind = Literal["no-reference", "full-reference", "guard"]
Needs = Literal["nothing", "input", "target"]


@dataclass(frozen=True)
class NeededFile:
    """A file that the user keeps on disk, because it may not be part of this package.

    Attributes:
        key: its name in the mapping of files.
        what: what it is and how to get it, for the error message.
    """

    key: str
    what: str


@dataclass(frozen=True)
class Metric:
    """The facts of one metric; one that needs nothing beside the picture is a judge.

    Attributes:
        name: what it is called.
        title: its name in tables.
        better: which way is better.
        score_range: what its numbers are.
        source: where it was published.
        kind: of score; a guard is none of quality.
        version: raised when the number for the same file changes: caches are keyed by it.
        needs: what the score compares with: the hazy input, or the true clear scene.
        differentiable: whether it can be a loss.
        files: without which it cannot work; BRISQUE can be pyiqa's instead.
        least: pixels that height and width must have at least.
        package: which it is computed by, beside our own.
        scale: the numbers that count as worst and best in [0,1], where they are fixed.
        infinite_is_best: whether +∞ is a score (PSNR of equal pictures) and no failure.
    """

    name: str
    title: str
    better: Better
    score_range: str
    source: str
    kind: Kind = "no-reference"
    version: str = "1"
    needs: Needs = "nothing"
    differentiable: bool = False
    files: tuple[NeededFile, ...] = ()
    least: int = 1
    package: str = ""
    scale: tuple[float, float] | None = None
    infinite_is_best: bool = False

    @property
    def downloads(self) -> bool:
        """Whether its package may fetch weights from the network when it is first used."""
        return self.package == "pyiqa"


_BRISQUE = "of BRISQUE_release.zip, from live.ece.utexas.edu (Research, Quality)"
_FILES = {
    "brisque": (
        NeededFile("brisque_model", f"'allmodel' {_BRISQUE}"),
        NeededFile("brisque_range", f"'allrange' {_BRISQUE}"),
    ),
    "niqe": (
        NeededFile(
            "niqe", "niqe_pris_params.npz of basicsr (metrics/), the numbers of NIQE's release"
        ),
    ),
    "hazdesnet": (
        NeededFile(
            "hazdesnet", "weights/weights.hdf5 of the GitHub repository JiaheZhang/HazDesNet"
        ),
    ),
}
_SPL = "Mittal, Soundararajan and Bovik, SPL 2013"

# fmt: off
JUDGES: dict[str, Metric] = {
    judge.name: judge
    for judge in (
        # haze density
        Metric("density-net", "embedded density", "lower", "0 to 1",
               "docs/explanation/colabator.md", differentiable=True),
        Metric("fade", "FADE", "lower", "≥ 0, usually 0.1 to 5", "Choi, You and Bovik, TIP 2015",
               least=16, package="fade-python"),
        Metric("hazdesnet", "HazDesNet", "lower", "0 to 1", "Zhang et al., T-ITS 2022",
               differentiable=True, files=_FILES["hazdesnet"], least=32),
        Metric("clip", "CLIP", "lower", "0 to 1", "Luo et al., ICLR 2024",
               differentiable=True, package="open_clip"),
        # image quality
        Metric("natural-scene", "embedded quality", "higher", "0 to 1",
               "docs/explanation/colabator.md", scale=(0.0, 1.0)),
        Metric("brisque", "BRISQUE", "lower", "about 0 to 100, may leave it",
               "Mittal, Moorthy and Bovik, TIP 2012", files=_FILES["brisque"], least=16),
        Metric("niqe", "NIQE", "lower", "≥ 0, usually 2 to 10", f"{_SPL}; published statistics",
               files=_FILES["niqe"]),
        Metric("niqe-embedded", "NIQE, embedded statistics", "lower",
               "≥ 0, usually 2 to 10; not comparable with published NIQE",
               f"{_SPL}; statistics of our own"),
        Metric("nima", "NIMA", "higher", "1 to 10",
               "Talebi and Milanfar, TIP 2018, through pyiqa", package="pyiqa"),
        Metric("musiq", "MUSIQ", "higher", "about 0 to 100", "Ke et al., ICCV 2021, through pyiqa",
               package="pyiqa", scale=(0.0, 100.0)),
        Metric("paq2piq", "PAQ2PIQ", "higher", "about 0 to 100",
               "Ying et al., CVPR 2020, through pyiqa", package="pyiqa"),
        Metric("clipiqa", "CLIP-IQA", "higher", "0 to 1",
               "Wang, Chan and Loy, AAAI 2023, through pyiqa", package="pyiqa", scale=(0.0, 1.0)),
    )
}
# fmt: on
