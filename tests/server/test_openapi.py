"""The service against its own description, with whatever schemathesis thinks of."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from running_service import Running, encoded, photo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

from hypothesis import strategies as st

# A picture, one that is cut short, one with a byte changed, or anything.
GOOD = encoded(photo(1, (16, 12)))
BODIES = (
    st.just(GOOD)
    | st.integers(0, len(GOOD)).map(lambda end: GOOD[:end])
    | st.integers(0, len(GOOD) - 1).map(lambda at: GOOD[:at] + b"\xff" + GOOD[at + 1 :])
    | st.binary(max_size=200)
)
for kind in ("jpeg", "png", "webp", "tiff", "bmp", "avif", "heic"):
    schemathesis.openapi.media_type(f"image/{kind}", BODIES)
for kind in ("mp4", "quicktime", "x-matroska", "webm"):
    schemathesis.openapi.media_type(f"video/{kind}", BODIES)
schemathesis.openapi.media_type("application/octet-stream", BODIES)
schemathesis.openapi.media_type("application/zip", BODIES)


@pytest.mark.slow
def test_every_answer_is_one_that_is_described(service: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{service.server.url}openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 10
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case: Any) -> None:
            # bytes that no decoder takes fit "format: binary" all the same
            case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])

        check()


def test_the_description_has_every_route_and_examples(service: Running) -> None:
    told = json.loads(service.ask("GET", "/openapi.json").body)
    assert set(told["paths"]) == {
        "/v1/dehaze", "/v1/dehaze/batch", "/v1/models", "/healthz", "/readyz", "/metrics",
        "/v1/videos", "/v1/videos/{job}", "/v1/videos/{job}/result",
    }  # fmt: skip
    dehaze = told["paths"]["/v1/dehaze"]["post"]
    assert {"image/jpeg", "multipart/form-data"} <= set(dehaze["requestBody"]["content"])
    assert "curl" in dehaze["description"]
    refused = dehaze["responses"]["503"]["content"]["application/json"]
    assert refused["example"] == {"error": "too many pictures are waiting; try again later"}
    job = told["paths"]["/v1/videos"]["post"]["responses"]["202"]["content"]["application/json"]
    assert job["example"]["status"] == "running"
    assert all("examples" in parameter["schema"] for parameter in dehaze["parameters"][:2])
