"""What makes a clear picture of a hazy one, behind one call from file to file.

A method is written as text, ``LABEL=SOURCE`` or ``SOURCE``, where the source is

========================  =====================================================================
``input``                 the hazy picture itself
``corun-lite``, ``dcp``   a registered model
``FILE.safetensors``      weights of ours, or an adapted network's
``FILE.pth``              a published CORUN checkpoint
``FILE.onnx``             any network of (1,3,h,w) RGB in [0,1] to the same
``spandrel:FILE``         a model spandrel knows, of three channels and the same size
``MODULE:CLASS:FILE``     a checkpoint of the network that a class on the import path makes
``command:TEXT``          a shell command with {input} and {output}, files
``DIR``                   a folder of results that bear the photos' names, or these and one ending
========================  =====================================================================
"""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from corun.data.images import eight_bit, read_rgb
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import from_network, load
from corun.dehazing.tensor_pictures import dehaze_batch
from corun.errors import (
    ConfigurationError,
    ImageFileError,
    WeightsError,
    escaped,
    system_errors_as,
)
from corun.files import checksum, same_name, user_path, written_atomically
from corun.networks.adapted import code_digest, module_digest
from corun.networks.brought import is_import_path, open_network, open_spandrel
from corun.networks.checkpoints import ready
from corun.networks.registry import MODELS, weights_path

MethodKind = Literal["input", "network", "onnx", "spandrel", "import", "command", "folder"]
RESULT_VERSIONS: dict[str, int] = {
    "input": 1,
    "dcp": 3,
    "network": 10,
    "onnx": 3,
    "spandrel": 3,
    "import": 1,
    "command": 1,
}
"""Raised when the same weights make other pictures: kept results of the old code are not used."""
_ENGINES = {"onnx": "onnxruntime", "spandrel": "spandrel"}
"""Packages of others that compute the results."""
COMMAND_TIMEOUT = 3600.0
"""Seconds after which a shell command is given up."""


@dataclass(frozen=True)
class Method:
    """One way to make clear pictures.

    Attributes:
        label: its name in tables and file names.
        kind: how it runs.
        source: the model's name, the file, the command, or the folder.
        fingerprint: changes whenever its results may change: kept results are reused under it.
        checksum: SHA-256 of the weights, or "" where there are none.
        code: the import path of what makes the network, where the file does not say it.
        trust: whether the code that an adapted network's file names may be run.
    """

    label: str
    kind: MethodKind
    source: str
    fingerprint: str
    checksum: str = ""
    code: str = ""
    trust: bool = False


def parse_method(text: str, *, trust: bool = False) -> Method:
    """A method from its text, as in the module's table.

    Args:
        text: the method.
        trust: whether the code that an adapted network's file names may be imported and run.

    Raises:
        ConfigurationError: no such source, or a command without {input} or {output}.
        WeightsError: a registered model whose weights are not installed.
    """
    method = replace(_parsed(text), trust=trust)
    method = replace(method, label=escaped(same_name(method.label)))
    if trust and method.kind == "network" and (code := code_digest(Path(method.source))):
        method = replace(method, fingerprint=f"{method.fingerprint}-{code}")
    return method


def _parsed(text: str) -> Method:
    head, separator, rest = text.partition("=")
    plain = head.startswith(("command:", "spandrel:")) or existing(text) is not None
    plain = plain or bool(_code_and_file(text)[0])
    labelled = bool(separator) and not plain
    label, source = (head.strip(), rest.strip()) if labelled else ("", text.strip())
    if not source:
        raise ConfigurationError(f"{text!r}: no method; write LABEL=SOURCE")
    if source == "input":
        return Method(label or "hazy input", "input", source, _fingerprint("input"))
    if source.startswith("command:"):
        command = source.removeprefix("command:")
        if "{input}" not in command or "{output}" not in command:
            raise ConfigurationError(f"{command}: a command needs both {{input}} and {{output}}")
        fingerprint = _fingerprint("command", checksum(command.encode()))
        return Method(label or command.split()[0], "command", command, fingerprint)
    if source in MODELS:
        file = weights_path(MODELS[source])
        digits = "" if file is None else checksum(file)
        engine = source if source in RESULT_VERSIONS else "network"
        fingerprint = _fingerprint(engine, source, digits)
        return Method(label or source, "network", source, fingerprint, digits)
    kind: MethodKind = "network"
    code, file_of_it = _code_and_file(source)
    if code:
        kind, source = "import", file_of_it
    elif source.startswith("spandrel:"):
        kind, source = "spandrel", source.removeprefix("spandrel:")
    path = existing(source)
    if path is not None and path.is_dir() and not code:
        return Method(label or folder_name(path), "folder", str(path), "")
    if path is not None and path.suffix == ".onnx" and not code:
        kind = "onnx"
    if path is not None and (kind != "network" or path.suffix in (".safetensors", ".pth", ".pt")):
        with system_errors_as(WeightsError, f"{path}: cannot be read", "check it"):
            digits = checksum(path)
        parts = [digits, code, module_digest(code)] if code else [digits]
        fingerprint = _fingerprint(kind, *parts)
        return Method(label or path.stem, kind, str(path), fingerprint, digits, code)
    raise ConfigurationError(
        f"{source}: no method; give {', '.join(MODELS)}, input, a weights or ONNX file, "
        "spandrel:FILE, MODULE:CLASS:FILE, command:TEXT or a folder of results"
    )


