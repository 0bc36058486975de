//! Reads the blocks of README.md.

#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) kind: &'a str,
    /// The line number of its first line.
    pub(crate) number: usize,
    pub(crate) lines: Vec<&'a str>,
    /// Whether commands precede it in its section.
    pub(crate) is_output: bool,
}

/// A command and its remark.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) command: &'a str,
    pub(crate) code: i32,
    pub(crate) runs_until_interrupted: bool,
}

impl<'a> Block<'a> {
    pub(crate) fn commands(&self) -> impl Iterator<Item = Line<'a>> {
        self.lines.iter().map(|line| Line::new(line))
    }
}

impl<'a> Line<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        let (command, remark) = line.split_once("  #").unwrap_or((line, ""));
        let runs_until_interrupted = remark.contains("until Ctrl-C");
        let code = remark.split_once("exit code ").map(|(_, rest)| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            digits.parse().unwrap_or_else(|_| panic!("an exit code in {line:?}"))
        });
        let code = code.unwrap_or(if runs_until_interrupted { 130 } else { 0 });
        Self { command: command.trim(), code, runs_until_interrupted }
    }

    /// Whether it runs a program.
    pub(crate) fn calls(&self, program: &str) -> bool {
        self.command.split('|').any(|part| part.split_whitespace().next() == Some(program))
    }
}

/// The blocks of a page in order. An indented block is an error, because its commands would not be found.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut inside, mut after_commands) = (false, false);
    for (index, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(kind) => {
                inside = true;
                let is_output = kind == "text" && after_commands;
                after_commands = kind == "sh";
                blocks.push(Block { kind, number: index + 1, lines: Vec::new(), is_output });
            }
            None if inside => blocks.last_mut().expect("a block").lines.push(line),
            None => {
                assert!(!line.starts_with("    "), "line {}: a block without a fence: {line}", index + 1);
                after_commands &= !line.starts_with('#');
            }
        }
    }
    assert!(!inside, "a block does not end");
    blocks
}

/// A line without numbers and without the width of columns, which differ between runs.
fn gist(line: &str) -> String {
    let mut gist = String::new();
    for word in line.split_whitespace() {
        if word.bytes().all(|byte| byte == b'-') {
            gist.push_str(" --");
            continue;
        }
        gist.push(' ');
        let mut letters = word.chars().peekable();
        while let Some(c) = letters.next() {
            let is_in_number = gist.ends_with('0');
            let digit_follows = letters.peek().is_some_and(char::is_ascii_digit);
            match c {
                '0'..='9' if is_in_number => {}
                '0'..='9' => gist.push('0'),
                '.' | ',' if is_in_number && digit_follows => {}
                _ => gist.push(c),
            }
        }
    }
    gist.trim_start().replace("kB", "MB")
}

/// Whether a text equals the shown lines, except for numbers. `…` stands for anything.
pub(crate) fn has_gist(text: &str, shown: &[&str]) -> bool {
    let gists = |lines: &mut dyn Iterator<Item = &str>| lines.map(gist).collect::<Vec<_>>().join("\n");
    let text = gists(&mut text.lines());
    let shown = gists(&mut shown.iter().copied());
    let mut parts: Vec<&str> = shown.split('…').collect();
    let end = parts.pop().expect("one at least");
    if parts.is_empty() {
        return text == end;
    }
    let mut rest = text.as_str();
    for (index, part) in parts.into_iter().enumerate() {
        rest = match rest.find(part) {
            Some(at) if index > 0 || at == 0 => &rest[at + part.len()..],
            _ => return false,
        };
    }
    rest.ends_with(end)
}

#[test]
fn outputs_are_compared_without_numbers() {
    let text = "Loaded: 1,000 events.\n     1000  inserted\n     ----\n  1.2 kB in 3 s\n  to see: x-17.nd\n";
    for (shown, same) in [
        (&["Loaded: 20 events.", "  20  inserted", "  --", "2.5 MB in 0.1 s", "to see: x-1.nd"][..], true),
        (&["Loaded: 20 events.", "…", "to see: x-….nd"], true),
        (&["Loaded: 20 events.", "…", "7 kB in 0 s", "…"], true),
        (&["Loaded: 20 events.", "…", "to do: x-….nd"], false),
        (&["Loaded: 20 events."], false),
        (&["20 events.", "…"], false),
        (&["Loaded: 20 events.", "…", "to see: x-"], false),
    ] {
        assert_eq!(has_gist(text, shown), same, "{shown:?}");
    }
}

#[test]
fn remarks_of_commands_are_parsed() {
    let line = Line::new("a | b 'x # y'     # exit code 3: some");
    assert_eq!((line.command, line.code, line.runs_until_interrupted), ("a | b 'x # y'", 3, false));
    assert!(line.calls("b") && !line.calls("x"));
    let line = Line::new("a  # every 2 s until Ctrl-C");
    assert_eq!((line.command, line.code, line.runs_until_interrupted), ("a", 130, true));
    assert_eq!(Line::new("a").code, 0);
}
