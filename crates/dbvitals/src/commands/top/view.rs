//! What a person wants to see, and what keys change of it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most keys of a keyboard mean nothing here"
)]

use std::time::{Duration, SystemTime};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::feed::Wanted;
use super::known::Known;
use super::order::{Form, Order};
use super::rows::{Filter, Key, Row, Sort, rows};
use crate::cli::AdminState;

/// The lengths of the time line, with their names.
pub(super) const SPANS: [(&str, u64); 6] = [
    ("10 min", 600),
    ("1 h", 3600),
    ("6 h", 21_600),
    ("24 h", 86_400),
    ("7 days", 604_800),
    ("30 days", 2_592_000),
];
/// How much may be typed into a field.
const TYPED_MAX: usize = 500;

/// The panes below the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Details,
    TimeLine,
    Transitions,
}

impl Pane {
    pub(super) const ALL: [Self; 3] = [Self::Details, Self::TimeLine, Self::Transitions];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::TimeLine => "time line",
            Self::Transitions => "transitions",
        }
    }
}

/// What a key asks for that is no matter of looks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Quit,
    Suspend,
    Give(Order),
}

/// What is shown, and how.
#[derive(Debug)]
pub(super) struct View {
    pub(super) selected: Option<Key>,
    pub(super) filter: Filter,
    pub(super) sort: Sort,
    pub(super) search: String,
    /// Whether the search is being typed.
    pub(super) is_searching: bool,
    pub(super) pane: Pane,
    /// Whether the pane has all of the screen.
    pub(super) is_large: bool,
    /// How many lines of the pane are above it.
    pub(super) scroll: u16,
    /// Which length the time line has.
    pub(super) zoom: usize,
    pub(super) shows_help: bool,
    pub(super) form: Option<Form>,
    /// Something to say, until the next key.
    pub(super) notice: Option<String>,
    /// How many rows the list had when it was drawn last.
    pub(super) page: usize,
}

impl Default for View {
    fn default() -> Self {
        Self {
            selected: None,
            filter: Filter::default(),
            sort: Sort::default(),
            search: String::new(),
            is_searching: false,
            pane: Pane::default(),
            is_large: false,
            scroll: 0,
            zoom: 1,
            shows_help: false,
            form: None,
            notice: None,
            page: 1,
        }
    }
}