def _code_and_file(source: str) -> tuple[str, str]:
    """MODULE:CLASS and FILE of the three together; two empty texts of anything else."""
    module, _, rest = source.partition(":")
    name, colon, file = rest.partition(":")
    code = f"{module}:{name}"
    return (code, file) if colon and is_import_path(code) else ("", "")


def folder_name(folder: Path) -> str:
    """The last part of a folder's path, also of ``..`` and ``.``; links keep their names."""
    return Path(os.path.abspath(folder)).name  # noqa: PTH100 (resolve would follow them)


def existing(text: str) -> Path | None:
    """The file or folder of that name; None where there is none, or it cannot be a name at all."""
    path = user_path(text)
    try:
        return path if path.exists() else None
    except OSError:  # longer than the system allows, or in a folder that may not be read
        return None


def load_method(method: Method) -> None:
    """Loads a method's weights, so that unusable ones stop a run before it starts.

    Raises:
        WeightsError: the file is damaged, or no dehazing network.
        MissingExtraError: the package that reads it is not installed.
    """
    if method.kind in ("network", "onnx", "spandrel", "import"):
        _dehazer(method)


def run_method(method: Method, hazy: Path, result: Path) -> None:
    """Makes one result, an 8-bit RGB PNG of the input's size.

    Args:
        method: any but a folder of results.
        hazy: the input file.
        result: where to; replaced atomically.

    Raises:
        CorunError: the input cannot be read, or the method fails on it; one line.
    """
    result.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(result) as partial:
        if method.kind == "command":
            _run_command(method.source, hazy, partial)
        else:
            scene = _dehaze(method, read_rgb(hazy)[None])
            save_png(scene[0], partial)


def save_png(image: Float[Tensor, "3 h w"], path: Path) -> None:
    """Writes RGB in [0,1] as 8-bit PNG, values rounded."""
    Image.fromarray(eight_bit(image)).save(path, format="PNG")


def _dehaze(method: Method, hazy: Tensor) -> Tensor:
    if method.kind == "input":
        return hazy
    return dehaze_batch(_dehazer(method), hazy).scene


@lru_cache(maxsize=2)
def _dehazer(method: Method) -> Dehazer:
    if method.kind == "spandrel":
        return from_network(open_spandrel(Path(method.source)), name=method.label)
    if method.kind == "import":
        network = open_network(method.code, weights=Path(method.source))
        return from_network(ready(network, "cpu"), name=method.label)
    return load(method.source, trust=method.trust)


def _run_command(template: str, hazy: Path, result: Path) -> None:
    command = template.replace("{input}", _quoted(hazy)).replace("{output}", _quoted(result))
    try:
        done = subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageFileError(f"{hazy}: the command took over {COMMAND_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-200:]
        raise ImageFileError(f"{hazy}: the command failed with status {done.returncode} ({said})")
    if not result.is_file():
        raise ImageFileError(f"{hazy}: the command wrote no {{output}} file")


def _quoted(path: Path) -> str:
    """A path as one word of a command line, by the rules of the shell of this system."""
    text = str(path.resolve())
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def _fingerprint(engine: str, *parts: str) -> str:
    """What results depend on: the code that makes them by its version, and their sources.

    A command has no code of ours in it, so a new release of ours keeps its results.
    """
    packages = [] if engine in ("input", "command") else ["corun-dehaze"]
    packages += [_ENGINES[engine]] if engine in _ENGINES else []
    versions = [f"{package} {installed_version(package) or 'none'}" for package in packages]
    return "-".join([engine, str(RESULT_VERSIONS[engine]), *versions, *parts])


def installed_version(package: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
