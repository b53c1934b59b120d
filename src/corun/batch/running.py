"""A batch from its source to its manifest, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from corun.batch.entries import Entry, Shard, read_entries
from corun.batch.ledger import Ledger
from corun.batch.stores import Store
from corun.batch.worker import Work, Worker, found_outcome
from corun.dehazing.file_jobs import Outcome
from corun.errors import ConfigurationError, WeightsError
from corun.files import checksum
from corun.networks.files import graph_file, network_file
from corun.networks.registry import MODELS, weights_path


@dataclass(frozen=True)
class Cluster:
    """Where a batch runs if not in this process.

    Attributes:
        address: of a Ray cluster: "local" starts one on this machine, "auto" is the one that this
            machine belongs to; or host:port, or ray://host:port.
        workers: that load the model once each; None: as many as the cluster has room for.
        cpus: of each worker; its threads.
        gpus: of each worker, also a part of one.
    """

    address: str
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0


@dataclass
class Batch:
    """The pictures of a source that are still to be done, and the ledger of those that are.

    Attributes:
        work: what to do with them.
        ledger: the rows of all that was done, earlier too.
        pending: to be done.
        found: whose result is in place without a row.
        earlier: how many were done earlier, and failed earlier.
    """

    work: Work
    ledger: Ledger
    pending: list[Entry] = field(default_factory=list)
    found: list[Entry] = field(default_factory=list)
    earlier: dict[str, int] = field(default_factory=lambda: {"done": 0, "failed": 0})

    @classmethod
    def plan(
        cls,
        source: str,
        work: Work,
        *,
        file_format: str | None = None,
        shard: Shard | None = None,
        retry_failed: bool = False,
    ) -> Batch:
        """Lists the source and what the destination has of it.

        Args:
            source: see `read_entries`.
            work: what to do.
            file_format: Pillow's name of the results' format; None: each input's own.
            shard: which part to do; by default all.
            retry_failed: whether those that failed earlier are done again.

        Raises:
            CorunError: the source or the destination cannot be used.
        """
        shard = shard or Shard()
        entries = read_entries(source, work.destination, file_format)
        settings = {"model": work.model, "format": file_format, "weights": _digest(work.model)}
        settings |= {key: asdict(work.options)[key] for key in ("strength", "quality")}
        batch = cls(work, Ledger(Store(work.destination), settings, shard, work.retries))
        for entry in filter(shard.has, entries):
            row = batch.ledger.rows.get(entry.output)
            if row is not None and row.input != entry.input:
                batch.ledger.release()
                raise ConfigurationError(
                    f"{work.destination}: holds {entry.output}, which was made of {row.input} and "
                    f"not of {entry.input}; choose another destination, or, if the pictures were "
                    f"moved, remove {work.destination.rstrip('/')}/_manifest"
                )
            if row is None or (row.failed and retry_failed):
                there = entry.output in batch.ledger.present
                (batch.found if there else batch.pending).append(entry)
            else:
                batch.earlier["failed" if row.failed else "done"] += 1
        return batch

    def run(self, cluster: Cluster | None = None) -> Iterator[Outcome]:
        """Does what is pending; each outcome is in the ledger when it comes out.

        Raises:
            CorunError: the model, the cluster or the destination cannot be used.
        """
        store = Store(self.work.destination)
        try:
            for entry in self.found:
                outcome = found_outcome(entry, store.name(store.below(entry.output)))
                self.ledger.record(entry, outcome)
                yield outcome
            for entry, outcome in self._done(cluster) if self.pending else ():
                self.ledger.record(entry, outcome)
                yield outcome
        finally:
            try:
                self.ledger.commit()
            finally:
                self.ledger.release()

    def _done(self, cluster: Cluster | None) -> Iterator[tuple[Entry, Outcome]]:
        if cluster is None:
            return Worker(self.work).done(self.pending)
        from corun.batch.ray_cluster import done_on_ray

        return done_on_ray(
            self.pending,
            self.work,
            address=cluster.address,
            workers=cluster.workers,
            cpus=cluster.cpus,
            gpus=cluster.gpus,
        )


def _digest(model: str) -> str | None:
    """Twelve digits of a model's file: of other weights under the same name other results come."""
    card = MODELS.get(model)
    path = Path(model) if card is None else weights_path(card)
    try:
        if path is not None and path.is_dir():
            path = graph_file(model) or network_file(model)
        return checksum(path)[:12] if path is not None and path.is_file() else None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
