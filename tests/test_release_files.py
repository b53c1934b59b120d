"""What a release takes: checksums that notice a wrong file, workflows that name what is there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
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


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile: the word and its arguments."""
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_container_has_no_rights_and_says_whether_it_lives() -> None:
    """What a linter of Dockerfiles asks for, and what the compose file promises."""
    found = instructions()
    stages = [arguments for word, arguments in found if word == "FROM"]
    assert all(re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", stage) for stage in stages)
    last = found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]
    words = [word for word, _ in last]
    assert dict(last)["USER"] == "10001:10001"
    assert words.index("USER") > words.index("RUN")  # nothing is installed with fewer rights
    assert {"HEALTHCHECK", "STOPSIGNAL", "EXPOSE"} <= set(words)
    assert not {"ADD", "MAINTAINER"} & {word for word, _ in found}
    for word in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(dict(last)[word]), list)  # no shell between it and signals
    check = dict(last)["HEALTHCHECK"].partition("CMD ")[2]
    compile(json.loads(check)[2], "HEALTHCHECK", "exec")
    for word, arguments in found:
        if word == "RUN" and "pip install" in arguments:
            assert {"--no-cache-dir", "-c", "constraints.txt"} <= set(shlex.split(arguments))

    service = yaml.safe_load((CHECKOUT / "compose.yaml").read_text(encoding="utf-8"))
    corun = service["services"]["corun"]
    assert corun["read_only"] is True
    assert corun["cap_drop"] == ["ALL"]
    assert corun["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in corun["ports"])
    assert {"mem_limit", "pids_limit", "stop_grace_period", "tmpfs"} <= set(corun)
    (volume,) = corun["volumes"]
    name, _, place = volume.partition(":")
    assert name in service["volumes"]
    assert place == dict(last)["VOLUME"]
    assert f"CORUN_STATE={place}" in dict(last)["ENV"]
    assert not {"KEY", "TOKEN", "PASSWORD"} & set(re.split(r"\W", dict(last)["ENV"]))


def test_what_the_dockerfile_copies_is_enough_to_build_the_package(tmp_path: Path) -> None:
    for word, arguments in instructions():
        if word == "COPY" and "--from" not in arguments:
            *sources, target = arguments.split()
            for source in sources:
                if (CHECKOUT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "weights")
                    shutil.copytree(CHECKOUT / source, tmp_path / target, ignore=ignored)
                else:
                    shutil.copy(CHECKOUT / source, tmp_path / target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    built = subprocess.run(
        command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert built.returncode == 0, built.stderr
    assert list((tmp_path / "dist").glob("*.whl"))


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
