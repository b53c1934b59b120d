"""The pictures on which faults were found, through the command line: what is kept, what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from corun.pictures.reading import read_picture, read_size

PLAIN = ("base320.png", "black.png", "dark.png", "fade_0.0.png", "tiny_7x5.png")
PLAIN += ("hidden_black.png", "hidden_white.png", "letterbox_black.png")
KEPT = ("bands4_nir_u16.tif", "bands4_nir_u8.tif", "exif90k.png", "gama_linear.png")
KEPT += ("geotiff_u8.tif", "linear_icc_u16.tif", "ten_bit.heic", "text_xmp.png", "xmp_iptc.jpg")
NOTED = {
    "bands3_black_u8.tif": "its bands are not named",
    "camera.dng": "developed from raw data",
    "gainmap.jpg": "holds a second picture",
    "no_eoi.jpg": "its end marker is missing",
    "shaped_rgb_stack.tif": "holds 2 pictures; only the first is used",
}
REFUSED = {"hdr_pq_cicp.png": "HDR (PQ)"}


def test_every_case_is_cleared_or_refused_and_every_loss_told(
    corun: Callable[..., Result], shared: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pillow_heif", reason="needs pip install 'corun-dehaze[heif]'")
    pytest.importorskip("rawpy", reason="needs pip install 'corun-dehaze[raw]'")
    names = [*PLAIN, *KEPT, *NOTED, *REFUSED]
    cases = [shared / "cases" / name for name in names]
    result = corun("dehaze", *cases, "--model", "dcp", "-o", tmp_path / "clear", "--json")
    assert result.exit_code == 1
    told = {Path(line["input"]).name: line for line in map(json.loads, result.stdout.splitlines())}
    assert sorted(told) == sorted(names)
    for name, reason in REFUSED.items():
        assert told[name]["status"] == "failed"
        assert reason in told[name]["error"]
    for case in cases:
        line = told[case.name]
        if case.name in REFUSED:
            continue
        assert line["status"] == "ok", line
        notes = line.get("notes", [])
        assert len(notes) == (case.name in NOTED), line
        assert all(NOTED[case.name] in note for note in notes)
        output = Path(line["output"])
        assert read_size(output) == read_size(case)
        if case.name in KEPT:
            before, after = read_picture(case).metadata, read_picture(output).metadata
            for kind in ("icc", "exponent", "chunks", "xmp", "iptc", "georeference"):
                assert getattr(after, kind) == getattr(before, kind), (case.name, kind)
            assert (after.spare is None) == (before.spare is None)
            assert after.encoding.get("bits") == before.encoding.get("bits")
