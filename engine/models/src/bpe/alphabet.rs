//! How a `tokenizer.json` spells bytes: each of the 256 as a character that can be printed.
//!
//! Printable bytes of Latin-1 stand for themselves; the others are the characters from U+0100 on, in their order. After
//! `bytes_to_unicode` of GPT-2 (Radford et al. 2019), so that the blank is `Ġ` and the line break `Ċ`.

/// The character of each byte.
const CHARACTERS: [char; 256] = characters().0;
/// The bytes that have a character from U+0100 on.
const MOVED: [u8; 68] = characters().1;

const fn characters() -> ([char; 256], [u8; 68]) {
    let (mut characters, mut moved) = (['\0'; 256], [0; 68]);
    let (mut byte, mut moved_count) = (0, 0);
    while byte < 256 {
        characters[byte] = byte as u8 as char;
        if !is_printable(byte as u32) {
            moved[moved_count] = byte as u8;
            characters[byte] = match char::from_u32(256 + moved_count as u32) {
                Some(character) => character,
                None => panic!("no surrogate is near"),
            };
            moved_count += 1;
        }
        byte += 1;
    }
    assert!(moved_count == moved.len());
    (characters, moved)
}

const fn is_printable(code: u32) -> bool {
    matches!(code, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The spelling of these bytes.
pub(super) fn spelled(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| CHARACTERS[usize::from(*byte)]).collect()
}

/// The bytes that are spelled so; none if a character is outside the alphabet.
pub(super) fn bytes_of(spelling: &str) -> Option<Vec<u8>> {
    spelling.chars().map(byte_of).collect()
}

fn byte_of(character: char) -> Option<u8> {
    match character as u32 {
        code if is_printable(code) => Some(code as u8),
        code @ 256.. => MOVED.get(code as usize - 256).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_of(&spelled(&bytes)), Some(bytes));
        assert_eq!(spelled(b" a\n\x7f\xad\xff"), "Ġ".to_owned() + "aĊġŃÿ");
        assert_eq!((bytes_of("a b"), bytes_of("\u{144}"), bytes_of("東")), (None, None, None));
    }
}
