//! A strict reader of Prometheus' text format, version 0.0.4, for looking at `/metrics`.
//!
//! It refuses what a scraper would refuse or silently misread: a sample before its type, a type
//! twice, samples of one metric in two places, bad escapes, one sample twice.

use std::collections::BTreeMap;

/// The samples by name and labels, as they stand in the text.
pub(crate) fn read(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families: Vec<Family> = Vec::new();
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(
                families.iter().all(|family| family.name != name),
                "twice: {line}"
            );
            families.push(Family::new(name));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            let family = families.last_mut().expect(line);
            assert!(family.name == name && family.kind.is_empty(), "{line}");
            assert!(
                ["counter", "gauge", "summary", "histogram"].contains(&kind),
                "{line}"
            );
            kind.clone_into(&mut family.kind);
        } else {
            let (name, sample, value) = read_sample(line);
            let family = families.last().expect(line);
            assert!(family.has(name), "out of its place: {line}");
            let value: f64 = value.parse().expect(line);
            let counts = family.kind != "gauge";
            assert!(value.is_finite() && (value >= 0.0 || !counts), "{line}");
            assert!(
                samples.insert(sample.to_owned(), value).is_none(),
                "twice: {line}"
            );
        }
    }
    samples
}

/// One metric: its samples follow its help and its type.
#[derive(Debug)]
struct Family {
    name: String,
    kind: String,
}

impl Family {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: String::new(),
        }
    }

    fn has(&self, sample: &str) -> bool {
        let suffix = sample.strip_prefix(self.name.as_str());
        match self.kind.as_str() {
            "summary" => matches!(suffix, Some("" | "_sum" | "_count")),
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            "counter" => suffix == Some("") && sample.ends_with("_total"),
            _ => suffix == Some("") && !self.kind.is_empty(),
        }
    }
}

/// Splits `name{label="value"} 1` into its name, its name with labels, and its value.
fn read_sample(line: &str) -> (&str, &str, &str) {
    let name_end = line.find(['{', ' ']).expect(line);
    let name = &line[..name_end];
    assert!(is_name(name), "{line}");
    let mut rest = &line[name_end..];
    if let Some(labels) = rest.strip_prefix('{') {
        rest = skip_labels(labels, line);
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name, &line[..line.len() - rest.len()], value)
}

/// Checks labels and returns what follows the brace that closes them.
fn skip_labels<'a>(mut rest: &'a str, line: &str) -> &'a str {
    let mut seen = Vec::new();
    loop {
        let (label, value) = rest.split_once("=\"").expect(line);
        assert!(is_name(label) && !label.contains(':'), "{line}");
        assert!(!seen.contains(&label), "label twice: {line}");
        seen.push(label);
        rest = &value[quoted_length(value, line) + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.strip_prefix('}').expect(line),
        }
    }
}

/// The length of a label's value up to its closing quote.
fn quoted_length(value: &str, line: &str) -> usize {
    let mut letters = value.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return at,
            '\\' => {
                let escaped = letters.next().map(|(_, letter)| letter);
                assert!(matches!(escaped, Some('\\' | '"' | 'n')), "{line}");
            }
            _ => {}
        }
    }
    panic!("a quote is not closed: {line}");
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}
