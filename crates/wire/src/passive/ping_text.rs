//! Whether a statement is a ping: asks for nothing but one constant, or for nothing at all.
//!
//! `SELECT 1` and its kin, with blanks, semicolons, comments and parentheses as people and pools
//! write them. A statement whose text is not there to its end is none. Called by both protocols.

use super::PingForm;

/// A longer statement is no ping, whatever it says; so much of a message is looked at.
pub(super) const TEXT_LENGTH_MAX: usize = 256;

/// Tells which ping a statement is.
pub(super) fn form_of(text: &[u8]) -> Option<PingForm> {
    // Most statements are told apart by their first byte or their length.
    if text.len() > TEXT_LENGTH_MAX {
        return None;
    }
    let mut words = Words {
        rest: text,
        commented: false,
        ended: false,
    };
    let Some(first) = words.next() else {
        return words.ended.then_some(PingForm::EmptyQuery);
    };
    if !asks_for_a_constant(first, &mut words) {
        return None;
    }
    Some(match words.commented {
        true => PingForm::CommentedSelect1,
        false => PingForm::Select1,
    })
}

/// Whether the statement goes on as one that needs no table, and ends.
fn asks_for_a_constant(first: Word<'_>, words: &mut Words<'_>) -> bool {
    let is_select = first.is("select");
    if !is_select && !first.is("do") {
        return false;
    }
    let mut depth = 0_usize;
    let mut next = words.next();
    while next == Some(Word::Open) {
        depth += 1;
        next = words.next();
    }
    if !next.is_some_and(Word::is_constant) {
        return false;
    }
    next = words.next();
    while depth > 0 && next == Some(Word::Close) {
        depth -= 1;
        next = words.next();
    }
    if depth > 0 {
        return false;
    }
    if is_select {
        next = skip_alias(next, words);
        next = skip_dual(next, words);
    }
    next.is_none() && words.ended
}

/// `AS name`, or a name alone.
fn skip_alias<'a>(next: Option<Word<'a>>, words: &mut Words<'a>) -> Option<Word<'a>> {
    match next {
        Some(word) if word.is("as") => {
            let name = words.next();
            match name {
                Some(Word::Name(_) | Word::Text) => words.next(),
                // No alias, and so no ping.
                _ => Some(Word::Other),
            }
        }
        Some(Word::Name(name)) if !name.eq_ignore_ascii_case(b"from") => words.next(),
        other => other,
    }
}

/// `FROM dual`, which is how Oracle's people select nothing.
fn skip_dual<'a>(next: Option<Word<'a>>, words: &mut Words<'a>) -> Option<Word<'a>> {
    match next {
        Some(word) if word.is("from") => match words.next() {
            Some(word) if word.is("dual") => words.next(),
            _ => Some(Word::Other),
        },
        other => other,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Name(&'a [u8]),
    Number,
    Text,
    Open,
    Close,
    Other,
}

impl Word<'_> {
    fn is(self, name: &str) -> bool {
        matches!(self, Self::Name(it) if it.eq_ignore_ascii_case(name.as_bytes()))
    }

    fn is_constant(self) -> bool {
        matches!(self, Self::Number | Self::Text)
            || ["true", "false", "null"].iter().any(|name| self.is(name))
    }
}

/// The words of a statement; blanks and comments are passed over, semicolons end it.
struct Words<'a> {
    rest: &'a [u8],
    commented: bool,
    /// Whether the statement ended, and nothing comes behind it.
    ended: bool,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        self.skip_blanks();
        let first = *self.rest.first()?;
        let length = match first {
            b';' => return self.end(),
            b'(' | b')' => 1,
            b'\'' | b'"' => match self.rest[1..].iter().position(|byte| *byte == first) {
                // An escaped quote is no part of a ping.
                Some(at) if !self.rest[1..=at].contains(&b'\\') => at + 2,
                _ => return Some(Word::Other),
            },
            b'0'..=b'9' => self.length_of(|byte| byte.is_ascii_digit() || byte == b'.'),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.length_of(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            }
            _ => return Some(Word::Other),
        };
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(match first {
            b'(' => Word::Open,
            b')' => Word::Close,
            b'\'' | b'"' => Word::Text,
            b'0'..=b'9' => Word::Number,
            _ => Word::Name(word),
        })
    }

    /// Behind a semicolon only more of them, and comments, may come.
    fn end(&mut self) -> Option<Word<'a>> {
        while let Some((b';', rest)) = self.rest.split_first() {
            self.rest = rest;
            self.skip_blanks();
        }
        (!self.rest.is_empty()).then_some(Word::Other)
    }

    fn skip_blanks(&mut self) {
        loop {
            let blanks = self.length_of(|byte| byte.is_ascii_whitespace() || byte == 0);
            self.rest = &self.rest[blanks..];
            let comment = match self.rest {
                // MySQL runs what such a comment holds.
                [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => break,
                [b'/', b'*', text @ ..] => match text.windows(2).position(|it| it == b"*/") {
                    Some(at) => at + 4,
                    None => break,
                },
                [b'-', b'-', ..] | [b'#', ..] => self.length_of(|byte| byte != b'\n'),
                _ => break,
            };
            self.commented = true;
            self.rest = &self.rest[comment..];
        }
        self.ended = self.rest.is_empty();
    }

    fn length_of(&self, belongs: impl Fn(u8) -> bool) -> usize {
        let end = self.rest.iter().position(|byte| !belongs(*byte));
        end.unwrap_or(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_alone_is_a_ping_however_it_is_written() {
        for text in [
            "SELECT 1",
            "select 1;",
            " Select\n(1) ; ",
            "SELECT 1 FROM DUAL",
            "SELECT 1 AS alive",
            "SELECT 'x'",
            "SELECT true",
            "SELECT 1 ok",
            "DO 1",
        ] {
            assert_eq!(
                form_of(text.as_bytes()),
                Some(PingForm::Select1),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_comment_makes_another_form() {
        for text in [
            "/* ping */ SELECT 1",
            "SELECT 1 -- ping",
            "SELECT /* a */ 1;",
        ] {
            let form = form_of(text.as_bytes());
            assert_eq!(form, Some(PingForm::CommentedSelect1), "{text:?}");
        }
    }

    #[test]
    fn nothing_but_blanks_and_comments_is_the_empty_query() {
        for text in ["", " ", ";", ";;\n", "-- ping", "/* ping */;"] {
            let form = form_of(text.as_bytes());
            assert_eq!(form, Some(PingForm::EmptyQuery), "{text:?}");
        }
    }

    #[test]
    fn what_does_or_may_do_work_is_none() {
        for text in [
            "SELECT 1, 2",
            "SELECT 1 FROM orders",
            "SELECT 1 + 1",
            "SELECT pg_sleep(1)",
            "SELECT 1; DROP TABLE orders",
            "SELECT 1 WHERE EXISTS (SELECT 1)",
            "/*! SELECT 1 */",
            "/* SELECT 1",
            "SELECT '1",
            "SELECT ((1)",
            "SELECT 1 AS",
            "SELECT 1 FROM",
            "SELECT",
            "SELECTION",
            "BEGIN",
        ] {
            assert_eq!(form_of(text.as_bytes()), None, "{text:?}");
        }
        let long = format!("SELECT 1{}", " ".repeat(TEXT_LENGTH_MAX));
        assert_eq!(form_of(long.as_bytes()), None);
    }
}
