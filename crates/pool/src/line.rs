//! Those who wait, in the order in which they came; anybody may step out at once.
//!
//! A queue with a number for each place. Who leaves is found by its number and leaves a gap; gaps
//! are closed when they are the larger part. Small on purpose: all who come and go write here. Pure;
//! the [`Ledger`](crate::ledger::Ledger) owns the only one.

use std::collections::VecDeque;

/// Fewer gaps are not worth closing.
const GAPS_MIN: usize = 32;

/// Names a place in the line, and nobody else's ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceKey(i64);

/// A first-in, first-out line whose members may leave from anywhere.
#[derive(Debug)]
pub(crate) struct Line<S> {
    /// Keys rise from the front to the back. Who left has left a gap, but never at the front.
    places: VecDeque<(PlaceKey, Option<S>)>,
    gaps: usize,
    /// The numbers that are used up to both sides.
    lowest: i64,
    highest: i64,
}

impl<S> Line<S> {
    pub(crate) const fn new() -> Self {
        Self {
            places: VecDeque::new(),
            gaps: 0,
            lowest: 0,
            highest: 0,
        }
    }

    /// How many are in the line.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Joins at the end.
    pub(crate) fn push_back(&mut self, who: S) -> PlaceKey {
        self.highest += 1;
        let key = PlaceKey(self.highest);
        self.places.push_back((key, Some(who)));
        key
    }

    /// Joins at the head: for who was there before and came away with nothing.
    pub(crate) fn push_front(&mut self, who: S) -> PlaceKey {
        self.lowest -= 1;
        let key = PlaceKey(self.lowest);
        self.places.push_front((key, Some(who)));
        key
    }

    /// Takes the first out of the line.
    pub(crate) fn pop_front(&mut self) -> Option<S> {
        let (_, first) = self.places.pop_front()?;
        self.skip_gaps();
        first
    }

    /// Takes one out of the line, if it is still there.
    pub(crate) fn remove(&mut self, key: PlaceKey) -> Option<S> {
        let at = self.places.binary_search_by_key(&key, |it| it.0).ok()?;
        let who = self.places[at].1.take()?;
        self.gaps += 1;
        self.skip_gaps();
        if self.gaps > GAPS_MIN.max(self.len()) {
            self.places.retain(|(_, who)| who.is_some());
            self.gaps = 0;
        }
        Some(who)
    }

    /// The one who waits longest.
    pub(crate) fn first(&self) -> Option<&S> {
        self.places.front()?.1.as_ref()
    }

    /// All in the line, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PlaceKey, &S)> {
        let places = self.places.iter();
        places.filter_map(|(key, who)| Some((*key, who.as_ref()?)))
    }

    fn skip_gaps(&mut self) {
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.gaps -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &Line<char>) -> String {
        line.iter().map(|(_, name)| *name).collect()
    }

    #[test]
    fn who_came_first_is_first() {
        let mut line = Line::new();
        for name in "abc".chars() {
            line.push_back(name);
        }
        line.push_front('x');
        assert_eq!(names(&line), "xabc");
        assert_eq!(line.pop_front(), Some('x'));
        assert_eq!((line.len(), names(&line).as_str()), (3, "abc"));
        assert_eq!(line.first(), Some(&'a'));
    }

    #[test]
    fn anybody_may_leave_and_the_others_keep_their_order() {
        for leaver in 0..4 {
            let mut line = Line::new();
            let keys: Vec<_> = "abcd".chars().map(|name| line.push_back(name)).collect();
            let name = line.remove(keys[leaver]).unwrap();
            assert_eq!(names(&line), "abcd".replace(name, ""));
            assert_eq!(line.remove(keys[leaver]), None, "left twice");
            line.push_back('e');
            assert_eq!(names(&line), "abcd".replace(name, "") + "e");
        }
    }

    #[test]
    fn who_has_left_does_not_remove_who_came_later() {
        let mut line = Line::new();
        let left = line.push_back('a');
        assert_eq!(line.pop_front(), Some('a'));
        let next = line.push_back('b');
        assert_eq!((line.remove(left), names(&line).as_str()), (None, "b"));
        assert_eq!(line.remove(next), Some('b'));
        assert!(line.is_empty());
    }

    #[test]
    fn one_who_stays_does_not_keep_the_places_of_all_who_leave() {
        let mut line = Line::new();
        let stays = line.push_back(0);
        for number in 1..100_000 {
            let key = line.push_back(number);
            assert_eq!(line.remove(key), Some(number));
        }
        assert_eq!(line.len(), 1);
        assert!(line.places.len() < 100, "{} places", line.places.len());
        assert_eq!(line.remove(stays), Some(0));
        assert!(line.is_empty());
    }

    #[test]
    fn it_is_a_line_whatever_comes_and_goes() {
        fastrand::seed(7);
        let mut line = Line::new();
        let mut expected: VecDeque<(PlaceKey, u32)> = VecDeque::new();
        for number in 0..20_000 {
            match fastrand::u8(0..4) {
                0 => expected.push_front((line.push_front(number), number)),
                1 => expected.push_back((line.push_back(number), number)),
                2 if !expected.is_empty() => {
                    let at = fastrand::usize(0..expected.len());
                    let (key, who) = expected.remove(at).unwrap();
                    assert_eq!(line.remove(key), Some(who));
                    assert_eq!(line.remove(key), None);
                }
                _ => {
                    let first = expected.pop_front().map(|(_, who)| who);
                    assert_eq!(line.pop_front(), first);
                }
            }
            assert_eq!(line.len(), expected.len());
            assert_eq!(line.first(), expected.front().map(|(_, who)| who));
        }
        let left: Vec<_> = line.iter().map(|(key, who)| (key, *who)).collect();
        assert!(expected.iter().eq(&left));
    }
}
