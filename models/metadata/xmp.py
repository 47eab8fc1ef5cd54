"""XMP (ISO 16684-1) of a picture that was turned upright and converted to sRGB.

A packet is parsed as XML, properties that no longer hold are set right or taken out, and the rest
is written as it was. It has no document type, hence no entities of its own that could expand.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from models.bitstream.metadata import MAX_XMP_BYTES

_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_DECLARATION = "http://www.w3.org/2000/xmlns/"
_GEO = "http://www.w3.org/2003/01/geo/wgs84_pos#"
# All of these hold or describe other pictures of the file: thumbnails, the original, depth, films.
_OTHER_PICTURES = {
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
}
_EXTENDED = ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP")  # more is behind; depth, mostly
_OF_PLACES = ("gps", "latitude", "longitude", "longtitude")  # the last as a maker of drones spells it


def cleaned(
    packet: bytes, width: int, height: int, *, gps: bool = False
) -> tuple[bytes | None, frozenset[str]]:
    """Make XMP that holds for a picture as a stream has it.

    Args:
        packet: the XMP packet.
        width, height: of the upright picture.
        gps: keep coordinates of where it was taken. Names of places are kept in any case.

    Returns:
        The new packet, and what was left out of it: "gps", "maker-note", "thumbnail",
        "extended-xmp". None where it could not be read: then it is "xmp" that was left out.
    """
    removed: set[str] = set()
    truths = {
        (_TIFF, "Orientation"): "1",
        (_TIFF, "ImageWidth"): str(width),
        (_TIFF, "ImageLength"): str(height),
        (_EXIF, "PixelXDimension"): str(width),
        (_EXIF, "PixelYDimension"): str(height),
        (_EXIF, "ColorSpace"): "1",
        (_PHOTOSHOP, "ICCProfile"): "sRGB IEC61966-2.1",
    }
    try:
        with _parsed(packet) as document:
            for node in list(_properties(document)):
                name = (node.namespaceURI, node.localName)
                if node.namespaceURI in _OTHER_PICTURES or name == (_XMP, "Thumbnails"):
                    removed.add("thumbnail")
                elif not gps and _tells_place(node):
                    removed.add("gps")
                elif name == _EXTENDED:
                    removed.add("extended-xmp")
                elif name == (_EXIF, "MakerNote"):
                    removed.add("maker-note")
                else:
                    if name in truths:
                        _set(document, node, truths[name])
                    continue
                _remove(node)
            if document.documentElement is None:
                return None, frozenset(removed)
            new = "".join(node.toxml() for node in document.childNodes).encode()
    except (ExpatError, ValueError, RecursionError, LookupError, AttributeError):
        return None, frozenset({"xmp"})
    if len(new) > MAX_XMP_BYTES:
        return None, frozenset({"xmp"})
    return new, frozenset(removed)


def _parsed(packet: bytes) -> minidom.Document:
    """Parse a packet. Raises ExpatError, or ValueError for what is no XMP."""
    if len(packet) > MAX_XMP_BYTES:
        raise ValueError("the packet is too long")
    text = packet.decode().strip("\ufeff\0 \t\r\n")
    if "<!DOCTYPE" in text:
        raise ValueError("the packet has a document type")
    return minidom.parseString(text)


def _properties(document: minidom.Document) -> Iterator[minidom.Element | minidom.Attr]:
    for element in document.getElementsByTagName("*"):
        yield element
        yield from (one for one in element.attributes.values() if one.namespaceURI != _DECLARATION)


def _tells_place(node: minidom.Element | minidom.Attr) -> bool:
    name = (node.localName or "").lower()
    return node.namespaceURI == _GEO or any(part in name for part in _OF_PLACES)


def _set(document: minidom.Document, node: minidom.Element | minidom.Attr, value: str) -> None:
    if isinstance(node, minidom.Attr):
        node.value = value
        return
    while node.firstChild is not None:
        node.removeChild(node.firstChild)
    node.appendChild(document.createTextNode(value))


def _remove(node: minidom.Element | minidom.Attr) -> None:
    if isinstance(node, minidom.Attr):
        if node.ownerElement is not None:
            node.ownerElement.removeAttributeNode(node)
    elif node.parentNode is not None:
        node.parentNode.removeChild(node)
