"""Clients that crowd, leave, dawdle or say nothing; and the end of the server under load."""

from __future__ import annotations

import http.client
import json
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running_service import Running, encoded, photo, pixels, running, serve_command, until

from corun.dehazing.dehazer import Dehazer
from corun.pictures.reading import read_picture
from corun.server.limits import Limits
from corun.server.service import create_service

DECODED = 'corun_stage_seconds_count{stage="decode"}'
SIZES = ((48, 40), (40, 48), (64, 32))


def slowed(dehazer: Dehazer, before: Callable[[int], Any]) -> Dehazer:
    """A dehazer that calls a function with the number of pictures before its network."""
    slow = copy(dehazer)

    def maps(pictures: Any) -> Any:
        before(len(pictures))
        return dehazer.maps(pictures)

    vars(slow)["maps"] = maps
    return slow


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end of a test, so that no thread waits for ever."""
    opened = threading.Event()
    yield opened
    opened.set()


def crowd(service: Running, dehazer: Dehazer, requests: int, clients: int) -> None:
    """Every answer is that of its own picture."""
    inputs, truths = [], []
    for seed in range(30):
        content = encoded(photo(seed, SIZES[seed % 3]))
        inputs.append(content)
        result = dehazer.dehaze_picture(read_picture(content, name="truth"), strength=1.0)
        truths.append(pixels(encoded(result.image)))

    def one(index: int) -> None:
        which = index * 7 % len(inputs)
        reply = service.post(inputs[which])
        while reply.status == 503:
            time.sleep(0.1)
            reply = service.post(inputs[which])
        assert reply.status == 200
        assert abs(pixels(reply.body) - truths[which]).max() <= 1

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(one, index) for index in range(requests)]:
            done.result()


def test_sixty_requests_of_four_clients_are_not_mixed_up(
    service: Running, dehazer: Dehazer
) -> None:
    crowd(service, dehazer, 60, 4)


@pytest.mark.slow
def test_two_thousand_requests_of_sixteen_clients_take_no_memory(
    command: tuple[subprocess.Popen[str], int], dehazer: Dehazer
) -> None:
    process, port = command
    service = Running(None, SimpleNamespace(port=port))
    crowd(service, dehazer, 200, 16)
    before = resident(process.pid)
    crowd(service, dehazer, 2000, 16)
    after = resident(process.pid)
    print(f"resident: {before} kB after 200 requests, {after} kB after 2 000 more")
    assert after < 1.05 * before
    assert service.metric('corun_pictures_total{outcome="done"}') == 2200  # none twice, none lost
    assert service.metric("corun_unanswered_pictures") == 0


def resident(process: int) -> int:
    """Kilobytes of memory that a process has."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_equal_sizes_go_through_the_network_together(
    dehazer: Dehazer, gate: threading.Event
) -> None:
    batches: list[int] = []

    def wait(count: int) -> None:
        batches.append(count)
        gate.wait(30)

    slow = slowed(dehazer, wait)
    app = create_service(lambda: {"slow": slow}, threads=4)
    contents = [encoded(photo(seed)) for seed in range(3)]
    other = encoded(photo(9, (32, 32)))
    with running(app) as service, ThreadPoolExecutor(4) as pool:
        first = pool.submit(service.post, other)
        until(lambda: batches == [1])
        rest = [pool.submit(service.post, content) for content in contents]
        until(lambda: service.metric(DECODED) == 4)
        time.sleep(0.1)
        gate.set()
        replies = [job.result() for job in rest]
        assert first.result().status == 200
        assert batches == [1, 3]
    for content, reply in zip(contents, replies, strict=True):
        truth = dehazer.dehaze_picture(read_picture(content, name="truth")).image
        assert abs(pixels(reply.body) - pixels(encoded(truth))).max() <= 1


