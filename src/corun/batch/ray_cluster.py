"""A batch on Ray Data: one model for each worker, which may die and come back at any time."""

from __future__ import annotations

import json
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from corun.batch.entries import Entry
from corun.batch.stores import Store
from corun.batch.worker import Work, Worker
from corun.dehazing.file_jobs import Outcome
from corun.errors import ConfigurationError, CorunError, DeviceError, MissingExtraError, one_line

TOGETHER = 16
"""Pictures that a worker takes at once, at least: it reads and writes while it computes."""
PORTIONS = 10_000
"""Of a batch, at most: Ray keeps books of each."""
DEATHS = 2
"""After as many deaths of a worker beyond the first, what it was doing is left for later."""


class RayWorker:
    """What runs in an actor: the model is loaded when the actor starts.

    A portion whose actor died comes again, to this actor or another; what it had finished then is
    found in place.
    """

    def __init__(self, work: Work) -> None:
        self._refusal = ""
        try:
            self._worker = Worker(work)
        except CorunError as error:  # said by the driver: Ray would only start the actor again
            self._refusal = str(error)

    def __call__(self, portion: dict[str, Any]) -> dict[str, list[str]]:
        """Rows of input and output → rows of output and outcome, as JSON."""
        if self._refusal:
            return {"output": [""], "outcome": [json.dumps(self._refusal)]}
        entries = [
            Entry(str(source), str(output))
            for source, output in zip(portion["input"], portion["output"], strict=True)
        ]
        done: list[tuple[Entry, Outcome]] = []
        missing = []
        for entry in entries:
            found = self._worker.found(entry)
            if found is None:
                missing.append(entry)
            else:
                done.append((entry, found))
        done += self._worker.done(missing)
        return {
            "output": [entry.output for entry, _ in done],
            "outcome": [json.dumps(outcome.as_dict()) for _, outcome in done],
        }


def done_on_ray(
    entries: Iterable[Entry],
    work: Work,
    *,
    address: str,
    workers: int | None,
    cpus: int,
    gpus: float,
) -> Iterator[tuple[Entry, Outcome]]:
    """Does entries on a cluster, in any order.

    A portion on which workers died repeatedly is done a second time picture by picture; what then
    still kills its worker has failed.

    Args:
        entries: with inputs that every machine of the cluster can read.
        work: what to do with them; the machines write to its destination.
        address: "local", "auto", host:port or ray://host:port.
        workers: actors with a model each; None: as many as there is room for.
        cpus: of each.
        gpus: of each, also a part of one.

    Raises:
        MissingExtraError: Ray is not installed.
        DeviceError: the cluster does not answer, or has not the CPUs and GPUs of one worker.
        ConfigurationError: the model cannot be loaded there.
    """
    work = replace(
        work,
        destination=_absolute(work.destination),
        model=str(Path(work.model).resolve()) if Path(work.model).is_file() else work.model,
    )
    left = {entry.output: entry for entry in entries}
    with _connected(address, workers, cpus) as ray:
        room = _room(ray, cpus, gpus)
        count = min(workers or room, len(left))
        if count > room:
            raise DeviceError(
                f"Ray at {address}: has room for {room} workers of {cpus} CPUs and {gpus:g} GPUs, "
                f"not for {count}; lower --workers, --threads or --gpus"
            )
        for together in (max(TOGETHER, len(left) // PORTIONS), 1):
            if not left:
                return
            together = min(together, -(-len(left) // count))
            for output, text in _rows(ray, list(left.values()), together, work, count, cpus, gpus):
                content = json.loads(text)
                if isinstance(content, str):
                    raise ConfigurationError(content)
                content["notes"] = tuple(content.get("notes", ()))
                if entry := left.pop(output, None):
                    yield entry, Outcome(**content)
        for entry in left.values():
            why = f"{entry.input}: its worker died each time; give workers more memory"
            yield entry, Outcome(entry.input, "failed", error=why)


def _rows(
    ray: Any,
    entries: list[Entry],
    together: int,
    work: Work,
    workers: int,
    cpus: int,
    gpus: float,
) -> Iterator[tuple[str, str]]:
    with warnings.catch_warnings():
        # Nothing else limits how often a portion is tried, in the releases that are asked for.
        warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")
        rows = ray.data.from_items(
            [{"input": entry.input, "output": entry.output} for entry in entries],
            override_num_blocks=-(-len(entries) // together),
        ).map_batches(
            RayWorker,
            fn_constructor_args=(work,),
            batch_size=together,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(entries))),
            num_cpus=cpus,
            num_gpus=gpus,
            ray_remote_args_fn=_restarts,
        )
    for row in rows.iter_rows():
        yield row["output"], row["outcome"]


def _restarts() -> dict[str, int]:
    return {"max_restarts": -1, "max_task_retries": DEATHS}


@contextmanager
def _connected(address: str, workers: int | None, cpus: int) -> Iterator[Any]:
    """Ray, connected; what was started for this batch is stopped after it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    _require_answer(address)
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options["include_dashboard"] = False
        if workers is not None:
            options["num_cpus"] = workers * cpus
    try:
        ray.init(**options)
    except Exception as error:  # what Ray raises has no common base class
        raise _no_answer(address, error) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuses an address where nothing listens, at once: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> DeviceError:
    reason = one_line(error)[:200]
    remedy = "start it with `ray start --head`, or give --ray local"
    if address == "local":
        remedy = "is the machine too busy, or its memory full? Try again"
    return DeviceError(f"Ray at {address}: does not answer ({reason}); {remedy}")


def _room(ray: Any, cpus: int, gpus: float) -> int:
    """How many workers fit on the cluster as it is now."""
    have = ray.cluster_resources()
    room = int(have.get("CPU", 0) // cpus)
    if gpus:
        room = min(room, int(have.get("GPU", 0) / gpus))
    if room < 1:
        raise DeviceError(
            f"the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, "
            f"a worker needs {cpus} and {gpus:g}; lower --threads or --gpus"
        )
    return room


def _absolute(url: str) -> str:
    store = Store(url)
    return store.name(store.root)
