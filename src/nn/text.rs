//! UTF-8 text with or without a byte order mark.

use tr::tr;

/// UTF-8's byte order mark, which some editors write.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether the text begins with UTF-8's byte order mark.
pub fn has_mark(bytes: &[u8]) -> bool {
    bytes.starts_with(UTF8_MARK)
}

/// The text after UTF-8's byte order mark, if it has one.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes)
}

/// The encoding that a byte order mark names, where it is not UTF-8.
pub fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    let marks: [(&[u8], _); 4] = [
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ];
    marks.into_iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, name)| name)
}

/// UTF-8 without its byte order mark.
///
/// # Errors
/// The encoding, if a byte order mark names another, or the position of the first invalid byte.
pub fn utf8(bytes: &[u8]) -> Result<&str, String> {
    match (std::str::from_utf8(without_mark(bytes)), other_encoding(bytes)) {
        (Ok(text), _) => Ok(text),
        (Err(_), Some(encoding)) => Err(tr!("its byte order mark says {encoding}; expected UTF-8", encoding)),
        (Err(e), None) => Err(tr!("expected text in UTF-8: {e}", e)),
    }
}

/// One line, such as a commit or a token, without a byte order mark and surrounding whitespace.
pub fn trimmed(line: &str) -> &str {
    line.trim_start_matches('\u{feff}').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_skipped_or_named() {
        assert_eq!(utf8(b"\xef\xbb\xbfnext\n"), Ok("next\n"));
        assert_eq!(utf8("りんご".as_bytes()), Ok("りんご"));
        assert_eq!(utf8(b""), Ok(""));
        let error = |bytes| utf8(bytes).unwrap_err();
        assert_eq!(error(b"\xff\xfen\0"), "its byte order mark says UTF-16; expected UTF-8");
        assert_eq!(error(b"\xfe\xff\0n"), "its byte order mark says UTF-16; expected UTF-8");
        assert_eq!(error(b"\xff\xfe\0\0n\0\0\0"), "its byte order mark says UTF-32; expected UTF-8");
        assert!(error(b"caf\xe9").starts_with("expected text in UTF-8: "));
        assert_eq!(trimmed("\u{feff}abc\n"), "abc");
    }
}