def test_who_was_taken_along_does_not_wait_for_the_next_call(dehazer: Dehazer) -> None:
    gates = [threading.Event() for _ in range(3)]
    gates[1].set()
    calls: list[int] = []

    def wait(count: int) -> None:
        calls.append(count)
        gates[len(calls) - 1].wait(30)

    app = create_service(lambda: {"slow": slowed(dehazer, wait)}, threads=4)
    sizes = [(32, 32), (48, 40), (40, 48), (48, 40)]
    try:
        with running(app) as service, ThreadPoolExecutor(4) as pool:
            jobs = []
            for count, size in enumerate(sizes):
                jobs.append(pool.submit(service.post, encoded(photo(count, size))))
                until(lambda n=count: service.metric(DECODED) == n + 1)
                time.sleep(0.1)
            gates[0].set()
            assert [jobs[n].result(20).status for n in (0, 1, 3)] == [200, 200, 200]
            assert calls == [1, 2, 1]
            assert not jobs[2].done()
            gates[2].set()
            assert jobs[2].result().status == 200
    finally:
        for gate in gates:
            gate.set()


def test_a_full_queue_says_when_to_come_again(dehazer: Dehazer, gate: threading.Event) -> None:
    slow = slowed(dehazer, lambda count: gate.wait(30))
    limits = Limits(queue=2)
    app = create_service(lambda: {"slow": slow}, limits=limits, threads=1)
    content = encoded(photo(1))
    with running(app, limits=limits) as service, ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(service.post, content) for _ in range(2)]
        until(lambda: service.metric("corun_unanswered_pictures") == 2)
        reply = service.post(content)
        assert reply.status == 503
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert service.ask("GET", "/readyz").status == 503
        assert service.ask("GET", "/healthz").status == 200
        gate.set()
        assert [job.result().status for job in jobs] == [200, 200]
        assert service.ask("GET", "/readyz").status == 200


def test_what_takes_too_long_is_given_up(dehazer: Dehazer, gate: threading.Event) -> None:
    slow = slowed(dehazer, lambda count: gate.wait(30))
    limits = Limits(seconds=0.3)
    app = create_service(lambda: {"slow": slow}, limits=limits, threads=1)
    with running(app, limits=limits) as service:
        reply = service.post(encoded(photo(1)))
        assert reply.status == 503
        assert "took more than 0.3 s" in json.loads(reply.body)["error"]
        gate.set()
        until(lambda: service.metric('corun_pictures_total{outcome="abandoned"}') == 1)


def test_who_leaves_takes_the_work_along(dehazer: Dehazer, gate: threading.Event) -> None:
    slow = slowed(dehazer, lambda count: gate.wait(30))
    app = create_service(lambda: {"slow": slow}, threads=1)
    content = encoded(photo(1))
    with running(app) as service:
        leaving = [service.connect(request(content)) for _ in range(3)]
        until(lambda: service.metric("corun_unanswered_pictures") == 3)
        for connection in leaving:
            connection.close()
        time.sleep(0.3)
        gate.set()
        until(lambda: service.metric("corun_unanswered_pictures") == 0)
        assert service.metric('corun_pictures_total{outcome="abandoned"}') == 3
        assert service.metric('corun_stage_seconds_count{stage="encode"}') == 0
        assert service.post(content).status == 200


def request(content: bytes, *, stated: int | None = None, close: bool = False) -> bytes:
    head = f"POST /v1/dehaze HTTP/1.1\r\nHost: x\r\nContent-Length: {stated or len(content)}\r\n"
    return head.encode() + (b"Connection: close\r\n" if close else b"") + b"\r\n" + content


@pytest.fixture
def hasty(dehazer: Dehazer) -> Iterator[Running]:
    """A service with short deadlines and few connections."""
    limits = Limits(connections=20, head_seconds=1.0, body_seconds=1.0, write_seconds=1.0)
    app = create_service(lambda: {"corun-lite": dehazer}, limits=limits, threads=2)
    with running(app, limits=limits) as started:
        yield started


def test_five_hundred_half_open_connections_lock_nobody_out(dehazer: Dehazer) -> None:
    limits = Limits(connections=50)
    app = create_service(lambda: {"corun-lite": dehazer}, limits=limits, threads=2)
    content = encoded(photo(2))
    beginnings = (
        b"",
        b"POST /v1/dehaze HT",
        request(b"", stated=1000),
        request(content[:50], stated=900),
    )
    with running(app, limits=limits) as service:
        half_open = []
        for index in range(500):
            half_open.append(service.connect(beginnings[index % 4]))
            if index % 50 == 0:
                assert service.post(content).status == 200
        assert len(service.server.server_state.connections) <= 51
        assert service.post(content).status == 200
        for connection in half_open:
            connection.close()


