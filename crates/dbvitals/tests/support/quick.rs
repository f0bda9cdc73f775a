//! The pace of most tests. Included by those that need it.

/// Quick probes, so that a change is noticed soon.
pub(crate) const QUICK: &str = "[defaults]\n\
    interval = \"50ms\"\n\
    fast_interval = \"20ms\"\n\
    down_interval = \"50ms\"\n";
