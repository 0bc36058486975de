//! A guess from the first bytes of a source's text: events, or something that was taken for a dump.

/// What a source's text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A line an event, or nothing that says otherwise.
    Lines,
    /// A tar archive.
    Tar,
    /// Text in UTF-16 without a byte order mark, the low byte first.
    Utf16Le,
    /// The same, the high byte first.
    Utf16Be,
    /// Its first line is no JSON: every line is read all the same, and the odd one may be an event.
    NoJson,
}

impl Content {
    /// Looks at the first bytes, such as a first segment.
    pub fn of(first_bytes: &[u8]) -> Self {
        let text = first_bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_bytes).trim_ascii_start();
        if is_tar(first_bytes) {
            Self::Tar
        } else if is_utf16(first_bytes, 0) {
            Self::Utf16Le
        } else if is_utf16(first_bytes, 1) {
            Self::Utf16Be
        } else if text.first().is_none_or(|first| b"{[\x1e".contains(first)) {
            Self::Lines
        } else {
            Self::NoJson
        }
    }
}

/// The magic of POSIX and GNU archives, in the header of their first member.
fn is_tar(bytes: &[u8]) -> bool {
    const MAGIC_AT: usize = 257;
    bytes.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Whether JSON begins so; `at` is the place, in each pair of bytes, of the one that is not zero.
fn is_utf16(bytes: &[u8], at: usize) -> bool {
    let opens = |pair: &[u8]| b"{[".contains(&pair[at]) && pair[1 - at] == 0;
    let goes_on = |pair: &[u8]| pair[at].is_ascii() && pair[at] != 0 && pair[1 - at] == 0;
    bytes.len() >= 4 && opens(&bytes[..2]) && goes_on(&bytes[2..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_dump_is_told_by_its_first_bytes() {
        fn check(bytes: impl AsRef<[u8]>, expected: Content) {
            let bytes = bytes.as_ref();
            assert_eq!(Content::of(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        let utf16 = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let tar = |magic: &str| format!("dump.ndjson{}{magic}{}", "\0".repeat(246), "\0".repeat(200));
        check(tar("ustar\0"), Content::Tar);
        check(tar("ustar  "), Content::Tar);
        check(tar("ustaf"), Content::NoJson);
        check(
            utf16("{\"EventId\"").iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            Content::Utf16Le,
        );
        check(
            utf16("[{\"EventId\"").iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(),
            Content::Utf16Be,
        );
        check("{\0", Content::Lines);
        check("[\n  {\n", Content::Lines);
        check("{\"source\":\"dump\",\"line\":1,\"raw\":\"x\"}\n", Content::Lines);
        check("EventId,TimeStamp\n1,2\n", Content::NoJson);
        check("<!DOCTYPE html>", Content::NoJson);
        check("7z\u{bc}\u{af}", Content::NoJson);
        check("\u{feff}\r\n {\"EventId\":1}\n", Content::Lines);
        check("[{\"EventId\":1}]\n", Content::Lines);
        check("", Content::Lines);
        check("\n\n", Content::Lines);
    }
}
