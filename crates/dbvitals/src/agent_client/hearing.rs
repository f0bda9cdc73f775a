//! Server-sent events as they come in: bytes become events, whatever way they were cut.
//!
//! An event without a name, a comment and what is no UTF-8 are left out. Nothing is kept beyond the
//! event that is coming in, and that has a bound.

use std::collections::VecDeque;

use super::exchange::Stream;

/// How long one event may be, in bytes.
const EVENT_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Hearing {
    stream: Stream,
    parts: Parts,
}

/// What came and was not passed on yet.
#[derive(Debug, Default)]
struct Parts {
    /// The event that is coming in.
    text: Vec<u8>,
    events: VecDeque<Event>,
}

impl Hearing {
    pub(super) fn of(stream: Stream) -> Self {
        Self {
            stream,
            parts: Parts::default(),
        }
    }

    /// The next event; none where the stream has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.parts.events.pop_front() {
                return Some(event);
            }
            let bytes = self.stream.next().await?;
            self.parts.take(&bytes)?;
        }
    }
}

impl Parts {
    /// Takes bytes; none where an event grows beyond the bound.
    fn take(&mut self, bytes: &[u8]) -> Option<()> {
        for byte in bytes.iter().filter(|byte| **byte != b'\r') {
            let ends = *byte == b'\n' && self.text.last() == Some(&b'\n');
            if ends || (*byte == b'\n' && self.text.is_empty()) {
                self.events.extend(event(&self.text));
                self.text.clear();
                continue;
            }
            self.text.push(*byte);
        }
        (self.text.len() <= EVENT_MAX).then_some(())
    }
}

/// An event from its lines, where they are one.
fn event(lines: &[u8]) -> Option<Event> {
    let lines = std::str::from_utf8(lines).ok()?;
    let (mut name, mut data) = (None, Vec::new());
    for line in lines.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value),
            "data" => data.push(value),
            _ => {}
        }
    }
    Some(Event {
        name: name?.to_owned(),
        data: data.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": still here\n\nid: 1-2\nevent: transition\ndata: {\"to\":\"down\"}\n\nevent: lost\r\ndata:{\r\ndata:}\r\n\r\n";

    fn heard(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<Event> {
        let mut parts = Parts::default();
        for piece in pieces {
            parts.take(&piece).unwrap();
        }
        parts.events.into()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let whole = heard([TEXT.as_bytes().to_vec()].into_iter());
        let event = |name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            event("transition", "{\"to\":\"down\"}"),
            event("lost", "{\n}"),
        ];
        assert_eq!(whole, expected);
        for length in 1..TEXT.len() {
            let pieces = TEXT.as_bytes().chunks(length).map(<[u8]>::to_vec);
            assert_eq!(heard(pieces), expected, "{length}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(&vec![b'x'; EVENT_MAX]), Some(()));
        assert_eq!(parts.take(b"x"), None);
    }
}
