"""What is installed: corun's version and commit, its packages, and what its extras lack."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path

DISTRIBUTION = "corun-dehaze"
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(\[(?P<extras>[\w,\s-]+)\])?"  # of the distribution and of its extras
    r"(.*extra == ['\"](?P<of>[\w-]+)['\"])?"  # the extra of ours that asks for it
)


def version_line() -> str:
    """Version and, where it is known, the commit: ``corun 0.2.0 (commit 0123456789ab)``."""
    made_from = commit()
    return f"corun {version(DISTRIBUTION)}" + (f" (commit {made_from})" if made_from else "")


def commit() -> str | None:
    """The commit this package was built from, or that of the checkout it runs in.

    Twelve digits, with ``-dirty`` where files of the checkout were changed. None where nobody says.
    """
    recorded = files("corun") / "commit.txt"
    if recorded.is_file():
        return recorded.read_text(encoding="utf-8").strip()
    package = Path(str(files("corun")))
    checkout = package.parent.parent
    if package.parent.name != "src" or not (checkout / ".git").exists():
        return None
    import subprocess

    describe = ("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *describe],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def packages() -> dict[str, str | None]:
    """The packages that every installation has, by name, with their versions; None: missing."""
    return {name: installed_version(name) for name in _wanted("")}


def extras() -> dict[str, list[str]]:
    """Each extra with the packages of it that are missing."""
    names = sorted({found["of"] for found in _requirements() if found["of"]})
    return {
        extra: [name for name in sorted(_wanted(extra)) if installed_version(name) is None]
        for extra in names
    }


def installed_version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _wanted(extra: str) -> set[str]:
    """Names of the packages of an extra, those of the extras it names included."""
    wanted = set()
    for found in _requirements():
        if (found["of"] or "") != extra:
            continue
        if found["name"] != DISTRIBUTION:
            wanted.add(found["name"])
        for inner in (found["extras"] or "").split(",") if found["name"] == DISTRIBUTION else ():
            wanted |= _wanted(inner.strip())
    return wanted


def _requirements() -> list[re.Match[str]]:
    return [found for text in requires(DISTRIBUTION) or [] if (found := _REQUIREMENT.match(text))]
