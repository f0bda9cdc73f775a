//! Drives a follower with segments of both sides, and checks what holds whatever the bytes.
//!
//! Nothing panics; no more is shown than there is; what is heard is bounded by what was said; an
//! answer belongs to a command that was asked, and nothing is heard behind what cannot be read.
//! An input is a list of segments, each with two bytes before it: what it is, and how long.
//! The fuzz targets use this as a module, and so does `crates/wire/tests/corpus.rs`.

use dbvitals_wire::passive::{
    Follower, Heard, Protocol, Segment, WAITING_MAX, looks_like_answer, looks_like_command,
    opening_of,
};

/// Lets two sides that may speak MySQL's protocol talk.
pub fn passive_mysql(data: &[u8]) {
    listen(Protocol::MySql, data);
}

/// Lets two sides that may speak PostgreSQL's protocol talk.
pub fn passive_postgres(data: &[u8]) {
    listen(Protocol::Postgres, data);
}

fn listen(protocol: Protocol, data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let mut follower = match choice & 1 {
        0 => Follower::from_start(protocol),
        _ => Follower::from_middle(protocol),
    };
    let (mut asked, mut answered, mut said) = (0, 0, 0);
    let mut is_opaque = false;
    let mut mark = 0;
    while let Some((&[kind, length], after)) = rest.split_first_chunk() {
        let length = usize::from(length).min(after.len());
        let (bytes, after) = after.split_at(length);
        rest = after;
        mark += 1;
        if kind & 0b1_1000 == 0b1_1000 {
            match kind & 1 {
                0 => follower.miss_client(length),
                _ => follower.miss_server(length),
            }
            if kind & 0b10 != 0 {
                follower.forget_waiting();
            }
            continue;
        }
        let missing = if kind & 0b10 == 0 {
            0
        } else {
            usize::from(kind)
        };
        let segment = Segment {
            bytes,
            missing,
            turn: kind & 0b100 == 0,
            late: kind & 0b10_0000 != 0,
            mark,
        };
        said += length + 1;
        let _ = looks_like_command(bytes, segment.length());
        let _ = looks_like_answer(protocol, bytes, segment.length());
        let _ = opening_of(bytes, segment.length(), kind & 1 == 1);
        let was_opaque = is_opaque;
        let mut tell = |heard| {
            assert!(!was_opaque, "{heard:?} of what cannot be read");
            match heard {
                Heard::Asked(_) => asked += 1,
                Heard::Answered { mark: of, .. } => {
                    answered += 1;
                    assert!(of <= mark, "an answer to {of}, in {mark}");
                }
                Heard::Opaque(_) => is_opaque = true,
                Heard::Quit | Heard::Cancelled => {}
            }
        };
        let shown = match kind & 1 {
            0 => follower.hear_client(segment, &mut tell),
            _ => follower.hear_server(segment, &mut tell),
        };
        assert!(
            shown <= bytes.len(),
            "{shown} of {} bytes shown",
            bytes.len()
        );
        // A packet folded to a few bytes may unfold to many small ones.
        assert!(asked <= 64 * said, "{asked} commands in {said} bytes");
        assert!(answered <= asked, "{answered} answers to {asked} commands");
        let _ = follower.waiting();
    }
    const { assert!(WAITING_MAX > 0) };
}
