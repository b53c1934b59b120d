"""The server over HTTP: what it tells, what it refuses, and two participants at once."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from corun.errors import DeviceError
from corun.study.server import StudyServer
from corun.study.votes import VoteStore

Serve = Callable[[str], StudyServer]


class Client:
    """A participant without a browser."""

    def __init__(self, server: StudyServer) -> None:
        address = urlsplit(server.url)
        self.connection = http.client.HTTPConnection(str(address.hostname), address.port)
        self.cookie = ""

    def ask(self, path: str, content: object = None, kind: str = "application/json"):
        headers = {"Cookie": self.cookie} if self.cookie else {}
        if content is None:
            self.connection.request("GET", path, headers=headers)
        else:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.connection.request("POST", path, body, {**headers, "Content-Type": kind})
        reply = self.connection.getresponse()
        data = reply.read()
        if reply.getheader("Set-Cookie"):
            self.cookie = reply.getheader("Set-Cookie").partition(";")[0]
        return reply, data

    def state(self, path: str, content: object = None) -> dict:
        return json.loads(self.ask(path, content)[1])

    def close(self) -> None:
        self.connection.close()


def answer_all(server: StudyServer, code: str, value: float) -> None:
    client = Client(server)
    state = client.state("/api/start", {"code": code})
    while not state["finished"]:
        state = client.state("/api/vote", {"trial": state["trial"], "value": value})
    client.close()


def test_nothing_tells_the_method(serve: Serve) -> None:
    server = serve("pairs")
    client = Client(server)
    told = client.ask("/")[1] + client.ask("/study.js")[1] + client.ask("/style.css")[1]
    reply, data = client.ask("/api/start", {"code": "ann"})
    told += data
    trial = json.loads(data)["trial"]
    reply, picture = client.ask(f"/picture/{trial}/0")
    told += str(reply.getheaders()).encode()
    assert b"ours" not in told
    assert b"theirs" not in told
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (32, 24)
        assert image.info == {}
    assert reply.getheader("Cache-Control") == "no-store"
    assert "default-src 'none'" in reply.getheader("Content-Security-Policy")
    client.close()


def test_the_page_names_no_other_place(serve: Serve) -> None:
    client = Client(serve("score"))
    for path in ("/", "/study.js", "/style.css"):
        text = client.ask(path)[1].decode()
        assert "http:" not in text
        assert "https:" not in text
        assert "//" not in text
    client.close()


def test_the_second_of_two_answers_changes_nothing(serve: Serve) -> None:
    server = serve("score")
    client = Client(server)
    first = client.state("/api/start", {"code": "ann"})
    once = client.state("/api/vote", {"trial": first["trial"], "value": 3})
    again = client.state("/api/vote", {"trial": first["trial"], "value": 9})
    assert once["stored"]
    assert not again["stored"]
    assert again["done"] == 1
    assert [vote.value for vote in server.votes.votes()] == [3]
    client.close()


def test_participants_at_once_do_not_disturb_each_other(serve: Serve) -> None:
    server = serve("score")
    threads = [
        threading.Thread(target=answer_all, args=(server, f"person {k}", k + 1)) for k in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = server.votes.votes()
    assert len(votes) == 5 * 6
    values = {}
    for vote in votes:
        values.setdefault(vote.participant, set()).add(vote.value)
    assert sorted(v for own in values.values() for v in own) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"trial": 999, "value": 1}, 400),
        ({"trial": 0, "value": 0.3}, 400),
        ({"trial": 0, "value": True}, 400),
        ({"trial": "0", "value": 1}, 400),
        ([], 400),
        (b"{", 400),
    ],
)
def test_impossible_answers_are_refused(serve: Serve, content: object, status: int) -> None:
    server = serve("pairs")
    client = Client(server)
    client.state("/api/start", {"code": "ann"})
    assert client.ask("/api/vote", content)[0].status == status
    assert server.votes.votes() == []
    client.close()


def test_odd_requests_are_answered_plainly(serve: Serve) -> None:
    server = serve("pairs")
    client = Client(server)
    client.state("/api/start", {"code": "ann"})
    assert client.ask("/api/vote", b"[" * 4000)[0].status == 400
    address = urlsplit(server.url)
    for path, status in (
        ("/picture/\xb2/0", 400),
        ("/picture/%C2%B2/0", 400),
        ("/picture/0/%C2%B2", 404),
        ("/picture/" + "9" * 5000 + "/0", 400),
        ("http://[x", 404),
    ):
        with socket.create_connection((str(address.hostname), address.port)) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {client.cookie}\r\n\r\n"
            connection.sendall(request.encode("latin-1"))
            assert connection.recv(4096).split()[1] == str(status).encode()
    client.close()


def test_a_picture_that_breaks_later_names_no_method(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve("pairs")
    client = Client(server)
    trial = client.state("/api/start", {"code": "ann"})["trial"]
    for own in server.study.pictures.values():
        for path in own.values():
            path.write_bytes(b"no picture")
    reply, data = client.ask(f"/picture/{trial}/0")
    assert reply.status == 500
    assert b"ours" not in data
    assert b"theirs" not in data
    assert "p" in json.loads(data)["error"]
    assert ".png: " in capfd.readouterr().err
    client.close()


def test_strangers_and_foreign_forms_are_refused(serve: Serve) -> None:
    client = Client(serve("pairs"))
    assert client.ask("/api/vote", {"trial": 0, "value": 1})[0].status == 403
    assert client.ask("/picture/0/0")[0].status == 403
    client.cookie = "participant=" + "0" * 32
    assert client.ask("/picture/0/0")[0].status == 403
    assert client.ask("/../../etc/passwd")[0].status == 404
    assert client.ask("/api/start", b"code=x", "application/x-www-form-urlencoded")[0].status == 400
    client.close()


def test_other_sites_and_foreign_names_are_refused(serve: Serve) -> None:
    client = Client(serve("pairs"))
    host = f"127.0.0.1:{client.connection.port}"
    for headers, status in (
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"http://{host}"}, 200),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "localhost:1"}, 200),
    ):
        body = {"Content-Type": "application/json", **headers}
        client.connection.request("POST", "/api/start", b'{"code": "ann"}', body)
        reply = client.connection.getresponse()
        reply.read()
        assert reply.status == status, headers
    client.close()


def test_a_taken_port_is_named(serve: Serve) -> None:
    server = serve("pairs")
    port = urlsplit(server.url).port
    with pytest.raises(DeviceError, match=f"{port}: cannot listen there"):
        StudyServer(server.study, VoteStore(server.votes.path), port=port or 0)


def test_the_command_serves_until_interrupted_and_keeps_the_votes(
    results: list[Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "corun.apps.cli", "study", *map(str, results)]
    command += ["--port", "0", "--votes", str(tmp_path / "cli.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url, _, rest = process.stdout.readline().partition(" ")
        assert rest.startswith("(6 questions each")
        address = urlsplit(url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port)
        body = json.dumps({"code": "ann"})
        connection.request("POST", "/api/start", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        cookie = str(reply.getheader("Set-Cookie")).partition(";")[0]
        trial = json.loads(reply.read())["trial"]
        body = json.dumps({"trial": trial, "value": 8})
        headers = {"Content-Type": "application/json", "Cookie": cookie}
        connection.request("POST", "/api/vote", body, headers)
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        assert "votes are in" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [vote.value for vote in VoteStore(tmp_path / "cli.sqlite").votes()] == [8]
