//! Unsupported image formats, recognised by a file's first bytes, so that such a file is not called broken.

/// A format: the offset of its signature, the signature, and its name.
const SIGNATURES: [(usize, &[u8], &str); 38] = [
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"II+\0", "a TIFF picture"),
    (0, b"MM\0+", "a TIFF picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypmsf1", "a HEIF picture"),
    (4, b"ftypcrx ", "a camera's raw picture"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw picture"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"gimp xcf", "a GIMP picture"),
    (0, b"DDS ", "a DDS picture"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"\0\0\x02\0", "an icon"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"v/1\x01", "an OpenEXR picture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"farbfeld", "a farbfeld picture"),
    (0, b"P1\n", "a PNM picture"),
    (0, b"P2\n", "a PNM picture"),
    (0, b"P3\n", "a PNM picture"),
    (0, b"P4\n", "a PNM picture"),
    (0, b"P5\n", "a PNM picture"),
    (0, b"P6\n", "a PNM picture"),
    (0, b"P7\n", "a PNM picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"<svg", "an SVG picture"),
    (0, b"<?xml", "an SVG picture"),
    (0, b"version https://git-lfs.github.com/spec/", "a git LFS pointer"),
];

/// The beginning of a web page that was saved instead of an image.
const PAGES: [&[u8]; 2] = [b"<!doctype html", b"<html"];

/// The unsupported format of a file; `None` if it is not recognised.
pub(super) fn unsupported(bytes: &[u8]) -> Option<&'static str> {
    if let Some((.., name)) = SIGNATURES
        .iter()
        .find(|(at, signature, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(signature)))
    {
        return Some(name);
    }
    // Two letters are not enough: the reserved bytes of a bitmap's header must be 0.
    if bytes.starts_with(b"BM") && bytes.get(6..10) == Some(&[0; 4]) {
        return Some("a BMP picture");
    }
    let begins_with =
        |page: &&[u8]| bytes.get(..page.len()).is_some_and(|start| start.eq_ignore_ascii_case(page));
    PAGES.iter().any(begins_with).then_some("a web page")
}
