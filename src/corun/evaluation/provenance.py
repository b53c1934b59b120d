"""Where a report's numbers come from: versions, checksums, the protocol and the command."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from corun.evaluation.methods import installed_version
from corun.evaluation.plan import Plan
from corun.evaluation.report import MetricFacts

PACKAGES = ("corun-dehaze", "torch", "numpy", "pillow", "fade-python", "onnxruntime", "pyiqa")


def provenance_of(plan: Plan, facts: Mapping[str, MetricFacts], command: str) -> dict[str, Any]:
    """What another person needs to get the same numbers."""
    side = "as they are" if plan.long_side is None else f"long side at most {plan.long_side}"
    versions = {name: found for name in PACKAGES if (found := installed_version(name))}
    content: dict[str, Any] = {
        "protocol": f"8-bit RGB PNG, {side}, reduced by area averaging, scored as saved",
        "methods": {
            m.label: " ".join(filter(None, (m.kind, m.code, m.source, m.checksum)))
            for m in plan.methods
        },
        "metrics": {name: entry.version for name, entry in facts.items()},
        "data sets": {d.label: f"{d.name} in {d.folder}" for d in plan.datasets},
        "versions": {"python": platform.python_version(), **versions},
    }
    if plan.detector is not None:
        content["detector"] = plan.detector
    if command:
        content["command"] = command
    return content
