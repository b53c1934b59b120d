"""`from_pretrained` and `push_to_hub`, as users of the Hub know them.

What reads and writes files imports the networks, so it is imported when it is called.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

Network = TypeVar("Network", bound="Pretrained")


class Pretrained:
    """Loading a network with its weights, keeping it in a folder, and sharing it."""

    @classmethod
    def from_pretrained(
        cls: type[Network], name_or_path: str | Path, *, revision: str | None = None
    ) -> Network:
        """The network of a registered model, a file, a folder, or a repository of the Hub.

        Args:
            name_or_path: "corun-lite"; a file or folder; "owner/name" or hf://owner/name.
            revision: of the repository: a branch, tag or commit.

        Returns:
            In evaluation mode, on the CPU, with frozen weights.

        Raises:
            WeightsError: it cannot be read or fetched, or is of another layout.
        """
        checkpoints = import_module("corun.networks.checkpoints")
        registry = import_module("corun.networks.registry")
        files = import_module("corun.networks.files")
        text = str(name_or_path)
        remote = text.startswith(files.HUB_PREFIX) or (
            text not in registry.MODELS and not Path(text).exists() and text.count("/") == 1
        )
        if remote:
            at = f"@{revision}" if revision is not None and "@" not in text else ""
            text = f"{files.HUB_PREFIX}{text.removeprefix(files.HUB_PREFIX)}{at}"
        network = checkpoints.load_network(text).network
        assert isinstance(network, cls)
        return network

    def save_pretrained(self, folder: str | Path, **card: Any) -> None:
        """Write the weights and their card, as a repository has them, into a folder.

        Args:
            folder: where to; it is made.
            card: what to say of the weights: `name`, `licence`, `data`, ...

        Raises:
            WeightsError: the folder cannot be written.
        """
        import_module("corun.networks.checkpoints").save_network(
            Path(folder) / "model.safetensors", self, card
        )
        import_module("corun.networks.hub").write_folder(
            Path(folder) / "model.safetensors", Path(folder)
        )

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """Put the weights and their card on the Hub; returns hf://owner/name@commit.

        Args:
            repository: "owner/name", made if need be.
            private: whether a new repository is.
            card: see `save_pretrained`.

        Raises:
            WeightsError: the Hub refuses.
        """
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, **{"name": repository.rpartition("/")[2], **card})
            pushed: str = import_module("corun.networks.hub").push(
                Path(folder) / "model.safetensors", repository, private=private
            )
        return pushed
