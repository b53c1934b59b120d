"""The tensor names of the published CORUN checkpoints, and their translation to ours.

Published files hold one stage named ``first``, K−2 named ``basic.i`` and one named ``last``,
under ``params_ema``, ``params`` or bare, with or without a ``module.`` prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from corun.errors import ConfigurationError, WeightsError
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig

# One row per renamed part, published and ours, # a number; applied in order, either way. A name
# that no row touches keeps its text.
PARTS: tuple[tuple[str, str], ...] = (
    (".trans_prox.step_lambda", ".lam"),
    (".dehaze_prox.step_lambda", ".gamma"),
    (".trans_net.", ".transmission_prior."),
    (".dehaze_net.", ".scene_prior."),
    (".encoder_layers.#.0.", ".encoder.#."),
    (".encoder_layers.#.1.body.0.", ".down.#."),
    (".decoder_layers.#.0.body.0.", ".up.#."),
    (".decoder_layers.#.1.", ".fuse.#."),
    (".decoder_layers.#.2.", ".decoder.#."),
    (".blocks.0.0.pos_emb.0.", ".attention.position_in."),
    (".blocks.0.0.pos_emb.2.", ".attention.position_out."),
    (".blocks.0.0.", ".attention."),
    (".blocks.0.1.fn.net.0.", ".ffn.expand."),
    (".blocks.0.1.fn.net.2.", ".ffn.depthwise."),
    (".blocks.0.1.fn.net.4.", ".ffn.project."),
    (".blocks.0.1.norm.", ".norm."),
)
NESTED_UNDER = ("params_ema", "params", "state_dict")


def our_name(published: str, stages: int) -> str:
    """Our name of a published tensor.

    Args:
        published: for example ``basic.0.trans_net.mapping.weight``.
        stages: K of the network, which decides the number of ``last``.
    """
    name = re.sub(r"^first\.", "unfolding.0.", published)
    name = re.sub(r"^basic\.(\d+)\.", lambda m: f"unfolding.{int(m[1]) + 1}.", name)
    name = re.sub(r"^last\.", f"unfolding.{stages - 1}.", name)
    for published_part, our_part in PARTS:
        name = _renamed(name, published_part, our_part)
    return name


def published_name(ours: str, stages: int) -> str:
    """The published name of one of our tensors: the inverse of :func:`our_name`.

    Args:
        ours: for example ``unfolding.1.transmission_prior.mapping.weight``.
        stages: K of the network.
    """
    name = ours
    for published_part, our_part in PARTS:
        name = _renamed(name, our_part, published_part)

    def stage(match: re.Match[str]) -> str:
        k = int(match[1])
        return "first." if k == 0 else "last." if k == stages - 1 else f"basic.{k - 1}."

    return re.sub(r"^unfolding\.(\d+)\.", stage, name)


def _renamed(name: str, old: str, new: str) -> str:
    pattern = re.escape(old).replace(r"\#", r"(\d+)") + ("" if old.endswith(".") else "$")
    return re.sub(pattern, new.replace("#", r"\1"), name)


def bare_state_dict(content: Any, source: str) -> dict[str, Tensor]:
    """The state dict inside a published file: un-nested, without ``module.`` prefixes.

    Raises:
        WeightsError: the file holds no dictionary of tensors.
    """
    if isinstance(content, Mapping):
        for key in NESTED_UNDER:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{source}: not a state dict; expected a dictionary of named tensors")
    not_tensors = [str(k) for k, v in content.items() if not isinstance(v, Tensor)]
    if not_tensors:
        raise WeightsError(
            f"{source}: not a state dict; entries that are no tensors: {listing(not_tensors)}"
        )
    return {str(k).removeprefix("module."): v for k, v in content.items()}


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether the names look like a published CORUN file's."""
    return any(name.startswith(("first.", "basic.", "last.")) for name in state)


