"""The metadata section in a stream: EXIF and XMP, compressed by deflate behind a preset [format].

Inflated, it is a list of items: a byte for the kind, the length as LEB128 in its shortest form, and
the content. Kinds rise, so that each is there once at most. A decoder passes over kinds that it
does not know, hence a new one needs no new version of the format.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from models import leb128
from models.errors import DamagedStreamError

MAX_EXIF_BYTES = 65_527  # of a JPEG's segment, behind its name
MAX_XMP_BYTES = 65_502
MAX_BYTES = 1 << 17  # of all items, inflated
MAX_SECTION_BYTES = MAX_BYTES + 64  # stored by deflate as they are

_EXIF, _XMP = 0, 1
_RAW = -15  # deflate's largest window, without zlib's own header and checksum


# What XMP packets begin and end with: it makes those of a few properties half as long.
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


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of a picture: all that is known of it beside its pixels.

    Attributes:
        exif: a TIFF file without pixels, as EXIF has it, and without "Exif" before it; at most
            MAX_EXIF_BYTES. None for no EXIF.
        xmp: an XMP packet in UTF-8, at most MAX_XMP_BYTES; None for no XMP.
    """

    exif: bytes | None = None
    xmp: bytes | None = None

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return self.exif is not None or self.xmp is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what there is: "exif", "xmp"."""
        found = {"exif": self.exif, "xmp": self.xmp}
        return tuple(name for name, content in found.items() if content is not None)


def pack(metadata: Metadata) -> bytes | None:
    """Write the section; None where there is no metadata.

    Raises:
        ValueError: some of it is longer than the format allows.
    """
    if not metadata:
        return None
    items = {_EXIF: (metadata.exif, MAX_EXIF_BYTES), _XMP: (metadata.xmp, MAX_XMP_BYTES)}
    listed = b""
    for kind, (content, most) in items.items():
        if content is None:
            continue
        if len(content) > most:
            raise ValueError(f"{len(content)} bytes of metadata; the format has room for {most}")
        listed += bytes([kind]) + leb128.encode(len(content)) + content
    deflater = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zdict=PRESET)
    return deflater.compress(listed) + deflater.flush()


def unpack(section: bytes) -> Metadata:
    """Read the section. No more than MAX_BYTES are inflated, whatever it holds.

    Raises:
        DamagedStreamError: it is nothing that an encoder writes.
    """
    contents = dict(_items(_inflated(section)))
    exif, xmp = contents.get(_EXIF), contents.get(_XMP)
    if len(exif or b"") > MAX_EXIF_BYTES or len(xmp or b"") > MAX_XMP_BYTES:
        raise DamagedStreamError("an item of the metadata is longer than the format allows")
    return Metadata(exif, xmp)


def _inflated(section: bytes) -> bytes:
    if len(section) > MAX_SECTION_BYTES:
        raise DamagedStreamError("the metadata section is too long")
    inflater = zlib.decompressobj(_RAW, PRESET)
    try:
        content = inflater.decompress(section, MAX_BYTES + 1)
    except zlib.error as error:
        raise DamagedStreamError("the metadata section cannot be inflated") from error
    if len(content) > MAX_BYTES:
        raise DamagedStreamError(f"the metadata section inflates to over {MAX_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise DamagedStreamError("the metadata section does not end where it should")
    return content


def _items(content: bytes) -> list[tuple[int, bytes]]:
    items: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        kind = content[at]
        if items and kind <= items[-1][0]:
            raise DamagedStreamError("the kinds of metadata are not in order")
        try:
            length, start = leb128.decode(content, at + 1, max_bytes=4)
        except (IndexError, ValueError) as error:
            raise DamagedStreamError("an item of the metadata has no length") from error
        if content[at + 1 : start] != leb128.encode(length):
            raise DamagedStreamError("a length in the metadata is not in its shortest form")
        at = start + length
        if at > len(content):
            raise DamagedStreamError("an item of the metadata is cut off")
        items.append((kind, content[start:at]))
    return items
