"""Networks that others bring, and ours: any network for adaptation.

A specification is one of

- a registered model's name (``corun-lite``) or one of our weights files;
- ``dgun`` or ``plain-unet``, built in, with random weights unless a file is given;
- ``spandrel:FILE``: a network that spandrel recognises, if it maps a colour picture to one of the
  same size;
- ``package.module:Class``: a class (or function) on the import path, called with the given
  arguments.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import (
    ConfigurationError,
    MissingExtraError,
    NetworkOutputError,
    WeightsError,
    one_line,
)
from corun.networks.checkpoints import load_network, read_pth, read_safetensors
from corun.networks.dgun import Dgun
from corun.networks.known_methods import known_method
from corun.networks.outputs import NetworkOutput, read_output
from corun.networks.plain_unet import PlainUNet
from corun.networks.registry import MODELS

BUILT_IN: dict[str, Callable[..., nn.Module]] = {"dgun": Dgun, "plain-unet": PlainUNet}
STATE_KEYS = ("params_ema", "params", "state_dict", "model", "network")
"""Where published checkpoints keep the weights, in the order in which they are tried."""
OF_ANOTHER_RANGE = {"MixDehazeNet": (-1.0, 1.0)}
"""What spandrel calls with values in [0,1] though it was trained on these, in and out."""


class BroughtNetwork(nn.Module):
    """Somebody else's network, called as corun calls networks.

    Pictures are padded by mirroring to sizes it can take and cropped back; it is given, and gives,
    values of its own range. Its weights keep their names, so that a file of them fits the network
    without this too.

    Args:
        network: maps a picture to one of the same size.
        call: how it is called; as a function by default.
        value_range: what it takes for black and white.
        multiple: both sides are made multiples of this.
        minimum: both sides are made at least this, pixels.
        square: whether both sides must be equal.
        output: which entry of what it returns is the scene, by position or name; None where it is
            the first. Nothing else of it is used then.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        call: Callable[[nn.Module, Tensor], object] | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        multiple: int = 1,
        minimum: int = 0,
        square: bool = False,
        output: int | str | None = None,
    ) -> None:
        super().__init__()
        self.output = output
        self.network, self.value_range = network, value_range
        self._call_network = call or (lambda model, image: model(image))
        self.multiple, self.minimum, self.square = multiple, minimum, square

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> NetworkOutput:
        """Scene (not clamped) and transmission, or None, of RGB pictures in [0,1] of any size."""
        sides = list(hazy.shape[-2:])
        sizes = [-(-max(s, self.minimum) // self.multiple) * self.multiple for s in sides]
        if self.square:
            sizes = [max(sizes)] * 2
        bottom, right = (size - side for size, side in zip(sizes, sides, strict=True))
        mode = "reflect" if bottom < sides[0] and right < sides[1] else "replicate"
        padded = F.pad(hazy, (0, right, 0, bottom), mode=mode) if bottom or right else hazy
        scene, transmission = self.unpadded(padded)
        crop = (..., slice(sides[0]), slice(sides[1]))
        return NetworkOutput(scene[crop], None if transmission is None else transmission[crop])

    def unpadded(self, padded: Float[Tensor, "b 3 h w"]) -> NetworkOutput:
        """Scene (not clamped) and transmission of pictures of sizes that it can take."""
        black, white = self.value_range
        output = self._call_network(self.network, black + (white - black) * padded)
        if self.output is not None:
            try:
                output = output[self.output]  # type: ignore[index]
            except (LookupError, TypeError) as error:
                raise NetworkOutputError(
                    f"network.output: {type(self.network).__name__} returned no entry "
                    f"{self.output!r} but {type(output).__name__}; give its position or name"
                ) from error
        scene, transmission = read_output(output, padded)
        return NetworkOutput((scene - black) / (white - black), transmission)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's own."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into the network itself."""
        return self.network.load_state_dict(*args, **kwargs)


def open_network(
    specification: str,
    *,
    weights: Path | None = None,
    arguments: dict[str, Any] | None = None,
    value_range: tuple[float, float] | None = None,
    multiple: int | None = None,
    output: int | str | None = None,
) -> nn.Module:
    """Make the network that a specification names, ready to be trained.

    Parameters that a class of the user's own freezes stay frozen. Where its range and multiple are
    not given, they are those of the method whose checkpoint the weights are, or else [0,1] and 1.

    Args:
        specification: see the module.
        weights: a state dict to fill it with (.safetensors, .pth, .pt, .ckpt).
        arguments: for the constructor of a built-in network or a class of the user's own.
        value_range: what a class of the user's own takes, and gives, for black and white.
        multiple: of which the sides of what it takes are multiples, pixels.
        output: which entry of what it returns is the scene; see :class:`BroughtNetwork`.

    Raises:
        ConfigurationError: the specification leads nowhere, the arguments or the range do not fit,
            or there is nothing to train.
        WeightsError: the weights are missing, unreadable or of another network.
        MissingExtraError: spandrel is asked for and not installed.
    """
    own = is_import_path(specification)
    state = None if weights is None else read_state(weights)
    known = known_method(state) if own and state is not None else None
    if value_range is None:
        value_range = known.value_range if known else (0.0, 1.0)
    if multiple is None:
        multiple = known.multiple if known else 1
    if value_range != (0.0, 1.0) and (not own or value_range[0] == value_range[1]):
        raise ConfigurationError(
            f"network.range: {list(value_range)} is for a class by import path, and its two values "
            f"differ; {specification} takes [0, 1]"
        )
    if not own and (multiple, output) != (1, None):
        raise ConfigurationError(
            "network.multiple and network.output are for a class by import path; corun knows what "
            f"{specification} takes and returns"
        )
    if specification.startswith("spandrel:"):
        network: nn.Module = open_spandrel(Path(specification.removeprefix("spandrel:")))
        network.requires_grad_(True)  # spandrel freezes what it loads
    elif specification in BUILT_IN:
        network = _construct(BUILT_IN[specification], specification, arguments)
    elif own:
        network = _construct(_imported(specification), specification, arguments)
        if (value_range, multiple, output) != ((0.0, 1.0), 1, None):
            network = BroughtNetwork(
                network, value_range=value_range, multiple=multiple, output=output
            )
    else:
        fixed = specification in MODELS and MODELS[specification].config is None
        network = nn.Identity() if fixed else load_network(specification).network
        network.requires_grad_(True)
    if not any(True for _ in network.parameters()):
        raise ConfigurationError(
            f"{specification}: has no parameters to train; choose another network"
        )
    if weights is not None and state is not None:
        fill(network, state, weights)
    return network.train()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a weights file, wherever the file keeps it.

    Raises:
        WeightsError: the file is missing, unreadable, or holds no named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the network's weights")
    if path.suffix == ".safetensors":
        return read_safetensors(path)[1]
    content = read_pth(path)
    for key in STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: holds no state dict; save one with torch.save")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def is_import_path(specification: str) -> bool:
    """Whether it names code of the user's own: ``package.module:Class``."""
    module, colon, name = specification.partition(":")
    named = bool(colon) and name.isidentifier() and module != "spandrel"
    return named and all(part.isidentifier() for part in module.split("."))


def _imported(specification: str) -> Callable[..., nn.Module]:
    module_name, _, name = specification.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever the module does when it is imported
        reason = one_line(error) or type(error).__name__
        raise ConfigurationError(
            f"{specification}: cannot be imported ({reason}); put the folder that holds the module "
            "on PYTHONPATH, and check that it imports"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{specification}: not a class, but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _construct(
    build: Callable[..., nn.Module], specification: str, arguments: dict[str, Any] | None
) -> nn.Module:
    try:
        network = build(**(arguments or {}))
    except TypeError as error:
        raise ConfigurationError(
            f"{specification}: network.arguments do not fit ({one_line(error)})"
        ) from error
    except Exception as error:  # whatever it does when it is made
        reason = one_line(error) or type(error).__name__
        raise ConfigurationError(f"{specification}: cannot be made ({reason})") from error
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"{specification}: makes a {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def fill(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Give a network the weights of a file.

    Raises:
        WeightsError: they are another network's.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        inner = network.network if isinstance(network, BroughtNetwork) else network
        raise WeightsError(
            f"{path}: not the weights of {type(inner).__name__} "
            f"({' '.join(str(error).split())[:300]})"
        ) from error


def open_spandrel(path: Path, state: dict[str, Tensor] | None = None) -> BroughtNetwork:
    """The network that spandrel finds in a file, frozen, called as spandrel calls it.

    Args:
        path: the file.
        state: what it holds, where it was read already.

    Raises:
        WeightsError: the file is missing, spandrel does not recognise it, or what it finds does
            not map a colour picture to one of the same size.
        MissingExtraError: spandrel is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a checkpoint that spandrel can read")
    try:
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError as error:
        raise MissingExtraError("spandrel", "spandrel") from error
    try:
        loader = ModelLoader(device=torch.device("cpu"))
        found = loader.load_from_state_dict(state) if state else loader.load_from_file(path)
    except Exception as error:  # spandrel's own and those of whatever it tries
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: spandrel does not recognise it ({reason})") from error
    channels = {getattr(found, "input_channels", 0), getattr(found, "output_channels", 0)}
    if not isinstance(found, ImageModelDescriptor) or found.scale != 1 or channels != {3}:
        raise WeightsError(f"{path}: not a network that maps a picture to one of the same size")
    needs, value_range = found.size_requirements, OF_ANOTHER_RANGE.get(found.architecture.id)
    return BroughtNetwork(
        found.model,
        # Not the descriptor itself: it forbids gradients, leaves training mode and clamps.
        call=None if value_range else found._call_fn,
        value_range=value_range or (0.0, 1.0),
        multiple=needs.multiple_of,
        minimum=needs.minimum,
        square=needs.square,
    )
