//! Those who wait, in the order in which they came; anybody may step out at once.
//!
//! A doubly linked list through a vector, so that joining allocates nothing once the vector has
//! grown, and a cancelled checkout leaves in constant time. A seat outlives its place in the line:
//! who was served is out of the line, but keeps the seat until the waiting task has looked. Pure;
//! the [`Ledger`](crate::ledger::Ledger) owns the only one.

/// Names a seat until it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatKey(usize);

/// A first-in, first-out line whose members may leave from anywhere.
#[derive(Debug)]
pub(crate) struct Line<S> {
    places: Vec<Place<S>>,
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
    length: usize,
}

#[derive(Debug)]
struct Place<S> {
    seat: Option<S>,
    in_line: bool,
    before: Option<usize>,
    after: Option<usize>,
}

impl<S> Line<S> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            first: None,
            last: None,
            length: 0,
        }
    }

    /// How many are in the line; those who were served and still have a seat are not.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Joins at the end.
    pub(crate) fn push_back(&mut self, seat: S) -> SeatKey {
        let at = self.seat(seat);
        self.places[at].before = self.last;
        match self.last.replace(at) {
            Some(last) => self.places[last].after = Some(at),
            None => self.first = Some(at),
        }
        SeatKey(at)
    }

    /// Joins at the head: for who was there before and came away with nothing.
    pub(crate) fn push_front(&mut self, seat: S) -> SeatKey {
        let at = self.seat(seat);
        self.places[at].after = self.first;
        match self.first.replace(at) {
            Some(first) => self.places[first].before = Some(at),
            None => self.last = Some(at),
        }
        SeatKey(at)
    }

    /// Takes the first out of the line, who keeps the seat.
    pub(crate) fn step_forward(&mut self) -> Option<SeatKey> {
        let at = self.first?;
        self.unlink(at);
        Some(SeatKey(at))
    }

    /// Takes one out of the line, who keeps the seat.
    pub(crate) fn step_out(&mut self, key: SeatKey) {
        self.unlink(key.0);
    }

    /// Gives up a seat, wherever it is.
    pub(crate) fn give_up(&mut self, key: SeatKey) -> Option<S> {
        self.unlink(key.0);
        let seat = self.places.get_mut(key.0)?.seat.take();
        if seat.is_some() {
            self.free.push(key.0);
        }
        seat
    }

    pub(crate) fn seat_mut(&mut self, key: SeatKey) -> Option<&mut S> {
        self.places.get_mut(key.0)?.seat.as_mut()
    }

    /// The one who waits longest.
    pub(crate) fn first(&self) -> Option<&S> {
        self.places[self.first?].seat.as_ref()
    }

    /// All in the line, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeatKey, &S)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let at = next?;
            next = self.places[at].after;
            Some((SeatKey(at), self.places[at].seat.as_ref()?))
        })
    }

    fn seat(&mut self, seat: S) -> usize {
        self.length += 1;
        let place = Place {
            seat: Some(seat),
            in_line: true,
            before: None,
            after: None,
        };
        match self.free.pop() {
            Some(at) => {
                self.places[at] = place;
                at
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at).filter(|place| place.in_line) else {
            return;
        };
        place.in_line = false;
        let (before, after) = (place.before.take(), place.after.take());
        match before {
            Some(before) => self.places[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.places[after].before = before,
            None => self.last = before,
        }
        self.length -= 1;
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
        let first = line.step_forward().unwrap();
        assert_eq!((line.len(), names(&line).as_str()), (3, "abc"));
        assert_eq!(line.give_up(first), Some('x'));
        assert_eq!(line.first(), Some(&'a'));
    }

    #[test]
    fn anybody_may_leave_and_the_others_keep_their_order() {
        for leaver in 0..4 {
            let mut line = Line::new();
            let keys: Vec<_> = "abcd".chars().map(|name| line.push_back(name)).collect();
            let name = line.give_up(keys[leaver]).unwrap();
            assert_eq!(names(&line), "abcd".replace(name, ""));
            assert_eq!(line.give_up(keys[leaver]), None, "left twice");
            line.push_back('e');
            assert_eq!(names(&line), "abcd".replace(name, "") + "e");
        }
    }

    #[test]
    fn a_seat_outlives_its_place_in_the_line() {
        let mut line = Line::new();
        let (a, b) = (line.push_back('a'), line.push_back('b'));
        line.step_out(a);
        assert_eq!((line.len(), line.seat_mut(a)), (1, Some(&mut 'a')));
        assert_eq!(line.push_back('c'), SeatKey(2), "a seat in use was reused");
        line.give_up(a);
        assert_eq!(line.push_back('d'), a, "a free seat was not reused");
        line.give_up(b);
        assert_eq!(names(&line), "cd");
    }
}
