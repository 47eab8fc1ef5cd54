"""EXIF and XMP as cameras and editors write them, made by Pillow and by hand."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

JPEG_OF_ORIGINAL = b"\xff\xd8the original picture, small\xff\xd9"
MAKER_NOTE = b"maker's secret"
SUBJECT_AREA = 0x9214
LATITUDE = (IFDRational(48), IFDRational(51), IFDRational(2999, 100))


def exif(*, orientation: int = 6, endian: str = "<") -> bytes:
    """A block with all that a camera writes, a thumbnail behind it; without "Exif" before it."""
    made = Image.Exif()
    made.endian = endian
    made[ExifTags.Base.Make] = "Ziggurat"
    made[ExifTags.Base.Model] = "Z1"
    made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.XResolution] = IFDRational(72)
    made[ExifTags.Base.YResolution] = IFDRational(144)
    made[ExifTags.Base.Copyright] = "© somebody"
    made[0xC4A5] = b"PrintIM" + bytes(20)
    photo = made.get_ifd(ExifTags.IFD.Exif)
    photo[ExifTags.Base.ExposureTime] = IFDRational(1, 125)
    photo[ExifTags.Base.ExposureBiasValue] = IFDRational(-1, 3)
    photo[ExifTags.Base.DateTimeOriginal] = "2026:11:30 12:00:00"
    photo[ExifTags.Base.ExifImageWidth] = 4000
    photo[ExifTags.Base.ExifImageHeight] = 3000
    photo[ExifTags.Base.ColorSpace] = 65535
    photo[SUBJECT_AREA] = (10, 20, 30, 40)
    photo[ExifTags.Base.MakerNote] = MAKER_NOTE
    place = made.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSLatitude] = LATITUDE
    return with_thumbnail(made.tobytes().removeprefix(b"Exif\0\0"), endian)


def with_thumbnail(block: bytes, order: str) -> bytes:
    """The block with a second directory that holds a small JPEG, behind all that there is."""
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    pointer = first + 2 + 12 * count
    block += bytes(len(block) % 2)
    at = len(block)
    entries = struct.pack(order + "HHII", 513, 4, 1, at + 30)
    entries += struct.pack(order + "HHII", 514, 4, 1, len(JPEG_OF_ORIGINAL))
    directory = struct.pack(order + "H", 2) + entries + bytes(4)
    return b"".join(
        [block[:pointer], struct.pack(order + "I", at), block[pointer + 4 :], directory, JPEG_OF_ORIGINAL]
    )


XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 6.0.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"
    xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"
   xmp:Rating="5"
   tiff:Orientation="6"
   exif:GPSLatitude="48,51.4998N"
   exif:PixelXDimension="4000"
   photoshop:ICCProfile="Adobe RGB (1998)"
   photoshop:City="Paris"
   drone-dji:GpsLongtitude="+2.35">
   <tiff:ImageLength>3000</tiff:ImageLength>
   <exif:GPSLongitude>2,21.0N</exif:GPSLongitude>
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Tour &amp; détour</rdf:li></rdf:Alt></dc:title>
   <xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource">
     <xmpGImg:image>b3JpZ2luYWw=</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
