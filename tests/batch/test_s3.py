"""An S3 server on this machine: whole objects, a manifest, and one line where something lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_pictures import jpeg

pytestmark = pytest.mark.slow

SERVER = (
    "from moto.server import ThreadedMotoServer; import sys\n"
    "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False); server.start()\n"
    "print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment in which s3:// is a server of this machine's with a bucket of photos."""
    if subprocess.run([sys.executable, "-c", "import moto.server, s3fs"], check=False).returncode:
        pytest.skip("needs moto[server] and the extra s3")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
        yield {**os.environ, **keys, "AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        server.terminate()


def python(code: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout


def corun_batch(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corun", "batch", *arguments, "--model", "dcp"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_bucket_to_a_bucket(s3: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    python(
        "import s3fs; s = s3fs.S3FileSystem(); s.mkdir('hazy')\n"
        f"for i in range(12): s.put_file({str(tmp_path / 'a.jpg')!r}, f'hazy/in/{{i}}.jpg')\n"
        "s.pipe_file('hazy/in/bad.jpg', b'no picture')",
        s3,
    )
    arguments = ("s3://hazy/in", "s3://hazy/clear")
    first = corun_batch(*arguments, "--shard", "1/2", environment=s3)
    second = corun_batch(*arguments, "--shard", "2/2", environment=s3)
    assert {first.returncode, second.returncode} == {0, 1}
    rows = python(
        "import s3fs, sys; s = s3fs.S3FileSystem()\n"
        "for part in s.glob('hazy/clear/_manifest/*.jsonl'):\n"
        "    sys.stdout.write(s.cat_file(part).decode())",
        s3,
    )
    statuses = {row["input"]: row["status"] for row in map(json.loads, rows.splitlines())}
    assert len(statuses) == len(rows.splitlines()) == 13
    assert statuses.pop("s3://hazy/in/bad.jpg") == "failed"
    assert set(statuses.values()) == {"ok"}
    again = corun_batch(*arguments, environment=s3)
    assert "12 were done earlier, 1 failed earlier" in again.stderr
    assert (
        python("import s3fs; print(s3fs.S3FileSystem().cat_file('hazy/clear/3.jpg')[:2])", s3)
        == "b'\\xff\\xd8'\n"
    )


def test_what_lacks_is_said_in_one_line(s3: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    without = {key: value for key, value in s3.items() if "_KEY" not in key}
    without |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    for source, destination, environment, message in (
        ("s3://gone/in", str(tmp_path / "clear"), s3, "s3://gone/in: "),
        (str(tmp_path / "a.jpg"), "s3://gone/clear", s3, "s3://gone/clear"),
        ("s3://hazy/in", str(tmp_path / "clear"), without, "AWS_ACCESS_KEY_ID"),
    ):
        done = corun_batch(source, destination, environment=environment)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert message in line
