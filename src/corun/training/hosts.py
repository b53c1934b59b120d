"""What the processes of a run agree on where they are on several hosts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed

from corun.errors import ConfigurationError, CorunError

Found = TypeVar("Found")


def process_count() -> int:
    """Of the run, on all hosts."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def host_number() -> tuple[int, int]:
    """The number of this host among those of the run, from 0, and how many they are.

    Raises:
        ConfigurationError: the hosts have different numbers of processes.
    """
    world = process_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    if world % here:
        raise ConfigurationError(
            f"{here} of {world} processes are on this host; start as many on each host"
        )
    return int(os.environ.get("RANK", "0")) // here, world // here


def found_by_all(find: Callable[[], Found]) -> list[Found]:
    """What each process finds, in the order of their ranks; an error of one is everybody's.

    All processes of the run call it at the same time.

    Raises:
        CorunError: one of them failed; on several hosts the message says which host.
    """
    host, hosts = host_number()
    mine: Found | CorunError
    try:
        mine = find()
    except CorunError as error:
        mine = error if hosts == 1 else type(error)(f"host {host}: {error}")
    found: list[Found | CorunError | None] = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        found = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, mine)
    agreed: list[Found] = []
    for one in found:
        if isinstance(one, CorunError):
            raise one
        agreed.append(one)  # type: ignore[arg-type]
    return agreed
