"""Colabator on two hosts: folders of their own and, where the system allows it, networks too."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from colabator_toy import toy_settings, write_toy

from corun.colabator.label_pool import open_existing, shards_of
from corun.errors import ConfigurationError, DataError
from corun.training.checkpoint import load_checkpoint
from corun.training.colabator import ColabatorConfig, ColabatorTraining
from corun.training.hosts import found_by_all, host_number

PROGRAM = """
import os, sys
from pathlib import Path
from corun.training import colabator

class Dying(colabator.ColabatorTraining):
    def loss(self, network, batch, step, part, rank):
        if os.environ["RANK"] == os.environ.get("DIES") and step == 3:
            os._exit(9)
        return super().loss(network, batch, step, part, rank)

colabator.ColabatorTraining = Dying
try:
    colabator.run(Path(sys.argv[1]), sys.argv[2:])
except colabator.DataError as error:
    sys.exit(f"corun: {error}")
"""


class Host(NamedTuple):
    """How a process is started on it, and what it is called by the other."""

    command: list[str]
    address: str
    interface: str


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two network namespaces with a cable between them; this one twice where there can be none."""
    names = [f"corun-{os.getpid()}-{n}" for n in (0, 1)]
    commands = [f"netns add {name}" for name in names]
    commands.append(f"link add veth0 netns {names[0]} type veth peer name veth1 netns {names[1]}")
    for n, name in enumerate(names):
        commands += [
            f"-n {name} addr add 10.77.0.{n + 1}/24 dev veth{n}",
            f"-n {name} link set veth{n} up",
            f"-n {name} link set lo up",
        ]
    tool = shutil.which("ip")
    try:
        made = tool is not None and all(
            subprocess.run([tool, *c.split()], capture_output=True, check=False).returncode == 0
            for c in commands
        )
        if made and tool is not None:
            yield [
                Host([tool, "netns", "exec", name], f"10.77.0.{n + 1}", f"veth{n}")
                for n, name in enumerate(names)
            ]
        else:
            yield [Host([], "127.0.0.1", "lo")] * 2
    finally:
        for name in names if tool else ():
            subprocess.run([tool, "netns", "del", name], capture_output=True, check=False)


def run_on(
    hosts: list[Host], places: list[Path], folder: str, **environment: str
) -> list[subprocess.CompletedProcess[str]]:
    """The run of that folder, a process on each host."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank, (host, place) in enumerate(zip(hosts, places, strict=True)):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
        launcher += [f"--node-rank={rank}", "--nproc-per-node=1", f"--master-port={port}"]
        launcher += [f"--master-addr={hosts[0].address}", str(place / "program.py")]
        launcher += [str(place / "mine.yaml"), f"run.folder={place / folder}"]
        sources = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        running.append(
            subprocess.Popen(
                [*host.command, *launcher],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=place,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sources)),
                    "GLOO_SOCKET_IFNAME": host.interface,
                    "OMP_NUM_THREADS": "1",
                    **environment,
                },
            )
        )
    try:
        done = [(one, *one.communicate(timeout=400)) for one in running]
    finally:
        for one in running:
            one.kill()
    return [subprocess.CompletedProcess(p.args, p.returncode, out, err) for p, out, err in done]


@pytest.mark.slow
def test_two_hosts_with_their_own_disks_go_on_as_if_nothing_had_happened(
    hosts: list[Host], tmp_path: Path
) -> None:
    places = [tmp_path / "first", tmp_path / "second"]
    for place in places:
        write_toy(place / "data", 6)
        settings = toy_settings(place / "data", place / "unused", run__steps=4, run__batch=2)
        settings["run"]["checkpoint_every"] = 2
        (place / "mine.yaml").write_text(yaml.safe_dump(settings))
        (place / "program.py").write_text(PROGRAM)
    for done in run_on(hosts, places, "straight"):
        assert done.returncode == 0, done.stderr
    assert all(done.returncode for done in run_on(hosts, places, "broken", DIES="1"))
    assert load_checkpoint(places[0] / "broken" / "last.ckpt")["step"] == 2
    for done in run_on(hosts, places, "broken"):
        assert done.returncode == 0, done.stderr

    straight, broken = (
        load_checkpoint(places[0] / name / "last.ckpt") for name in ("straight", "broken")
    )
    for part in ("network", "average"):
        torch.testing.assert_close(straight[part], broken[part], rtol=0, atol=0)
    assert straight["task"]["pool"] == broken["task"]["pool"]
    assert len(straight["task"]["pool"]) == 2
    labelled = []
    for host, place in enumerate(places):
        assert shards_of(place / "broken" / "pool") == [host]
        pools = [open_existing(place / name / "pool", host) for name in ("straight", "broken")]
        keys = [sorted(pool.labelled()) for pool in pools]
        assert keys[0] == keys[1]
        labelled += keys[0]
        for key in keys[0]:
            one, other = (pool.get(key) for pool in pools)
            assert one is not None
            assert other is not None
            assert torch.equal(one.scene, other.scene)
            assert one[3:] == other[3:]
    assert len(labelled) == len(set(labelled)) == 6  # each photo has one owner
    assert not (places[1] / "broken" / "last.ckpt").exists()

    (places[1] / "broken" / "pool").rename(places[1] / "gone")
    for done in run_on(hosts, places, "broken"):
        assert done.returncode != 0
        assert "corun: host 1: " in done.stderr
        assert "the checkpoint and the pool do not belong together" in done.stderr


def test_which_host_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_number() == (0, 1)
    for name, value in (("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8"), ("RANK", "11")):
        monkeypatch.setenv(name, value)
    assert host_number() == (1, 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    with pytest.raises(ConfigurationError, match="start as many on each host"):
        host_number()


def test_an_error_says_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DataError("pool: gone")

    with pytest.raises(DataError, match=r"^pool: gone"):
        found_by_all(fail)
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2"), ("RANK", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"^host 1: pool: gone"):
        found_by_all(fail)


def test_labels_of_other_hosts_are_not_forgotten(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy", 4)
    config = ColabatorConfig.model_validate(toy_settings(toy, tmp_path / "run"))
    task = ColabatorTraining(config)
    with pytest.raises(DataError, match="its labels lie on 2 hosts, a shard on each, not on 1"):
        task.load_state_dict({"teacher": {}, "pool": ["commit-a", "commit-b"]})