def test_slow_heads_and_bodies_have_a_deadline(hasty: Running) -> None:
    start = time.monotonic()
    with (
        closing(hasty.connect()) as silent,
        closing(hasty.connect(b"POST /v1/dehaze HTTP/1.1\r\nHost: x\r\n")) as head,
        closing(hasty.connect(request(b"x" * 10, stated=1000))) as body,
    ):
        for _ in range(3):  # drop by drop is no way round it
            time.sleep(0.3)
            for connection, drop in ((head, b"A: b\r\n"), (body, b"x")):
                # On a busy machine the answer is there already: what is sent after it resets.
                if not select.select([connection], [], [], 0)[0]:
                    connection.sendall(drop)
        assert silent.recv(1000) == b""
        assert head.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert body.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - start < 10


def test_a_long_body_may_take_its_time_as_long_as_it_keeps_coming(dehazer: Dehazer) -> None:
    limits = Limits(body_seconds=0.5, body_rate=200.0)
    app = create_service(lambda: {"corun-lite": dehazer}, limits=limits, threads=1)
    with running(app, limits=limits) as service:
        content = b"x" * 15_000
        with closing(service.connect(request(b"", stated=len(content)))) as connection:
            for start in range(0, len(content), 1000):
                connection.sendall(content[start : start + 1000])
                time.sleep(0.1)
            assert connection.recv(1000).startswith(b"HTTP/1.1 422 ")  # no picture, but received


def test_a_kept_connection_answers_many_and_then_ends(hasty: Running) -> None:
    content = encoded(photo(3))
    connection = hasty.connect()
    for _ in range(3):
        time.sleep(0.5)  # longer in all than the deadline of one
        connection.sendall(request(content))
        assert read_reply(connection).startswith(b"HTTP/1.1 200 ")
    connection.sendall(b"GET /healthz HTT")
    assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
    connection.close()


def read_reply(connection: Any) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    assert found is not None
    while len(body) < int(found[1]):
        body += connection.recv(65536)
    return head


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """An application with more to say than any buffer holds."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_who_does_not_read_is_left() -> None:
    limits = Limits(write_seconds=1.0)
    with running(endless, limits=limits) as service:
        connection = service.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: service.server.server_state.connections)
        until(lambda: not service.server.server_state.connections, 10)
        with suppress(ConnectionResetError):
            while connection.recv(1 << 20):
                pass
        connection.close()
        assert len(service.ask("GET", "/").body) == 64 << 20


@pytest.fixture
def command(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with serve_command(tmp_path, "--queue", "200") as started:
        yield started


def test_sigterm_finishes_what_was_accepted(
    command: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, port = command
    content = encoded(photo(1, (240, 180)))
    accepted = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(8)]
    for connection in accepted:
        connection.sendall(request(content, close=True))
    half = socket.create_connection(("127.0.0.1", port), 60)
    half.sendall(request(content[:100], stated=len(content)))
    wait_for_eight(port)
    process.send_signal(signal.SIGTERM)
    for connection in accepted:
        assert read_reply(connection).startswith(b"HTTP/1.1 200 ")
        connection.close()
    assert half.recv(1000).startswith(b"HTTP/1.1 503 ")
    half.close()
    assert process.wait(60) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    asked = [line for line in lines if line["message"] == "request" and line["method"] == "POST"]
    assert [line["status"] for line in asked].count(200) == 8
    assert lines[-1]["message"] == "ended"


def wait_for_eight(port: int) -> None:
    def queued() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(r"^corun_unanswered_pictures (\S+)$", text, re.M)
        done = re.search(r'^corun_pictures_total{outcome="done"} (\S+)$', text, re.M)
        return float(found[1]) + (float(done[1]) if done else 0) >= 8 if found else False

    until(queued)
