//! dbvitals
fn main() {}
