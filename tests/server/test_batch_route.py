"""Many pictures in one request."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from running_service import Running, encoded, form, photo, pixels

from corun.server.batch import unique_names

BATCH = "/v1/dehaze/batch"
ZIP = {"Content-Type": "application/zip"}


def zipped(files: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def unzipped(content: bytes) -> tuple[dict[str, bytes], list[dict]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    return files, json.loads(files.pop("report.json"))


def test_a_zip_of_pictures_comes_back_as_one_with_a_report(service: Running) -> None:
    pictures = [(f"walk/{seed}.png", encoded(photo(seed))) for seed in range(7)]
    reply = service.ask("POST", BATCH, zipped([*pictures, ("walk/notes.txt", b"fog")]), ZIP)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/zip")
    files, report = unzipped(reply.body)
    assert list(files) == [name for name, _ in pictures]
    for name, content in pictures:
        alone = service.post(content).body
        assert abs(pixels(files[name]) - pixels(alone)).max() <= 1
    assert [line["status"] for line in report] == ["ok"] * 7 + ["failed"]
    assert report[7]["error"].startswith("walk/notes.txt: not a picture")


def test_a_form_of_pictures_and_a_format(service: Running) -> None:
    body, headers = form(("a.png", encoded(photo(1))), ("a.png", encoded(photo(2))))
    reply = service.ask("POST", BATCH, body, {**headers, "Accept": "application/zip, image/jpeg"})
    files, report = unzipped(reply.body)
    assert list(files) == ["a.jpg", "a-2.jpg"]
    assert all(content.startswith(b"\xff\xd8") for content in files.values())
    assert [line["input"] for line in report] == ["a.png", "a-2.png"]


def test_names_are_safe_to_unpack_and_what_systems_add_is_left_out(service: Running) -> None:
    png = encoded(photo(1))
    names = ["../up.png", "/root.png", "c:\\x\\win.png", "report.json", "up.png", "\x01.png"]
    junk = [("__MACOSX/._a.png", b"x"), (".hidden.png", b"x"), ("folder/", b"")]
    reply = service.ask("POST", BATCH, zipped([*((name, png) for name in names), *junk]), ZIP)
    files, report = unzipped(reply.body)
    assert [line["input"] for line in report] == [
        "up.png", "root.png", "x/win.png", "report-4.json", "up-5.png", ".png",
    ]  # fmt: skip
    assert "report-4.png" in files
    assert len(files) == len(names)


def test_what_unpacks_to_too_much_is_named_and_the_rest_is_done(service: Running) -> None:
    files = [("big.png", b"\0" * 300_000), ("good.png", encoded(photo(3)))]
    content = zipped(files)
    assert len(content) < 100_000
    done, report = unzipped(service.ask("POST", BATCH, content, ZIP).body)
    assert list(done) == ["good.png"]
    assert report[0]["error"] == "big.png: is longer than 200,000 bytes"


def test_a_name_that_is_made_up_is_nobodys() -> None:
    assert unique_names(["a.png", "a-3.png", "a.png"]) == ["a.png", "a-3.png", "a-3-3.png"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"PK nothing", ZIP, 422, "the zip file is damaged or none"),
        (zipped([]), ZIP, 422, "there is no picture in it"),
        (zipped([("a.png", b"x")]), ZIP, 422, "a.png: not a picture"),
        (zipped([("a.png", encoded(photo(1)))])[:-30], ZIP, 422, "the zip file is damaged"),
        (b"x" * 1_000_001, ZIP, 413, "longer than the 1,000,000 bytes"),
        (encoded(photo(1)), {"Content-Type": "image/png"}, 415, "send a zip file"),
        (zipped([(f"{n}", b"") for n in range(1001)]), ZIP, 413, "more than 1000 pictures"),
        (zipped([]) + b"PK\x01\x02" * 10_001, ZIP, 413, "too many entries in the zip file"),
    ],
)
def test_what_is_no_batch_is_refused(
    service: Running, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    reply = service.ask("POST", BATCH, body, headers)
    assert reply.status == status
    assert message in json.loads(reply.body)["error"]


def test_an_entry_that_is_damaged_or_encrypted_is_named(service: Running) -> None:
    files = [("a.png", encoded(photo(1))), ("b.png", encoded(photo(2)))]
    content = bytearray(zipped(files, zipfile.ZIP_STORED))
    at = content.find(b"IDAT") + 20
    content[at] ^= 0xFF  # the checksum of a.png is wrong now
    done, report = unzipped(service.ask("POST", BATCH, bytes(content), ZIP).body)
    assert list(done) == ["b.png"]
    assert report[0]["error"].startswith("a.png: cannot be unpacked")
