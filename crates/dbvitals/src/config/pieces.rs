//! A file cut into the sections of its backends and the rest, to be parsed one after the other.
//!
//! What a parser makes of a section takes a hundred times the memory of the plan that comes of it, and
//! the plans would come to lie behind it all: in a file with thousands of backends that is as much as
//! the agent needs for them ever after, and the system does not get it back. Cutting knows little of
//! TOML, and need not: a cut inside of a value leaves a piece that is no TOML, and whatever is wrong
//! with any piece, the file is read in one piece instead.

/// A file, cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces<'a> {
    /// A section `[backend.NAME]` each.
    pub(super) backends: Vec<&'a str>,
    /// All else.
    pub(super) rest: String,
}

/// Cuts a file; `None` where that is of no use, or not safe.
pub(super) fn cut(text: &str) -> Option<Pieces<'_>> {
    // A line of a string of several lines may look like the head of a section.
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let mut pieces = Pieces {
        backends: Vec::new(),
        rest: String::new(),
    };
    let mut rest = text;
    while !rest.is_empty() {
        let (section, after) = rest.split_at(end_of_section(rest));
        match is_backend(section) {
            true => pieces.backends.push(section),
            false => pieces.rest.push_str(section),
        }
        rest = after;
    }
    (!pieces.backends.is_empty()).then_some(pieces)
}

/// Where the line after the first begins that may be the head of a section, or the text ends.
fn end_of_section(text: &str) -> usize {
    let lines = text.split_inclusive('\n').scan(0, |end, line| {
        let begin = *end;
        *end += line.len();
        Some((begin, line))
    });
    let mut heads = lines.skip(1).filter(|(_, line)| is_head(line));
    heads.next().map_or(text.len(), |(begin, _)| begin)
}

fn is_head(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// Whether a section is that of one backend, and has no other below it.
fn is_backend(section: &str) -> bool {
    let name = section.trim_start().strip_prefix("[backend.");
    let name = name.and_then(|rest| rest.split_once(']'));
    name.is_some_and(|(name, _)| {
        name.chars()
            .all(|c| c.is_alphanumeric() || "-_".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_of_backends_are_apart_from_the_rest_and_nothing_is_lost() {
        let text = "# head\n[agent]\nname = \"a\"\n\n[backend.one]\nurl = \"u\"\n  # more\n\n\
                    [gate.g]\nof = \"one\"\n  [backend.t-wo]\nurl = \"v\"";
        let pieces = cut(text).unwrap();
        let one = "[backend.one]\nurl = \"u\"\n  # more\n\n";
        assert_eq!(pieces.backends, [one, "  [backend.t-wo]\nurl = \"v\""]);
        let rest = "# head\n[agent]\nname = \"a\"\n\n[gate.g]\nof = \"one\"\n";
        assert_eq!(pieces.rest, rest);
    }

    #[test]
    fn what_is_no_section_of_a_single_backend_stays_where_it_is() {
        for text in [
            "",
            "[backend]\na = { url = \"u\" }\n",
            "backend.a.url = \"u\"\n",
            "[[backend.a]]\n",
            "[backend.a.b]\n",
            "[backend.\"a]\"]\n",
            "[backend.a]\nquery = \"\"\"\n[backend.b]\n\"\"\"\n",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }
}
