"""One picture over HTTP: the same result as without, and every refusal with its status."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_service import Running, encoded, form, photo, pixels

from corun.dehazing.dehazer import Dehazer
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture


def expected(dehazer: Dehazer, content: bytes, strength: float = 1.0) -> bytes:
    picture = read_picture(content, name="expected")
    result = dehazer.dehaze_picture(picture, strength=strength)
    return encode_picture(result.storable_image(), result.metadata, picture.metadata.format)[0]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_comes_back_in_its_own_format_with_all_that_it_had(
    service: Running, dehazer: Dehazer, file_format: str, exif_block: bytes, srgb_profile: bytes
) -> None:
    content = encoded(photo(1), file_format, exif=exif_block, icc_profile=srgb_profile)
    reply = service.post(content, Content_Type="application/octet-stream")
    assert reply.status == 200
    assert reply.headers["content-type"] == f"image/{file_format.lower()}"
    assert reply.body == expected(dehazer, content)
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.getexif()[0x010F] == "Hazelblad"
        assert image.info["icc_profile"] == srgb_profile
    assert len(reply.headers["x-corun-airlight"].split(",")) == 3
    assert "dehaze;dur=" in reply.headers["server-timing"]


def test_a_form_does_the_same_and_names_the_picture(service: Running, dehazer: Dehazer) -> None:
    content = encoded(photo(2))
    body, headers = form(("fog.png", content))
    assert service.ask("POST", "/v1/dehaze", body, headers).body == expected(dehazer, content)
    body, headers = form(("fog.png", content[:300]))
    reply = service.ask("POST", "/v1/dehaze", body, headers)
    assert reply.status == 422
    assert json.loads(reply.body)["error"].startswith("fog.png: the file is cut short")


def test_strength_quality_and_transmission(service: Running, dehazer: Dehazer) -> None:
    content = encoded(photo(3))
    half = service.post(content, "/v1/dehaze?strength=0.5&model=corun-lite")
    assert half.body == expected(dehazer, content, 0.5)
    unchanged = service.post(content, "/v1/dehaze?strength=0")
    assert (pixels(unchanged.body) == pixels(content)).all()
    jpeg = encoded(photo(3), "JPEG")
    sizes = [len(service.post(jpeg, f"/v1/dehaze?quality={q}").body) for q in (20, 95)]
    assert sizes[0] < sizes[1]
    reply = service.post(jpeg, "/v1/dehaze?transmission=true")
    assert reply.headers["content-type"] == "image/png"
    truth = dehazer.dehaze_picture(read_picture(jpeg, name="x")).transmission
    assert truth is not None
    assert pixels(reply.body) == pytest.approx(np.asarray(truth) * 65535, abs=0.51)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/webp", "image/webp"),
        ("image/webp;q=0.4, image/tiff;q=0.9", "image/tiff"),
        ("image/jpeg, image/png", "image/png"),  # the picture's own among equals
        ("text/html, image/*;q=0.8, */*;q=0.5", "image/png"),
        ("image/jpeg;q=0.5, */*;q=0.8", "image/png"),
        ("", "image/png"),
    ],
)
def test_accept_is_honoured(service: Running, accept: str, kind: str) -> None:
    reply = service.post(encoded(photo(4)), Accept=accept)
    assert (reply.status, reply.headers["content-type"]) == (200, kind)


def bomb(width: int, height: int) -> bytes:
    """A PNG that states a size and has next to no data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PNG = encoded(photo(5))
REFUSED = {
    "too many pixels": (bomb(1001, 1000), {}, 413, "1001x1000 is 1,001,000 pixels"),
    "a bomb": (bomb(60_000, 60_000), {}, 413, "60000x60000"),
    "too many bytes": (b"x" * 200_001, {}, 413, "longer than the 200,000 bytes"),
    "cut short": (PNG[: len(PNG) // 2], {}, 422, "cut short or damaged"),
    "text": (b"hello", {"Content-Type": "image/jpeg"}, 422, "not a picture"),
    "nothing": (b"", {}, 422, "the file is empty"),
    "JSON": (b"{}", {"Content-Type": "application/json"}, 415, "send a picture, or a form"),
    "compressed": (zlib.compress(PNG), {"Content-Encoding": "deflate"}, 415, "Content-Encoding"),
    "no form": (PNG, {"Content-Type": "multipart/form-data"}, 422, "the form cannot be read"),
    "a format of others": (PNG, {"Accept": "text/html"}, 406, "names no format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_words(service: Running, name: str) -> None:
    body, headers, status, message = REFUSED[name]
    reply = service.ask("POST", "/v1/dehaze", body, headers)
    assert reply.status == status
    assert message in json.loads(reply.body)["error"]
    assert "--" not in json.loads(reply.body)["error"]  # no options of the command line


def test_a_body_without_a_length_is_bounded_too(service: Running) -> None:
    reply = service.post(iter([b"x" * 50_000] * 10))
    assert reply.status == 413


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("strength=2", "strength: "),
        ("strength=nan", "strength: "),
        ("quality=0", "quality: "),
        ("model=ours", "no model of that name is loaded here; choose one of: corun-lite"),
        ("transmission=perhaps", "transmission: "),
    ],
)
def test_impossible_options_are_named(service: Running, query: str, message: str) -> None:
    reply = service.post(PNG, f"/v1/dehaze?{query}")
    assert reply.status == 422
    assert message in json.loads(reply.body)["error"]


def test_a_label_that_lies_is_no_obstacle(service: Running, dehazer: Dehazer) -> None:
    for label in ("image/jpeg", "application/x-www-form-urlencoded"):  # the second is curl's
        reply = service.post(PNG, Content_Type=label)
        assert reply.headers["content-type"] == "image/png"
        assert reply.body == expected(dehazer, PNG)


def test_faulty_pictures_get_an_answer_each(service: Running, shared: Path) -> None:
    for path in sorted((shared / "cases").iterdir()):
        content = path.read_bytes()
        if len(content) > 200_000:
            continue
        body, headers = form((path.name, content))
        reply = service.ask("POST", "/v1/dehaze", body, headers)
        assert reply.status in (200, 413, 415, 422), path.name
        if reply.status != 200:
            assert path.name in json.loads(reply.body)["error"]
    assert service.ask("GET", "/readyz").status == 200
