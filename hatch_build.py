"""What a package learns where it is built: its commit, for `corun --version`, and its addresses."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PLACES = {"wheel": "corun/commit.txt", "sdist": "src/corun/commit.txt"}


class CommitHook(BuildHookInterface[Any]):
    """Adds commit.txt; a source distribution brings it along, and a checkout asks git."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes the file beside the build and includes it."""
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self.root)
        if version == "editable" or (root / "src" / "corun" / "commit.txt").exists():
            return
        commit = _commit(root)
        if commit is not None:
            path = Path(self._folder.name) / "commit.txt"
            path.write_text(commit + "\n", encoding="utf-8")
            build_data["force_include"][str(path)] = PLACES[self.target_name]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the file again."""
        self._folder.cleanup()


class AddressHook(MetadataHookInterface):
    """Adds project.urls: those of the repository in which the workflow that builds runs."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Without GITHUB_REPOSITORY (owner/name), as on a person's machine, there are none."""
        repository = os.environ.get("GITHUB_REPOSITORY")
        if repository:
            source = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
            metadata["urls"] = {
                "Source": source,
                "Issues": f"{source}/issues",
                "Changelog": f"{source}/blob/main/CHANGELOG.md",
                "Documentation": f"{source}/tree/main/docs",
            }


def _commit(root: Path) -> str | None:
    if not (root / ".git").exists():  # not a folder inside another repository
        return None
    describe = ("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *describe], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
