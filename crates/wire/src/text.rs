//! Texts of a peer, made fit to be shown: bounded, valid UTF-8, without control characters.
//!
//! Whatever a server says ends up in a terminal or in a log, so both protocols pass its words
//! through here. Callers: the parsers of refusals and versions.

/// Makes a `String` of at most `length_max` bytes out of what a peer sent.
///
/// What is no UTF-8 becomes U+FFFD, a control character becomes a space; a character that the
/// limit would cut is left out.
pub(crate) fn clean(bytes: &[u8], length_max: usize) -> String {
    // Only so much is looked at; the last character that may fit needs three more bytes at most.
    let bytes = bytes.get(..length_max.saturating_add(3)).unwrap_or(bytes);
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        let character = if character.is_control() {
            ' '
        } else {
            character
        };
        if text.len() + character.len_utf8() > length_max {
            break;
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests;
