"""What stands beside the pixels is kept where the format can hold it, and told where it cannot."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin

from corun.pictures.metadata import PictureMetadata
from corun.pictures.png_chunks import chunks_of, with_chunks
from corun.pictures.reading import Picture, read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF>'
    b"</x:xmpmeta>"
)
UPRIGHT_XMP = XMP.replace(b'Orientation="6"', b'Orientation="1"')


def rewrite(picture: Picture, file_format: str) -> tuple[bytes, tuple[str, ...]]:
    return encode_picture(picture.image, picture.metadata, file_format)


@pytest.mark.parametrize("target", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_xmp_is_kept_upright(source: str, target: str) -> None:
    metadata = PictureMetadata(xmp=XMP)
    picture = read_picture(encode_picture(pil_picture("RGB"), metadata, source)[0])
    assert picture.metadata.xmp is not None
    assert b"xmp:Rating" in picture.metadata.xmp
    content, notes = rewrite(picture, target)
    assert notes == ()
    kept = read_picture(content).metadata.xmp
    assert kept is not None
    # Pillow and libheif take the orientation out at times, and leave its blank.
    without, expected = (
        b"".join(packet.replace(b'tiff:Orientation="1"', b"").split())
        for packet in (kept, UPRIGHT_XMP)
    )
    assert without == expected


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_tiff_of_any_mode_keeps_xmp_and_place(
    mode: str, compression: str, exif_block: bytes
) -> None:
    place = {33550: (0.5, 0.5, 0.0), 34735: (1, 1, 0, 0), 42113: "-9999"}
    metadata = PictureMetadata(
        xmp=UPRIGHT_XMP, georeference=place, encoding={"compression": compression}
    )
    picture = read_picture(encode_picture(pil_picture(mode), metadata, "TIFF")[0])
    assert picture.metadata.xmp == UPRIGHT_XMP
    assert picture.metadata.georeference == place
    before, after = (
        im.convert("RGB") if mode == "P" else im for im in (pil_picture(mode), picture.image)
    )
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


def test_texts_of_a_jpeg(shared: Path) -> None:
    content = (shared / "cases" / "xmp_iptc.jpg").read_bytes()
    picture = read_picture(content)
    rewritten, notes = rewrite(picture, "JPEG")
    assert notes == ()
    before, after = (Image.open(io.BytesIO(jpeg)) for jpeg in (content, rewritten))
    assert after.info["comment"] == before.info["comment"] == b"a comment"
    assert after.info["xmp"] == before.info["xmp"]
    rewritten, notes = rewrite(picture, "PNG")
    assert notes == ()
    assert (b"tEXt", b"Comment\0a comment") in list(chunks_of(rewritten))
    _, notes = rewrite(picture, "WEBP")
    assert notes == ("WEBP holds no text; Comment not kept",)


@pytest.mark.parametrize("caption", [b"fog", b"fog!"])
def test_iptc_is_kept_without_the_thumbnail_beside_it(caption: bytes) -> None:
    iptc = b"\x1c\x02\x78" + len(caption).to_bytes(2, "big") + caption
    resources = b"8BIM\x04\x0c\x03abc" + (5).to_bytes(4, "big") + b"THUMB\0"
    resources += b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc
    body = b"Photoshop 3.0\0" + resources
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "JPEG")
    content = content[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + content[2:]
    picture = read_picture(content)
    for file_format in ("JPEG", "TIFF"):
        rewritten, notes = rewrite(picture, file_format)
        assert notes == ()
        assert b"THUMB" not in rewritten
        with Image.open(io.BytesIO(rewritten)) as written:
            found = IptcImagePlugin.getiptcinfo(written)
        assert found is not None
        assert found[(2, 120)] == caption
        assert read_picture(rewritten).metadata.iptc == iptc
    assert rewrite(picture, "PNG")[1] == ("PNG holds no IPTC block; it was not kept",)


def test_texts_of_a_png(shared: Path) -> None:
    picture = read_picture(shared / "cases" / "text_xmp.png")
    content, notes = rewrite(picture, "PNG")
    assert notes == ()
    with Image.open(io.BytesIO(content)) as written:
        written.load()
        assert (written.info["Title"], written.info["Copyright"]) == ("street", "A. Author")
        assert b"<rdf:li>fog</rdf:li>" in written.info["xmp"]
    content, notes = rewrite(picture, "JPEG")
    assert notes == ("JPEG holds no text; Title, Copyright not kept",)
    assert b"<rdf:li>fog</rdf:li>" in content


def test_bmp_says_what_it_loses(srgb_profile: bytes, exif_block: bytes) -> None:
    metadata = PictureMetadata(exif=exif_block, icc=srgb_profile, xmp=XMP)
    _, notes = encode_picture(pil_picture("RGB"), metadata, "BMP")
    assert notes == ("BMP holds no EXIF, XMP, colour profile; not kept",)


def test_a_gain_map_is_told(shared: Path) -> None:
    picture = read_picture(shared / "cases" / "gainmap.jpg")
    assert picture.metadata.notes == (
        "holds a second picture (a gain map, a depth map or a view), which was not kept",
    )
    content, _ = rewrite(picture, "JPEG")
    assert read_picture(content).metadata.notes == ()


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
def test_a_gain_map_in_a_container_is_told(file_format: str) -> None:
    """ISO 21496-1 keeps it as a derived item of type tmap; here only its name stands there."""
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), file_format)
    assert read_picture(content).metadata.notes == ()
    (note,) = read_picture(content + b"\0\0\0\x0cfreetmap").metadata.notes
    assert note.startswith("holds a gain map, a depth map or another auxiliary picture")


@pytest.mark.parametrize("tail", [b"\0\0\0\x18ftypisom", b"SEFT" + bytes(40)])
def test_what_follows_a_jpeg_is_told(tail: bytes) -> None:
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "JPEG")
    (note,) = read_picture(content + tail).metadata.notes
    assert "not kept" in note
    assert read_picture(content + bytes(100)).metadata.notes == ()


def test_xmp_of_a_gain_map_goes_with_it() -> None:
    xmp = XMP.replace(b"tiff:Orientation", b"hdrgm:Version")
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(xmp=xmp), "JPEG")
    metadata = read_picture(content).metadata
    assert metadata.xmp is None
    assert metadata.notes == (
        "its XMP describes a gain map, a film or a depth map, and was not kept",
    )


@pytest.mark.parametrize("where", ["maker note", "comment"])
def test_exif_beyond_64_kib_costs_a_jpeg_its_maker_note_or_all_of_it(where: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Hazelblad"
    exif.get_ifd(0x8769)[0x927C if where == "maker note" else 0x9286] = b"M" * 90_000
    metadata = PictureMetadata(exif=exif.tobytes())
    content, notes = encode_picture(pil_picture("RGB"), metadata, "JPEG")
    assert "its EXIF is too long for JPEG" in notes[0]
    kept = read_picture(content).metadata.exif
    if where == "comment":
        assert kept is None
    else:
        assert kept is not None
        assert b"Hazelblad" in kept
    for file_format in ("PNG", "WEBP", "TIFF"):
        content, notes = encode_picture(pil_picture("RGB"), metadata, file_format)
        assert notes == ()
        kept = read_picture(content).metadata.exif
        assert kept is not None
        assert b"M" * 90_000 in kept


def test_the_case_of_long_exif(shared: Path) -> None:
    picture = read_picture(shared / "cases" / "exif90k.png")
    assert rewrite(picture, "PNG")[1] == ()
    (note,) = rewrite(picture, "JPEG")[1]
    assert "maker note was not kept" in note


PLACE = {
    33550: (12, (0.5, 0.5, 0.0)),
    33922: (12, (0.0, 0.0, 0.0, 500000.0, 4500000.0, 0.0)),
    34264: (12, tuple(map(float, range(16)))),
    34735: (3, (1, 1, 0, 1, 3072, 0, 1, 32632)),
    34736: (12, (6378137.0, 298.25)),
    34737: (2, "WGS 84|"),
    42112: (2, "<GDALMetadata></GDALMetadata>"),
    42113: (2, "-9999"),
}
"""Tags of GeoTIFF and GDAL: type and value."""


def tags_of(content: bytes) -> dict[int, object]:
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        return {tag.code: tag.value for tag in tiff.pages.first.tags if tag.code in PLACE}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint16 big"])
def test_a_place_on_earth_is_kept(dtype: str) -> None:
    tags = [
        (code, kind, 0 if kind == 2 else len(value), value, True)
        for code, (kind, value) in PLACE.items()
    ]
    big = {"byteorder": ">", "bigtiff": True} if "big" in dtype else {}
    with io.BytesIO() as file:
        samples = gradient(17, 23, 3, dtype.split()[0])
        tifffile.imwrite(file, samples, photometric="rgb", extratags=tags, **big)
        picture = read_picture(file.getvalue())
    rewritten, notes = rewrite(picture, "TIFF")
    assert notes == ()
    assert tags_of(rewritten) == {code: value for code, (_, value) in PLACE.items()}
    assert rewrite(picture, "PNG")[1] == ("PNG holds no georeference; it was not kept",)


def test_the_case_of_a_place_on_earth(shared: Path) -> None:
    content = (shared / "cases" / "geotiff_u8.tif").read_bytes()
    assert {33550, 33922, 34735, 42113} == set(tags_of(content))
    assert tags_of(rewrite(read_picture(content), "TIFF")[0]) == tags_of(content)


def test_a_turned_picture_has_no_place_on_earth() -> None:
    metadata = PictureMetadata(georeference={33550: (0.5, 0.5, 0.0)})
    exif = Image.Exif()
    exif[0x0112] = 6
    metadata = PictureMetadata(exif=exif.tobytes(), georeference=metadata.georeference)
    read = read_picture(encode_picture(gradient(17, 23, 3, "uint16"), metadata, "TIFF")[0])
    assert read.metadata.georeference == {}
    assert "georeference" in read.metadata.notes[0]


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("ImageJ=1.54\nimages=2\nslices=2", "its ImageJ description"),
        ('<?xml version="1.0"?><OME xmlns="x"/>', "its OME description"),
        ('{"shape": [2, 17, 23, 3]}', None),
        ('{"shape": [2, 17, 23, 3], "axes": "ZYXS"}', "its tifffile description"),
        ("a street in fog", ""),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_layout_of_a_stack_is_dropped(description: str, told: str | None, dtype: str) -> None:
    stack = np.stack([gradient(17, 23, 3, dtype)] * 2)
    with io.BytesIO() as file:
        tifffile.imwrite(file, stack, photometric="rgb", description=description, metadata=None)
        picture = read_picture(file.getvalue())
    assert picture.metadata.notes[0] == "holds 2 pictures; only the first is used"
    assert len(picture.metadata.notes) == (2 if told else 1)
    written, _ = rewrite(picture, "TIFF")
    with Image.open(io.BytesIO(written)) as image:
        assert image.getexif().get(0x010E) == (description if told == "" else None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_layers_are_told(dtype: str) -> None:
    layers = [(37724, 7, 9, b"Adobe 8BI", True)]
    with io.BytesIO() as file:
        tifffile.imwrite(file, gradient(17, 23, 3, dtype), photometric="rgb", extratags=layers)
        picture = read_picture(file.getvalue())
    assert picture.metadata.notes == ("its Photoshop layers were not kept",)


def test_the_case_of_a_stack(shared: Path) -> None:
    picture = read_picture(shared / "cases" / "shaped_rgb_stack.tif")
    written, _ = rewrite(picture, "TIFF")
    assert tifffile.imread(io.BytesIO(written)).shape == (200, 320, 3)


def test_ten_bits_of_heic_stay_ten_bits(shared: Path) -> None:
    import pillow_heif

    picture = read_picture(shared / "cases" / "ten_bit.heic")
    assert isinstance(picture.image, np.ndarray)
    assert picture.image.dtype == np.uint16
    assert len(np.unique(picture.image)) > 256
    content, notes = rewrite(picture, "HEIF")
    assert notes == ()
    assert pillow_heif.open_heif(content, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    again = read_picture(content)
    assert np.abs(again.image.astype(int) - picture.image).mean() < 200  # of 65535: lossy
    assert read_picture(rewrite(picture, "PNG")[0]).image.dtype == np.uint16


@pytest.mark.parametrize("bits", [10, 12])
def test_white_of_a_deep_heic_is_white(bits: int) -> None:
    white = np.full((32, 32, 3), 65535, np.uint16)
    metadata = PictureMetadata(format="HEIF", encoding={"bits": str(bits)})
    content, notes = encode_picture(white, metadata, "HEIF", quality=100)
    assert notes == ()
    picture = read_picture(content)
    assert picture.metadata.encoding["bits"] == str(bits)
    assert picture.image.min() >= 65535 - 2 * 65535 // (2**bits - 1)
    _, notes = encode_picture(white, PictureMetadata(), "HEIF")
    assert notes == ("HEIF holds 10 bits per colour; written with 10 bits",)


def test_the_depth_of_an_avif_is_told() -> None:
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "AVIF")
    assert read_picture(content).metadata.notes == ()
    if not cv2.haveImageWriter("a.avif"):
        pytest.skip("needs OpenCV with AVIF")
    samples = gradient(17, 23, 3, "uint16")
    for bits in (10, 12):
        deep = cv2.imencode(".avif", samples >> (16 - bits), [cv2.IMWRITE_AVIF_DEPTH, bits])[1]
        picture = read_picture(deep.tobytes())
        assert picture.metadata.notes == (f"its {bits} bits per colour were read as 8",)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"tEXt"])
def test_long_texts_of_a_png_are_no_damage(name: bytes) -> None:
    text = np.random.default_rng(0).bytes(600_000).hex().encode()
    heads = {b"zTXt": b"Workflow\0\0", b"iTXt": b"Workflow\0\1\0\0\0", b"tEXt": b"Workflow\0"}
    body = heads[name] + (text if name == b"tEXt" else zlib.compress(text))
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "PNG")
    picture = read_picture(with_chunks(content, [(name, body)]))
    rewritten, notes = rewrite(picture, "PNG")
    assert notes == ()
    assert (name, body) in list(chunks_of(rewritten))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_long_profile_is_kept(file_format: str, srgb_profile: bytes) -> None:
    icc = srgb_profile + np.random.default_rng(0).bytes(1_500_000)
    picture = read_picture(
        encode_picture(pil_picture("RGB"), PictureMetadata(icc=icc), file_format)[0]
    )
    rewritten, notes = rewrite(picture, file_format)
    assert notes == ()
    assert read_picture(rewritten).metadata.icc == icc
