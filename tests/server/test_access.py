"""Who may ask: the key, other sites, proxies."""

from __future__ import annotations

import json
import logging

import pytest
from running_service import Running, encoded, photo, running, until

from corun.dehazing.dehazer import Dehazer
from corun.errors import ConfigurationError
from corun.server.observation import JsonLines
from corun.server.service import create_service

CONTENT = encoded(photo(1, (16, 12)))


def test_with_a_key_only_who_has_it_is_served(dehazer: Dehazer) -> None:
    app = create_service(lambda: {"corun-lite": dehazer}, key="open sesame\n")
    with running(app) as service:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer open"}, 401),
            ({"Authorization": "Basic open sesame"}, 401),
            ({"X-API-Key": "open sesam\u00e9"}, 401),
            ({"Authorization": "Bearer open sesame"}, 200),
            ({"X-API-Key": "open sesame"}, 200),
        ):
            assert service.ask("POST", "/v1/dehaze", CONTENT, headers).status == status, headers
        assert service.ask("GET", "/v1/models").status == 401
        assert service.ask("GET", "/v1/models").headers["www-authenticate"] == "Bearer"
        assert service.ask("GET", "/healthz").status == 200


def test_a_key_may_be_of_any_letters_and_not_blank(dehazer: Dehazer) -> None:
    app = create_service(lambda: {"corun-lite": dehazer}, key="schlüssel")
    with running(app) as service:
        given = "schlüssel".encode().decode("latin-1")  # as curl sends it: in UTF-8
        assert service.ask("GET", "/v1/models", headers={"X-API-Key": given}).status == 200
        assert service.ask("GET", "/v1/models").status == 401
    with pytest.raises(ConfigurationError, match="the API key is blank"):
        create_service(lambda: {"corun-lite": dehazer}, key=" \n")


def test_other_sites_are_kept_out_unless_named(service: Running, dehazer: Dehazer) -> None:
    foreign = {"Origin": "https://photos.example"}
    reply = service.ask("POST", "/v1/dehaze", CONTENT, foreign)
    assert reply.status == 403
    assert not any(name.startswith("access-control") for name in reply.headers)
    own = {"Origin": f"http://127.0.0.1:{service.server.port}"}
    assert service.ask("POST", "/v1/dehaze", CONTENT, own).status == 200
    origins = ("https://photos.example",)
    app = create_service(lambda: {"corun-lite": dehazer}, origins=origins)
    with running(app) as open_service:
        reply = open_service.ask("POST", "/v1/dehaze", CONTENT, foreign)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "https://photos.example"
        other = {"Origin": "https://evil.example"}
        assert open_service.ask("POST", "/v1/dehaze", CONTENT, other).status == 403


def test_behind_a_proxy(dehazer: Dehazer, caplog: pytest.LogCaptureFixture) -> None:
    app = create_service(lambda: {"corun-lite": dehazer})
    with running(app, root_path="/haze") as service, caplog.at_level(logging.INFO, "corun.server"):
        told = json.loads(service.ask("GET", "/openapi.json").body)
        assert told["servers"] == [{"url": "/haze"}]
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "abc-1"}
        reply = service.ask("GET", "/healthz", headers=headers)
        assert (reply.status, reply.headers["x-request-id"]) == (200, "abc-1")
        until(lambda: len(caplog.records) >= 2)
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    (line,) = [line for line in lines if line.get("id") == "abc-1"]
    assert line["client"] == "203.0.113.9"


def test_the_log_has_timings_and_no_contents(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "corun.server"):
        service.post(CONTENT, "/v1/dehaze?strength=0.123", X_Request_ID="forged\tid")
        until(lambda: caplog.records)
    line = json.loads(JsonLines().format(caplog.records[-1]))
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/dehaze", 200)
    assert set(line["timings"]) == {"wait", "decode", "dehaze", "encode"}
    assert line["bytes_in"] == len(CONTENT)
    assert len(line["id"]) == 16
    assert "0.123" not in json.dumps(line)
    counted = 'corun_requests_total{route="/v1/dehaze",status="200"}'
    assert service.metric(counted) >= 1
