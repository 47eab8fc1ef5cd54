"""The metadata section of a stream: EXIF and XMP, as docs/stream-format.md has it."""

from __future__ import annotations

import zlib

from ziggurat.errors import DamagedStreamError

_MAX_BYTES = 1 << 17  # inflated
MAX_SECTION_BYTES = _MAX_BYTES + 64
_NAMES = {0: ("exif", 65_527), 1: ("xmp", 65_502)}  # and the most bytes of each
PRESET = (
    b"<rdf:Seq><rdf:Bag></rdf:li></rdf:Bag></rdf:Seq>\n</dc:creator></dc:subject></dc:rights>"
    b'xmpMM:OriginalDocumentID="xmp.did:xmpMM:InstanceID="xmp.iid:" dc:format="image/jpeg" '
    b'photoshop:DateCreated="20xmp:MetadataDate="20xmp:ModifyDate="20xmp:CreateDate="20'
    b'xmp:CreatorTool="Adobe Photoshop Lightroom" exif:DateTimeOriginal="20'
    b' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
    b' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
    b' xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
    b' xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"'
    b' xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"'
    b' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    b' xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"'
    b' xmlns:exifEX="http://cipa.jp/exif/1.0/"'
    b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    b' xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">\n'
    b' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b'  <rdf:Description rdf:about=""\n    xmlns:<rdf:Alt>\n<rdf:li xml:lang="x-default">'
    b"</rdf:li></rdf:Alt></dc:title></dc:description>\n  </rdf:Description>\n </rdf:RDF>\n"
    b'</x:xmpmeta>\n<?xpacket end="w"?>'
)


def read(section: bytes) -> dict[str, bytes]:
    """Read "exif" and "xmp", as far as they are there.

    EXIF has "Exif" before it, as Pillow has it. Raises `DamagedStreamError`.
    """
    content = _inflated(section)
    found: dict[str, bytes] = {}
    at, last = 0, -1
    while at < len(content):
        kind = content[at]
        length, start = _length(content, at + 1)
        at = start + length
        if kind <= last or at > len(content):
            raise DamagedStreamError("the metadata's items are out of order, or cut off")
        last = kind
        name, most = _NAMES.get(kind, ("", length))
        if length > most:
            raise DamagedStreamError("an item of the metadata is longer than the format allows")
        if name:
            found[name] = (b"Exif\0\0" if name == "exif" else b"") + content[start:at]
    return found


def _inflated(section: bytes) -> bytes:
    inflater = zlib.decompressobj(-15, PRESET)
    try:
        content = inflater.decompress(section, _MAX_BYTES + 1)
    except zlib.error as error:
        raise DamagedStreamError("the metadata section cannot be inflated") from error
    whole = inflater.eof and not inflater.unused_data
    if not whole or len(content) > _MAX_BYTES or len(section) > MAX_SECTION_BYTES:
        raise DamagedStreamError("the metadata section is too long, or does not end where it should")
    return content


def _length(content: bytes, at: int) -> tuple[int, int]:
    """A length (LEB128, at most 4 bytes, in its shortest form), and where its item begins."""
    length = 0
    for digit, byte in enumerate(content[at : at + 4]):
        length |= (byte & 0x7F) << 7 * digit
        if byte < 0x80 and (byte or not digit):
            return length, at + digit + 1
        if byte < 0x80:
            break
    raise DamagedStreamError("an item of the metadata has no sound length")
