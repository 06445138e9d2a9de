//! Cutting error messages to their stored length.

use crate::limits::ERROR_MESSAGE_BYTES_MAX;

/// Room for the prefix that a statement may put before a message: `Max retries (2147483647) exceeded: `, and a little
/// more.
const PREFIX_BYTES_MAX: usize = 48;

/// The message, cut at a character boundary so that it fits with any prefix, and without NULs, which a PostgreSQL text
/// cannot hold.
pub(super) fn stored_error(message: &str) -> String {
    let mut text = message.replace('\0', "\u{fffd}");
    let limit = ERROR_MESSAGE_BYTES_MAX - PREFIX_BYTES_MAX;
    if text.len() > limit {
        let cut = (0..=limit).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_cut_at_a_character_boundary() {
        let stored = stored_error(&"ü".repeat(5_000));
        assert!(stored.len() <= ERROR_MESSAGE_BYTES_MAX - PREFIX_BYTES_MAX);
        assert!(stored.chars().all(|c| c == 'ü'));
    }

    #[test]
    fn a_short_message_stays_as_it_is() {
        assert_eq!(stored_error("disk full"), "disk full");
    }
}
