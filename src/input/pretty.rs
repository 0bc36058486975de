//! A guess from the first lines: one pretty-printed document, or a line per event.

/// Whether a text looks like ONE pretty-printed JSON document rather than a line per event, by its first bytes.
///
/// True when its first line that is not blank is only `[`, `{` or `[{`, and the next begins with a space or tab, or ends with a
/// comma. A line that is cut off by the end of `first_bytes` counts as far as it goes, but its last byte says nothing:
/// give it enough for two lines, such as a first segment.
pub(super) fn looks_pretty_printed(first_bytes: &[u8]) -> bool {
    let text = first_bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_bytes);
    let mut lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return false;
    };
    let opens = matches!(first.trim_ascii(), b"[" | b"{" | b"[{");
    let indented = matches!(second[0], b' ' | b'\t');
    let listed = second.ends_with(b"\n") && second.trim_ascii_end().ends_with(b",");
    opens && (indented || listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_from_lines() {
        fn check(text: &str, expected: bool) {
            assert_eq!(looks_pretty_printed(text.as_bytes()), expected, "{text:?}");
        }
        check("[\n  {\n    \"EventId\": 1,", true);
        check("{\n\t\"EventId\": 1", true);
        check("[{\r\n  \"EventId\": 1,\r\n", true);
        check("\u{feff}[\n {\n", true);
        check("\n \n  [ \n\n  {", true);
        check("[\n{\"EventId\":1},\n{\"EventId\":2}\n]", true);
        check("[\n{\"EventId\":1},\r\n", true);
        check("{\n{\"EventId\":1}\n", false);
        check("{\n{\"EventId\":1,", false);
        check("[\n{\"EventId\":1}\n", false);
        check("{\"EventId\":1}\n  {\"EventId\":2}\n", false);
        check("[{\"EventId\":1},\n {\"EventId\":2}]\n", false);
        check("{", false);
        check("{\n", false);
        check("{\n\n \n", false);
        check("", false);
        check("<html>\n  <body>,\n", false);
    }
}