def infer_config(state: Mapping[str, Tensor], source: str) -> CorunConfig:
    """K, dim and L from the names and shapes of a published state dict.

    Raises:
        WeightsError: the tensors that tell them are absent or of shapes CORUN does not have.
    """
    basic = {m[1] for name in state if (m := re.match(r"basic\.(\d+)\.", name))}
    levels = {
        m[1]
        for name in state
        if (m := re.match(r"first\.dehaze_net\.encoder_layers\.(\d+)\.", name))
    }
    embedding = state.get("first.dehaze_net.embedding.weight")
    if embedding is None or embedding.ndim != 4 or not levels:
        raise WeightsError(
            f"{source}: not a published CORUN checkpoint; "
            "first.dehaze_net.embedding.weight or its encoder layers are missing"
        )
    expand = state.get("first.dehaze_net.bottleneck.blocks.0.1.fn.net.0.weight")
    if expand is not None and (expand.ndim != 4 or 0 in expand.shape):
        raise WeightsError(
            f"{source}: not a published CORUN checkpoint; first.dehaze_net.bottleneck.blocks.0.1."
            f"fn.net.0.weight is of shape {tuple(expand.shape)}"
        )
    expansion = 4 if expand is None else expand.shape[0] // expand.shape[1]
    try:
        return CorunConfig(
            stages=len(basic) + 2,
            dim=embedding.shape[0],
            levels=len(levels),
            ffn_expansion=expansion,
            transmission_step="paper",
        )
    except ConfigurationError as error:
        raise WeightsError(f"{source}: not a published CORUN checkpoint; {error}") from error


def load_published(content: Any, source: str) -> CORUN:
    """Build CORUN and fill it from the content of a published file, strictly.

    Args:
        content: what ``torch.load(..., weights_only=True)`` returned.
        source: the file's name, for errors.

    Raises:
        WeightsError: lists the missing, unexpected and mis-shaped tensors by published name.
    """
    state = bare_state_dict(content, source)
    config = infer_config(state, source)
    renamed = {our_name(name, config.stages): name for name in state}
    ours = {new: state[old] for new, old in renamed.items()}
    return build_filled(config, ours, source, renamed)


def build_filled(
    config: CorunConfig,
    state: Mapping[str, Tensor],
    source: str,
    shown_names: Mapping[str, str] | None = None,
) -> CORUN:
    """Build CORUN around the tensors of a file, refusing any difference in names and shapes.

    It is built once, without memory of its own, so that a damaged file costs none, whatever size
    it promises; then float32 copies of the tensors become its parameters.

    Args:
        config: hyper-parameters.
        state: tensors under our names.
        source: the file's name, for errors.
        shown_names: our name → the name in the file, for errors.

    Raises:
        WeightsError: lists the missing, unexpected and mis-shaped tensors, and those that hold
            no floating-point numbers or some that are not finite.
    """
    impossible = f"{source}: no network has the hyper-parameters {config.to_dict()}"
    if max(config.stages, config.levels) > len(state):
        raise WeightsError(f"{impossible} and only {len(state)} tensors")
    try:
        with torch.device("meta"):
            network = CORUN(config)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(impossible) from error
    _refuse_differences(config, network.state_dict(), state, source, shown_names or {})
    own = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    network.load_state_dict(own, assign=True)
    return network


def _refuse_differences(
    config: CorunConfig,
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    source: str,
    shown: Mapping[str, str],
) -> None:
    absent = sorted(wanted.keys() - state.keys())
    missing = [published_name(n, config.stages) for n in absent] if shown else absent
    unexpected = [shown.get(n, n) for n in sorted(state.keys() - wanted.keys())]
    misshaped = [
        f"{shown.get(n, n)} is {tuple(state[n].shape)}, expected {tuple(wanted[n].shape)}"
        for n in sorted(wanted.keys() & state.keys())
        if wanted[n].shape != state[n].shape
    ]
    unusual = [
        shown.get(n, n)
        for n in sorted(state)
        if not state[n].is_floating_point() or state[n].layout != torch.strided
    ]
    not_finite = [
        shown.get(n, n)
        for n in sorted(wanted.keys() & state.keys())
        if state[n].is_floating_point()
        and state[n].layout == torch.strided
        and not torch.isfinite(state[n]).all()
    ]
    parts = [
        f"{len(names)} {what}: {listing(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshaped),
            ("not of floating-point numbers", unusual),
            ("with values that are not finite", not_finite),
        )
        if names
    ]
    if parts:
        raise WeightsError(
            f"{source}: does not fit CORUN with {config.to_dict()}: " + "; ".join(parts)
        )


def listing(names: list[str], at_most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")
