"""What a file is, judging by its first bytes, for messages about unexpected files."""

_STARTS = (
    (b"GIF8", "a GIF image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"8BPS", "a Photoshop image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"PK\3\4", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` fetches the file itself"),
)
_BRANDS = {
    b"avif": "an AVIF image", b"avis": "an AVIF image", b"heic": "a HEIC image",
    b"heix": "a HEIC image", b"mif1": "a HEIC image", b"msf1": "a HEIC image",
}  # fmt: skip
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")


def kind_of(data: bytes) -> str:
    """Name the kind of a file that starts with ``data``; empty for unknown kinds.

    PNG, JPEG, BMP, TIFF and WebP are left out: a message about one of these is about its damage.
    """
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video")
    if data[:1] == b"P" and data[1:2] in b"1234567" and data[2:3] in b" \t\r\n#":
        return "a Netpbm image (PPM, PGM, PBM)"
    if data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page: the download failed and left the site's answer instead"
    return ""