impl View {
    pub(super) fn rows<'a>(&self, known: &'a Known) -> Vec<Row<'a>> {
        rows(known, self.filter, self.sort, &self.search)
    }

    /// Where the selected row is; none where it is not shown.
    pub(super) fn place(&self, rows: &[Row<'_>]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        rows.iter().position(|row| row.key() == *selected)
    }

    /// Selects the first row where the selected one is gone.
    pub(super) fn settle(&mut self, known: &Known) {
        let rows = self.rows(known);
        if self.place(&rows).is_none() {
            self.selected = rows.first().map(Row::key);
            self.scroll = 0;
        }
    }

    /// How much of the past the time line shows.
    pub(super) fn span(&self) -> Duration {
        let (_, seconds) = SPANS.get(self.zoom).copied().unwrap_or(SPANS[1]);
        Duration::from_secs(seconds)
    }

    /// The past that this needs.
    pub(super) fn wanted(&self, now: SystemTime) -> Wanted {
        let key = self.selected.as_ref().filter(|key| !key.is_service);
        Wanted {
            latency_of: key.map(|key| key.name.clone()),
            span: self.span(),
            since: now.checked_sub(self.span()),
        }
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent, known: &Known) -> Option<Deed> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | '\\') if is_control => return Some(Deed::Quit),
            KeyCode::Char('z') if is_control => return Some(Deed::Suspend),
            _ if self.notice.take().is_some() && key.code == KeyCode::Esc => return None,
            _ => {}
        }
        if self.form.is_some() {
            return self.write_order(key.code, known);
        }
        if self.is_searching {
            self.write_search(key.code);
            return None;
        }
        if self.shows_help {
            self.shows_help = false;
            return None;
        }
        match key.code {
            KeyCode::Char('q') => return Some(Deed::Quit),
            KeyCode::Char('?') => self.shows_help = true,
            KeyCode::Char('/') => self.is_searching = true,
            KeyCode::Char('v') => self.filter = self.filter.next(),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('D') => self.open_form(AdminState::Drain, known),
            KeyCode::Char('M') => self.open_form(AdminState::Maint, known),
            KeyCode::Char('R') => self.open_form(AdminState::Ready, known),
            KeyCode::Esc => self.leave(),
            code => self.turn(code, known),
        }
        None
    }

    /// Keys that move.
    fn turn(&mut self, code: KeyCode, known: &Known) {
        let page = isize::try_from(self.page.max(1)).unwrap_or(isize::MAX);
        match code {
            KeyCode::Down | KeyCode::Char('j') => self.go(1, known),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1, known),
            KeyCode::PageDown => self.go(page, known),
            KeyCode::PageUp => self.go(-page, known),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN, known),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX, known),
            KeyCode::Char(' ') | KeyCode::Char('n') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Char('b') | KeyCode::Char('p') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Tab => self.show(1),
            KeyCode::BackTab => self.show(Pane::ALL.len() - 1),
            KeyCode::Enter => self.is_large = !self.is_large,
            KeyCode::Char('+' | '=') => self.zoom = self.zoom.saturating_sub(1),
            KeyCode::Char('-') => self.zoom = (self.zoom + 1).min(SPANS.len() - 1),
            _ => {}
        }
    }

    fn go(&mut self, by: isize, known: &Known) {
        let rows = self.rows(known);
        let place = self.place(&rows).unwrap_or_default();
        let next = place.saturating_add_signed(by);
        let next = next.min(rows.len().saturating_sub(1));
        self.selected = rows.get(next).map(Row::key);
        self.scroll = 0;
    }

    fn show(&mut self, by: usize) {
        let panes = Pane::ALL.iter();
        let place = panes.clone().position(|it| *it == self.pane);
        let next = (place.unwrap_or_default() + by) % Pane::ALL.len();
        self.pane = Pane::ALL[next];
        self.scroll = 0;
    }

    /// One thing less: the large pane, then the search, then the filter.
    fn leave(&mut self) {
        if self.is_large {
            self.is_large = false;
        } else if !self.search.is_empty() {
            self.search.clear();
        } else {
            self.filter = Filter::default();
        }
    }

    fn write_search(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_searching = false,
            KeyCode::Esc => {
                self.is_searching = false;
                self.search.clear();
            }
            code => write(&mut self.search, code),
        }
    }

    fn open_form(&mut self, state: AdminState, known: &Known) {
        let refused = known.why_no_orders().map(str::to_owned);
        match (&self.selected, refused) {
            (_, Some(why)) => self.notice = Some(why),
            (Some(key), None) if !key.is_service => self.form = Some(Form::new(&key.name, state)),
            (Some(_), None) => {
                let why = "orders are given to backends, one by one; this is a service";
                self.notice = Some(why.to_owned());
            }
            (None, None) => {}
        }
    }

    fn write_order(&mut self, code: KeyCode, known: &Known) -> Option<Deed> {
        let form = self.form.as_mut()?;
        form.wrong = None;
        match code {
            KeyCode::Esc => self.form = None,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => form.turn(),
            KeyCode::Enter => match form.order(&known.picture.place) {
                Ok(order) => {
                    self.form = None;
                    self.notice = Some("the order is on its way".to_owned());
                    return Some(Deed::Give(order));
                }
                Err(why) => form.wrong = Some(why),
            },
            code => write(form.field(), code),
        }
        None
    }
}

/// Writes a letter, or takes one back.
fn write(field: &mut String, code: KeyCode) {
    match code {
        KeyCode::Char(letter) if field.len() < TYPED_MAX => field.push(letter),
        KeyCode::Backspace => {
            field.pop();
        }
        _ => {}
    }
}
