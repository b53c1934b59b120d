"""The site is built without a warning, and what is written by hand agrees with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.slow
def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings", reason="needs pip install 'corun-dehaze[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=CHECKOUT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    pages = tmp_path / "site"
    commands = (pages / "reference" / "command-line.html").read_text(encoding="utf-8")
    assert "corun train colabator" in commands
    assert "--save-transmission" in commands
    python = (pages / "reference" / "python.html").read_text(encoding="utf-8")
    assert "how much of the haze goes" in python


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_front_pages_lead_somewhere(name: str) -> None:
    page = CHECKOUT / name
    generated = {"command-line.md", "metrics.md", "data-sets.md", "file-formats.md", "changelog.md"}
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [one for one in targets if not (page.parent / one).exists()] == []
    assert not generated & {Path(one).name for one in targets}  # not in the repository


def test_every_extra_is_on_the_page_of_installation() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (DOCS / "howto" / "install.md").read_text(encoding="utf-8")
    extras = set(project["optional-dependencies"])
    assert {name for name in extras if f"| `{name}` |" not in page} == set()


def test_the_readme_is_short_and_its_set_up_stands_alone() -> None:
    lines = (CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 120
    set_up = [line for line in lines if line.startswith("    python3 -m venv .venv && ")]
    assert len(set_up) == 2


def test_the_citation_names_the_version() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (CHECKOUT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {project['version']}\n" in citation
