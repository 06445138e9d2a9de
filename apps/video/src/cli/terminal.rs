//! Text from others, made safe for a terminal.

/// File names, errors and ids of a shared table may hold anything. A terminal obeys control characters, and characters
/// for the direction of writing make it show a different text.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    safe
}

/// The same in JSON, where every character may be written by its number: a reader gets the exact text.
pub(crate) fn json_for_terminals(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Directions of writing.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible characters.
            | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_everything_else_stays() {
        assert_eq!(
            shown("a\u{1b}[2J\u{9b}31m\n\u{202e}4pm.exe\u{2028}x\u{7f}"),
            "a\\u{1b}[2J\\u{9b}31m\\n\\u{202e}4pm.exe\\u{2028}x\\u{7f}"
        );
        assert_eq!(shown("100%25 — ünï 🎬.mp4"), "100%25 — ünï 🎬.mp4");
    }

    #[test]
    fn json_reads_as_it_was_and_holds_nothing_that_a_terminal_obeys() {
        let name = "a\u{1b}\u{9b}\u{202e}\u{2028}\u{e0001}ü";
        let json = json_for_terminals(&serde_json::to_string_pretty(&[name]).unwrap());
        assert!(!json.chars().any(|c| is_unsafe(c) && c != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [name]);
    }
}
