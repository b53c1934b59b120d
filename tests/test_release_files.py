"""What a release takes: checksums that notice a wrong file, workflows that name what is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

CHECKOUT = Path(__file__).resolve().parents[1]


def check_weights(*wheels: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKOUT / ".ci" / "weights.py"), *map(str, wheels)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize("card", [{"sha256": "0" * 64}, {}], ids=["another", "none"])
def test_weights_that_are_not_what_their_card_says_are_found(
    tmp_path: Path, card: dict[str, str]
) -> None:
    """Those of the checkout are in order; a wheel with others is not."""
    assert check_weights().returncode == 0
    wheel = tmp_path / "corun.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("corun/weights/x.safetensors", b"weights")
        archive.writestr("corun/weights/x.json", json.dumps(card))
    checked = check_weights(wheel)
    assert checked.returncode == 1
    assert "corun.whl/corun/weights/x.safetensors" in checked.stdout
    assert "WRONG" in checked.stdout


def test_workflows_say_that_they_have_never_run_and_run_what_is_there() -> None:
    for path in sorted((CHECKOUT / ".github" / "workflows").glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        assert "has never run" in text.split("name:")[0]
        for script in re.findall(r"\.ci/[\w.]+", text):
            assert (CHECKOUT / script).is_file(), script
        for extras in re.findall(r'"\.\[([\w,]+)\]"', text):
            project = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
            assert all(f"\n{extra} = [" in project for extra in extras.split(","))


def test_forms_ask_for_what_doctor_prints() -> None:
    forms = CHECKOUT / ".github" / "ISSUE_TEMPLATE"
    for name in ("1-bad-picture.yml", "2-bug.yml"):
        form = yaml.safe_load((forms / name).read_text(encoding="utf-8"))
        asked = {field.get("id"): field for field in form["body"]}
        assert "corun doctor" in asked["doctor"]["attributes"]["label"]
        assert asked["doctor"]["validations"]["required"]


@pytest.mark.parametrize(
    ("repository", "source"), [("", None), ("owner/name", "https://example.org/owner/name")]
)
def test_packages_name_the_repository_that_publishes_them(
    monkeypatch: pytest.MonkeyPatch, repository: str, source: str | None
) -> None:
    """A package that a person builds names none: it may be anybody's copy."""
    monkeypatch.setenv("GITHUB_REPOSITORY", repository)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    metadata = ProjectMetadata(str(CHECKOUT), PluginManager())
    assert metadata.core.urls.get("Source") == source
