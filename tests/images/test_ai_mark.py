"""The machine-readable mark: in results and their thumbnails, alone in its packet, pixels untouched."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghibli_flask.images import DigitalSourceType, finish, fit, mark, normalise, read_mark, thumbnail
from tests.images import pictures
from tests.images.pictures import corners, encoded, opened

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"

PLAIN = {
    "jpeg": encoded(corners(), "JPEG"),
    "progressive jpeg": encoded(corners(), "JPEG", progressive=True),
    "jpeg with its own packet": encoded(corners(), "JPEG", xmp=b"<x:xmpmeta>old</x:xmpmeta>"),
    "jpeg with a profile": encoded(corners(), "JPEG", icc_profile=pictures.srgb_profile()),
    "webp": encoded(corners(95, 63), "WEBP"),
    "lossless webp": encoded(corners(95, 63), "WEBP", lossless=True),
    "webp with alpha": encoded(Image.new("RGBA", (64, 64), (9, 9, 9, 99)), "WEBP", lossless=True),
    "webp with its own packet": encoded(corners(), "WEBP", xmp=b"<x:xmpmeta>old</x:xmpmeta>"),
}


@pytest.mark.parametrize("source_type", DigitalSourceType)
@pytest.mark.parametrize("name", PLAIN)
def test_the_mark_is_read_back_and_pixels_stay(name: str, source_type: DigitalSourceType) -> None:
    """Every kind of JPEG and WebP takes the mark, gives it back, and shows exactly the same pixels as before."""
    marked = mark(PLAIN[name], source_type)
    assert read_mark(marked) is source_type
    before, after = opened(PLAIN[name]), opened(marked)
    assert (after.mode, after.size, after.tobytes()) == (before.mode, before.size, before.tobytes())


@pytest.mark.parametrize("name", PLAIN)
def test_pillow_finds_one_packet_with_one_fact(name: str) -> None:
    """Another reader finds one well-formed packet, and in it the source type in IPTC's words and nothing else."""
    marked = mark(PLAIN[name], DigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
    assert marked.count(b"DigitalSourceType=") == 1
    assert b"old" not in opened(marked).info["xmp"]
    packet = re.sub(rb"<\?xpacket.*?\?>", b"", opened(marked).info["xmp"])
    description = ElementTree.fromstring(packet).find(f"{RDF}RDF/{RDF}Description")
    assert description is not None
    assert description.attrib == {
        f"{RDF}about": "",
        IPTC: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    }


def test_marking_twice_keeps_the_last() -> None:
    """A second mark replaces the first, in size as in meaning."""
    for data in PLAIN.values():
        once = mark(data, DigitalSourceType.ALGORITHMICALLY_ENHANCED)
        twice = mark(
            mark(data, DigitalSourceType.TRAINED_ALGORITHMIC_MEDIA), DigitalSourceType.ALGORITHMICALLY_ENHANCED
        )
        assert once == twice


def test_other_formats_cannot_be_marked() -> None:
    """Only what this package encodes can be marked; anything else is a mistake of the caller."""
    with pytest.raises(ValueError, match="JPEG and WebP"):
        mark(encoded(corners(), "PNG"), DigitalSourceType.ALGORITHMICALLY_ENHANCED)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPXMP "]),
)
def test_reading_foreign_bytes_is_safe(noise: bytes, start: bytes) -> None:
    """Bytes that are no picture carry no mark, and asking does no harm."""
    assert read_mark(start + noise) is None


def test_an_unknown_source_type_is_no_mark() -> None:
    """A packet that says "captured by a camera", as real photographs do, is not taken for a mark of AI."""
    camera = b'<rdf:Description Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/>'
    assert read_mark(encoded(corners(), "JPEG", xmp=camera)) is None


def test_uploads_lose_a_mark() -> None:
    """What is kept of an upload carries no mark, even when the upload did: only our results are marked."""
    marked = mark(PLAIN["jpeg"], DigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
    assert read_mark(normalise(marked).data) is None


def test_a_thumbnail_carries_its_pictures_mark() -> None:
    """The thumbnail of a result is marked like the result; that of a photograph is not."""
    source = normalise(encoded(corners(1500, 1000), "PNG"))
    plain = thumbnail(source.data)
    assert (plain.width, plain.height, plain.content_type) == (640, 427, "image/webp")
    assert read_mark(plain.data) is None

    chosen = fit(source.width, source.height)
    for source_type in DigitalSourceType:
        result = finish(source.data, chosen, source_type=source_type)
        small = thumbnail(result.data, longest_side=200)
        assert (small.width, small.height) == (200, 133)
        assert read_mark(small.data) is source_type
        assert opened(small.data).size == (200, 133)


def test_a_thumbnail_never_grows() -> None:
    """A picture smaller than a thumbnail keeps its sides, and a long strip keeps at least one pixel."""
    assert thumbnail(encoded(corners(), "JPEG")).width == 96
    strip = thumbnail(encoded(Image.new("RGB", (2048, 16)), "JPEG"), longest_side=100)
    assert (strip.width, strip.height) == (100, 1)
