"""`corun dehaze`: names, formats, streams, conflicts, and what it prints."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

Corun = Callable[..., Result]


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_photo_gets_a_dehazed_one_beside_it(corun: Corun, photos: Path, weights: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", "--model", weights)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "a.dehazed.jpg (32x24" in result.stderr
    clear = opened(photos / "a.dehazed.jpg")
    assert (clear.format, clear.size) == ("JPEG", (32, 24))
    assert np.abs(np.asarray(clear).astype(int) - np.asarray(opened(photos / "a.jpg"))).max()


def test_a_folder_goes_beside_or_into_another(corun: Corun, photos: Path, tmp_path: Path) -> None:
    before = names(photos)
    assert corun("dehaze", photos, "--model", "dcp").exit_code == 0
    assert names(photos) - before == {"a.dehazed.jpg", "b.dehazed.png", "c.dehazed.tif"}
    again = corun("dehaze", photos, "--model", "dcp", "--skip-existing", "--json")
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["skipped"] * 3
    out = tmp_path / "clear"
    assert corun("dehaze", photos, "--model", "dcp", "--recursive", "-o", out).exit_code == 0
    assert {"a.jpg", "b.png", "c.tif", "inner/d.jpg"} <= names(out)


def test_results_inside_the_searched_folder_are_not_dehazed_again(
    corun: Corun, photos: Path
) -> None:
    out = photos / "clear"
    for _ in range(2):
        result = corun("dehaze", photos, "--recursive", "-o", out, "--model", "dcp", "--overwrite")
        assert result.exit_code == 0
    assert names(out) == {"a.jpg", "b.png", "c.tif", "inner/d.jpg"}


def test_patterns_are_expanded_where_the_shell_does_not(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", f"{photos}/**/*.jpg", "--model", "dcp", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert {"a.dehazed.jpg", "inner/d.dehazed.jpg"} <= names(photos)
    nothing = corun("dehaze", f"{photos}/*.gif", "--model", "dcp")
    assert nothing.exit_code == 1
    assert "matches no file" in nothing.stderr


def test_a_pattern_goes_on_where_it_was_interrupted(corun: Corun, photos: Path) -> None:
    pattern = f"{photos}/**/*.jpg"
    assert corun("dehaze", pattern, "--model", "dcp").exit_code == 0
    (photos / "inner" / "d.dehazed.jpg").unlink()
    again = corun("dehaze", pattern, "--model", "dcp", "--skip-existing", "--json")
    assert again.exit_code == 0
    outcomes = [json.loads(line) for line in again.stdout.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == ["skipped", "ok"]
    expanded = sorted(photos.glob("*.jpg"))  # as the shell does it
    assert len(expanded) == 2
    assert corun("dehaze", *expanded, "--model", "dcp", "--skip-existing").exit_code == 0
    assert not (photos / "a.dehazed.dehazed.jpg").exists()


def test_a_folder_into_itself_may_be_done_twice(corun: Corun, photos: Path) -> None:
    command = ("dehaze", photos, "-o", photos, "--recursive", "--suffix", ".z", "--model", "dcp")
    assert corun(*command).exit_code == 0
    after = names(photos)
    assert corun(*command, "--skip-existing").exit_code == 0
    assert names(photos) == after


def test_one_file_may_be_named_and_its_format_follows(corun: Corun, photos: Path) -> None:
    target = photos / "deep" / "clear.png"
    assert corun("dehaze", photos / "a.jpg", "--model", "dcp", "-o", target).exit_code == 0
    assert opened(target).format == "PNG"


def test_suffix_and_format(corun: Corun, photos: Path) -> None:
    options = ("--suffix", "_clear", "--format", "webp", "--model", "dcp")
    assert corun("dehaze", photos / "a.jpg", photos / "b.png", *options).exit_code == 0
    assert opened(photos / "a_clear.webp").format == "WEBP"
    assert opened(photos / "b_clear.webp").size == (32, 24)


def test_the_transmission_is_saved_as_sixteen_bit_grey(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", "--model", "dcp", "--save-transmission")
    assert result.exit_code == 0
    t = np.asarray(opened(photos / "a.transmission.png"))
    assert (t.dtype, t.shape) == (np.uint16, (24, 32))
    assert 0.1 <= t.min() / 65535 <= t.max() / 65535 <= 1


def test_pictures_of_one_stem_have_their_own_transmissions(corun: Corun, photos: Path) -> None:
    opened(photos / "a.jpg").save(photos / "a.png")
    before = names(photos)
    assert corun("dehaze", photos, "--model", "dcp", "--save-transmission").exit_code == 0
    new = {name for name in names(photos) - before if "transmission" in name}
    assert new == {
        *("a.jpg.transmission.png", "a.png.transmission.png"),
        *("b.transmission.png", "c.transmission.png"),
    }


def test_a_photo_with_exif_becomes_a_tiff(corun: Corun, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Hazelblad"
    opened(photos / "a.jpg").save(photos / "made.jpg", exif=exif)
    exif.get_ifd(0x8769)[0x9003] = "2024:11:05 07:30:00"
    opened(photos / "a.jpg").save(photos / "dated.jpg", exif=exif)
    inputs = (photos / "made.jpg", photos / "dated.jpg")
    assert corun("dehaze", *inputs, "--model", "dcp", "--format", "tif").exit_code == 0
    for name in ("made", "dated"):
        assert opened(photos / f"{name}.dehazed.tif").getexif()[0x010F] == "Hazelblad"
    details = opened(photos / "dated.dehazed.tif").getexif().get_ifd(0x8769)
    assert details[0x9003] == "2024:11:05 07:30:00"


def test_strength_zero_changes_nothing(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "b.png", "--model", "dcp", "--strength", "0")
    assert result.exit_code == 0
    clear, hazy = opened(photos / "b.dehazed.png"), opened(photos / "b.png")
    np.testing.assert_array_equal(np.asarray(clear), np.asarray(hazy))


def test_json_says_one_object_per_picture(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", photos / "gone.jpg", "--model", "dcp", "--json")
    assert result.exit_code == 1
    done, failed = map(json.loads, result.stdout.splitlines())
    assert done["status"] == "ok"
    assert done["output"] == str(photos / "a.dehazed.jpg")
    assert (done["width"], done["height"], done["model"]) == (32, 24, "dcp")
    assert failed["status"] == "failed"
    assert "no such file" in failed["error"]


def test_standard_input_to_standard_output(corun: Corun, photos: Path, tmp_path: Path) -> None:
    content = (photos / "b.png").read_bytes()
    result = corun("dehaze", "-", "--model", "dcp", stdin=content)
    assert result.exit_code == 0
    through = Image.open(io.BytesIO(result.stdout_bytes))
    assert corun("dehaze", photos / "b.png", "--model", "dcp").exit_code == 0
    beside = opened(photos / "b.dehazed.png")
    assert through.format == "PNG"
    np.testing.assert_array_equal(np.asarray(through), np.asarray(beside))
    to_file = tmp_path / "clear.jpg"
    assert corun("dehaze", "-", "--model", "dcp", "-o", to_file, stdin=content).exit_code == 0
    assert opened(to_file).format == "JPEG"
    from_file = corun("dehaze", photos / "b.png", "--model", "dcp", "-o", "-", "--format", "jpg")
    assert Image.open(io.BytesIO(from_file.stdout_bytes)).format == "JPEG"
    empty = corun("dehaze", "-", "--model", "dcp", stdin=b"")
    assert empty.exit_code == 1
    assert "standard input: the file is empty" in empty.stderr


def test_an_existing_output_is_an_error_that_names_the_flags(corun: Corun, photos: Path) -> None:
    target = photos / "a.dehazed.jpg"
    target.write_bytes(b"precious")
    result = corun("dehaze", photos / "a.jpg", photos / "b.png", "--model", "dcp")
    assert result.exit_code == 1
    assert "exists already; add --overwrite or --skip-existing" in result.stderr
    assert target.read_bytes() == b"precious"
    assert (photos / "b.dehazed.png").exists()
    assert corun("dehaze", photos / "a.jpg", "--model", "dcp", "--skip-existing").exit_code == 0
    assert target.read_bytes() == b"precious"
    assert corun("dehaze", photos / "a.jpg", "--model", "dcp", "--overwrite").exit_code == 0
    assert opened(target).size == (32, 24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.jpg", "--overwrite", "--skip-existing"), "exclude each other"),
        (("a.jpg", "inner/../a.jpg", "b.png", "-o", "clear.png"), "several pictures need a folder"),
        (("a.jpg", "b.jpg", "-o", "out/", "--format", "gif"), "no format corun writes"),
        (("a.jpg", "-o", "clear.gif"), "names no format"),
        (("a.jpg", "-o", "clear.png", "--format", "jpg"), "disagree"),
        (("a.jpg", "inner/a.jpg", "-o", "out/"), "would both be written to"),
        (("a.jpg", "a.png", "--format", "png"), "would both be written to"),
        (("a.jpg", "--suffix", ""), "would replace the picture itself"),
        (("a.jpg", "-o", "."), "would replace the picture itself"),
        (("b.png", "a.jpg", "--suffix", "", "--format", "png", "--overwrite"), ""),
        (("x.png", "x.jpg", "--suffix", "", "--format", "png", "--overwrite"), "would"),
        (("a.jpg", "--suffix", "../b"), "not a path"),
        (("-", "a.jpg"), "goes alone"),
        (("-", "--json"), "share standard output"),
        (("-", "--save-transmission"), "needs a file name"),
        (("-", "-o", "inner/"), "needs a file name"),
        (("a.jpg", "b.png", "-o", "-"), "one picture"),
        (("a.jpg", "--strength", "1.5"), "--strength"),
        (("a.jpg", "--dtype", "float8"), "--dtype"),
        (("",), "empty name"),
        (("a.jpg", "-o", ""), "empty name"),
        ((), "IN"),
    ],
)
def test_wrong_usage_is_refused_before_any_work(
    corun: Corun,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(photos)
    before = names(photos)
    result = corun("dehaze", *arguments, "--model", "dcp")
    if not message:  # in place, with consent, is allowed
        assert result.exit_code == 0
        return
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert names(photos) == before


def test_in_place_needs_consent_and_then_works(corun: Corun, photos: Path) -> None:
    path = photos / "b.png"
    before = path.read_bytes()
    result = corun("dehaze", path, "--suffix", "", "--overwrite", "--model", "dcp")
    assert result.exit_code == 0
    assert path.read_bytes() != before
    assert opened(path).size == (32, 24)


def test_the_same_picture_twice_is_done_once(corun: Corun, photos: Path) -> None:
    (photos / "link.jpg").symlink_to(photos / "a.jpg")
    result = corun("dehaze", photos / "a.jpg", photos, "--model", "dcp", "--json")
    assert result.exit_code == 0
    inputs = [json.loads(line)["input"] for line in result.stdout.splitlines()]
    assert sorted(Path(name).name for name in inputs) == ["a.jpg", "b.png", "c.tif", "link.jpg"]


def test_earlier_results_are_left_out_with_a_word(
    corun: Corun, photos: Path, tmp_path: Path
) -> None:
    assert corun("dehaze", photos, "--model", "dcp").exit_code == 0
    out = tmp_path / "out"
    result = corun("dehaze", photos, "-o", out, "--model", "dcp")
    assert result.exit_code == 0
    assert "corun: left out: 3 earlier results (a.dehazed.jpg, b.dehazed.png" in result.stderr
    assert names(out) == {"a.jpg", "b.png", "c.tif"}


def test_a_device_takes_a_picture(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", "-o", "/dev/null", "--model", "dcp")
    assert (result.exit_code, names(photos) & {"null"}) == (0, set())


def test_what_would_steer_the_terminal_is_escaped(corun: Corun, photos: Path) -> None:
    evil = photos / "\x1b[2J\u202egpj.exe\n.jpg"
    evil.write_bytes((photos / "a.jpg").read_bytes())
    (photos / "\x9b31m.jpg").write_bytes(b"no picture")
    result = corun("dehaze", photos, "--model", "dcp", "--json")
    for text in (result.stdout, result.stderr):
        assert not {"\x1b", "\u202e", "\x9b"} & set(text)
    assert r"\u001b[2J\u202egpj.exe" in result.stdout
    assert r"\u009b31m.jpg: not a picture" in result.stderr
    inputs = {json.loads(line)["input"] for line in result.stdout.splitlines()}
    assert str(evil) in inputs


def test_what_could_not_be_kept_is_noted(corun: Corun, photos: Path) -> None:
    opened(photos / "a.jpg").convert("CMYK").save(photos / "ink.jpg")
    result = corun("dehaze", photos / "ink.jpg", "--model", "dcp", "--format", "png", "--json")
    assert "CMYK" in json.loads(result.stdout)["notes"][0]
    assert "note: PNG holds no CMYK" in result.stderr


def test_a_folder_names_the_raw_files_and_videos_it_leaves(
    corun: Corun, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (photos / "d.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(200))
    (photos / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    result = corun("dehaze", photos, "--model", "dcp")
    assert result.exit_code == 1
    assert "d.raf" in result.stderr
    assert "pip install 'corun-dehaze[raw]'" in result.stderr
    assert f"{photos / 'clip.mp4'}: a video, left out; use corun video" in result.stderr
    assert (photos / "b.dehazed.png").exists()
