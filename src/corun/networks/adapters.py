"""Any network for adaptation: ours, the built-in ones, spandrel's, or a class of the user's own.

A specification is one of

- a registered model's name (``corun-lite``) or one of our weights files;
- ``dgun`` or ``plain-unet``, built in, with random weights unless a file is given;
- ``spandrel:FILE``: whatever architecture spandrel recognises in the file;
- ``package.module:Class``: a class on the import path, constructed with the given arguments.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ConfigurationError, MissingExtraError, WeightsError
from corun.networks.checkpoints import (
    load_network,
    read_pth,
    refuse_stand_in,
    save_network,
    write_safetensors,
)
from corun.networks.corun import CORUN
from corun.networks.dgun import Dgun
from corun.networks.outputs import NetworkOutput, read_output
from corun.networks.plain_unet import PlainUNet

BUILT_IN: dict[str, Callable[..., nn.Module]] = {"dgun": Dgun, "plain-unet": PlainUNet}
STATE_KEYS = ("params_ema", "params", "state_dict", "model", "network")
"""Where published checkpoints keep the weights, in the order in which they are tried."""


class SceneOnly(nn.Module):
    """A network seen through its scene and, if it has one, its transmission.

    Args:
        network: returns whatever :func:`~corun.networks.outputs.read_output` understands.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> NetworkOutput:
        """Scene (not clamped) and transmission, or None, of RGB pictures in [0,1]."""
        return read_output(self.network(hazy), hazy)


class PaddedNetwork(nn.Module):
    """A network called only at sizes it can take: padded by mirroring, cropped back.

    Its weights keep their names, so that a file of them fits the network without this too.

    Args:
        network: maps a picture to one of the same size.
        multiple: both sides are made multiples of this.
        minimum: both sides are made at least this, pixels.
        square: whether both sides must be equal.
    """

    def __init__(
        self, network: nn.Module, multiple: int = 1, minimum: int = 0, *, square: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.multiple, self.minimum, self.square = multiple, minimum, square

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> NetworkOutput:
        """Scene and transmission, as :class:`SceneOnly` gives them, at any size."""
        sides = list(hazy.shape[-2:])
        sizes = [-(-max(s, self.minimum) // self.multiple) * self.multiple for s in sides]
        if self.square:
            sizes = [max(sizes)] * 2
        bottom, right = (size - side for size, side in zip(sizes, sides, strict=True))
        mode = "reflect" if bottom < sides[0] and right < sides[1] else "replicate"
        padded = F.pad(hazy, (0, right, 0, bottom), mode=mode)
        scene, transmission = read_output(self.network(padded), padded)
        crop = (..., slice(sides[0]), slice(sides[1]))
        return NetworkOutput(scene[crop], None if transmission is None else transmission[crop])

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
) -> nn.Module:
    """Make the network that a specification names, ready to be trained.

    Parameters that a class of the user's own freezes stay frozen.

    Args:
        specification: see the module.
        weights: a state dict to fill it with (.safetensors, .pth, .pt, .ckpt).
        arguments: for the constructor of a built-in network or a class of the user's own.

    Raises:
        ConfigurationError: the specification leads nowhere, the arguments do not fit, or there is
            nothing to train.
        WeightsError: the weights are missing, unreadable or of another network.
        MissingExtraError: spandrel is asked for and not installed.
    """
    if specification.startswith("spandrel:"):
        network = _from_spandrel(Path(specification.removeprefix("spandrel:")))
    elif specification in BUILT_IN:
        network = _construct(BUILT_IN[specification], specification, arguments)
    elif _is_import_path(specification):
        network = _construct(_imported(specification), specification, arguments)
    else:
        network = load_network(specification).network.requires_grad_(True)
    if not any(True for _ in network.parameters()):
        raise ConfigurationError(
            f"{specification}: has no parameters to train; choose another network"
        )
    if weights is not None:
        _fill(network, read_state(weights), weights)
    return network.train()


def save_adapted(
    path: Path, network: nn.Module, metadata: dict[str, Any], specification: str
) -> None:
    """Write an adapted network: ours with its hyper-parameters, any other as its state dict.

    The header of the file names the specification; :func:`open_network` with the same
    specification and ``weights=path`` opens it again.

    Raises:
        WeightsError: the file cannot be written.
    """
    if isinstance(network, CORUN):
        save_network(path, network, metadata)
        return
    tensors = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
    }
    header = {"corun": json.dumps({**metadata, "architecture": specification})}
    try:
        write_safetensors(path, tensors, header)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a weights file, wherever the file keeps it.

    Raises:
        WeightsError: the file is missing, unreadable, or holds no named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the network's weights")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        refuse_stand_in(path)
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    content = read_pth(path)
    for key in STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: holds no state dict; save one with torch.save")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _is_import_path(specification: str) -> bool:
    module, colon, name = specification.partition(":")
    return bool(colon) and name.isidentifier() and all(p.isidentifier() for p in module.split("."))


def _imported(specification: str) -> Callable[..., nn.Module]:
    module_name, _, name = specification.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{specification}: cannot be imported ({error}); start from the folder that holds the "
            "module, or put it on PYTHONPATH"
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
            f"{specification}: network.arguments do not fit ({error})"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"{specification}: makes a {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def _fill(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: not the weights of {type(network).__name__} "
            f"({' '.join(str(error).split())[:300]})"
        ) from error


def _from_spandrel(path: Path) -> nn.Module:
    """The network that spandrel finds in a file, called at the size multiple it needs."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a checkpoint that spandrel can read")
    try:
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError as error:
        raise MissingExtraError("spandrel", "spandrel") from error
    try:
        descriptor = ModelLoader(device=torch.device("cpu")).load_from_file(path)
    except Exception as error:  # spandrel's own and those of whatever it tries
        raise WeightsError(
            f"{path}: spandrel does not recognise it ({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.scale != 1:
        raise WeightsError(f"{path}: not a network that maps a picture to one of the same size")
    network: nn.Module = descriptor.model.requires_grad_(True)  # spandrel freezes what it loads
    needs = descriptor.size_requirements
    multiple, minimum, square = needs.multiple_of, needs.minimum, needs.square
    if multiple > 1 or minimum > 1 or square:
        return PaddedNetwork(network, multiple, minimum, square=square)
    return network
