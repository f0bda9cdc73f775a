//! Words, shapes and colours: each verdict has all three, so that no one of them is needed.
//!
//! Every text that came from outside goes through [`text`], which leaves nothing in it that a
//! terminal would obey.

use dbvitals_verdict::Verdict;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::commands::status::shown;

/// How things are marked; without colours, weight and shape remain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    pub(super) colours: bool,
}

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);

impl Ink {
    /// The style of a verdict, or of a word that is none.
    pub(super) fn verdict(self, word: &str) -> Style {
        let colour = match verdict(word) {
            Some(Verdict::Up) => Color::Green,
            Some(Verdict::Degraded) => Color::Yellow,
            Some(Verdict::Down) => Color::Red,
            Some(Verdict::Unknown) => Color::Magenta,
            None => return PLAIN,
        };
        match (self.colours, word) {
            (true, "up") => Style::new().fg(colour),
            (true, _) => BOLD.fg(colour),
            (false, "up") => PLAIN,
            (false, _) => BOLD,
        }
    }

    /// What somebody has to see.
    pub(super) fn alarm(self) -> Style {
        match self.colours {
            true => BOLD.fg(Color::Red),
            false => BOLD,
        }
    }

    /// The row that is selected.
    pub(super) fn selected(self) -> Style {
        match self.colours {
            true => Style::new().bg(Color::DarkGray),
            false => Style::new().add_modifier(Modifier::REVERSED),
        }
    }
}

pub(super) fn verdict(word: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|it| it.name() == word)
}

/// The shape of a verdict.
pub(super) fn shape(word: &str) -> &'static str {
    match verdict(word) {
        Some(Verdict::Up) => "●",
        Some(Verdict::Degraded) => "▲",
        Some(Verdict::Down) => "■",
        Some(Verdict::Unknown) | None => "○",
    }
}

/// How bad a verdict is.
pub(super) fn badness(word: &str) -> u8 {
    match verdict(word) {
        Some(Verdict::Down) => 3,
        Some(Verdict::Degraded) => 2,
        Some(Verdict::Unknown) | None => 1,
        Some(Verdict::Up) => 0,
    }
}

/// Text that obeys nobody.
pub(super) fn text(style: Style, text: &str) -> Span<'static> {
    Span::styled(shown(text), style)
}

/// A line of it.
pub(super) fn line(spans: impl IntoIterator<Item = Span<'static>>) -> Line<'static> {
    Line::from(spans.into_iter().collect::<Vec<_>>())
}

/// Text as wide as a column, cut where it has to be.
pub(super) fn cell(style: Style, words: &str, width: usize) -> Span<'static> {
    Span::styled(fitted(words, width), style)
}

/// The text in so many places of the terminal, with an ellipsis where it goes on.
pub(super) fn fitted(words: &str, width: usize) -> String {
    let words = Span::raw(shown(words));
    let has = words.width();
    if has <= width {
        return format!("{}{}", words.content, " ".repeat(width - has));
    }
    let (mut fitted, mut used) = (String::new(), 0);
    for letter in words.content.chars() {
        let wide = Span::raw(letter.to_string()).width();
        if used + wide + 1 > width {
            break;
        }
        fitted.push(letter);
        used += wide;
    }
    let rest = width.saturating_sub(used);
    format!(
        "{fitted}{}",
        match rest {
            0 => String::new(),
            rest => format!("…{}", " ".repeat(rest - 1)),
        }
    )
}

/// Numbers as bars, from none to the greatest; a gap is a probe that did not pass.
pub(super) fn spark(values: &[Option<f64>], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let from = values.len().saturating_sub(width);
    let values = &values[from..];
    let greatest = values.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => '×',
        Some(value) => {
            let part = if greatest > 0.0 {
                value / greatest
            } else {
                0.0
            };
            // Rounded up, so that the greatest alone is the highest bar.
            let place = (part * 8.0).ceil().clamp(1.0, 8.0);
            BARS.get(place as usize - 1).copied().unwrap_or('▁')
        }
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_shape_and_a_style_of_its_own() {
        let ink = Ink { colours: true };
        let mut shapes: Vec<_> = Verdict::ALL.map(|it| shape(it.name())).into();
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), Verdict::ALL.len());
        let plain = Ink { colours: false };
        for verdict in Verdict::ALL {
            assert!(ink.verdict(verdict.name()).fg.is_some(), "{verdict}");
            assert_eq!(plain.verdict(verdict.name()).fg, None, "{verdict}");
        }
        assert_eq!(ink.verdict("drain"), PLAIN);
    }

    #[test]
    fn text_is_cut_to_its_place_and_obeys_nobody() {
        assert_eq!(fitted("abc", 5), "abc  ");
        assert_eq!(fitted("abcdef", 5), "abcd…");
        assert_eq!(fitted("データベース", 6), "デー… ");
        assert_eq!(fitted("abc", 0), "");
        assert_eq!(fitted("\x1b[2J", 9), "\\u{1b}[2J");
        assert_eq!(text(PLAIN, "a\u{202e}b").content, "a\\u{202e}b");
    }

    #[test]
    fn bars_are_measured_by_the_greatest_and_the_newest_are_kept() {
        let values = [Some(100.0), Some(8.0), None, Some(1.0), Some(4.0)];
        assert_eq!(spark(&values, 4), "█×▁▄");
        assert_eq!(spark(&[Some(0.0)], 4), "▁");
        assert_eq!(spark(&[], 4), "");
    }
}
