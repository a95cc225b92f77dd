//! What a text may be that people register and other people read: in a table, a certificate, a log, a page.
//!
//! A name that turns the line around, hides a part of itself or breaks the line shows something else than it is. So such
//! characters are refused where a text comes in, by one rule for all callers.

use std::fmt;

/// The longest registered name, in characters: it becomes the organisation in certificates (RFC 5280 appendix A.1,
/// `ub-organization-name`).
pub const MAX_NAME_CHARACTERS: usize = 64;
/// The longest address of a contact, in characters: that of a mailbox (RFC 5321 section 4.5.3.1.3).
pub const MAX_CONTACT_CHARACTERS: usize = 254;
/// How many contacts a client has at most.
pub const MAX_CONTACTS: usize = 16;
/// The longest audience, in characters.
pub const MAX_AUDIENCE_CHARACTERS: usize = 512;
/// How many audiences a client has at most.
pub const MAX_AUDIENCES: usize = 32;

/// Why a text is refused: which member of the registration, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextRefused {
    /// It is empty, blank, or too long.
    #[error("{field}: 1 to {most} characters, and not only spaces")]
    Length {
        /// Which member.
        field: &'static str,
        /// How many characters it may have.
        most: usize,
    },
    /// It has a character that shows something else than it is.
    #[error(
        "{field}: the character {character} is refused: it controls how the text is shown, or is not shown itself"
    )]
    Character {
        /// Which member.
        field: &'static str,
        /// Which character.
        character: CodePoint,
    },
    /// It begins or ends with a space: two names that look alike would be two clients.
    #[error("{field}: it begins or ends with a space")]
    Edge {
        /// Which member.
        field: &'static str,
    },
    /// There are too many of them.
    #[error("{field}: at most {most}")]
    Count {
        /// Which member.
        field: &'static str,
        /// How many there may be.
        most: usize,
    },
}

/// A character as its number: one that is refused is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodePoint(pub char);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}

/// Checks what people wrote in a registration.
///
/// # Errors
/// The first member that is refused.
pub fn check_registration(name: &str, contacts: &[String], audiences: &[String]) -> Result<(), TextRefused> {
    check("name", name, MAX_NAME_CHARACTERS)?;
    check_all("contacts", contacts, MAX_CONTACTS, MAX_CONTACT_CHARACTERS)?;
    check_all("audiences", audiences, MAX_AUDIENCES, MAX_AUDIENCE_CHARACTERS)
}

fn check_all(
    field: &'static str,
    texts: &[String],
    most_texts: usize,
    most_characters: usize,
) -> Result<(), TextRefused> {
    if texts.len() > most_texts {
        return Err(TextRefused::Count { field, most: most_texts });
    }
    texts.iter().try_for_each(|text| check(field, text, most_characters))
}

fn check(field: &'static str, text: &str, most: usize) -> Result<(), TextRefused> {
    if text.trim().is_empty() || text.chars().count() > most {
        return Err(TextRefused::Length { field, most });
    }
    let mut before = None;
    let mut marks = 0;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let joins = is_joiner(character) && joins_letters(before, characters.peek().copied());
        let varies = is_variation(character) && before.is_some_and(|it| !it.is_ascii() && !is_variation(it));
        marks = if is_mark(character) { marks + 1 } else { 0 };
        let stray = is_joiner(character) && !joins || is_variation(character) && !varies;
        if is_deceiving(character) || stray || marks > MAX_MARKS {
            return Err(TextRefused::Character { field, character: CodePoint(character) });
        }
        before = Some(character);
    }
    if text.trim() == text { Ok(()) } else { Err(TextRefused::Edge { field }) }
}

/// Characters that control how others are shown, or that are not shown.
pub fn is_deceiving(character: char) -> bool {
    character.is_control() // general category Cc: C0, DEL and C1
        || is_of_nobody(character)
        || matches!(character,
            '\u{ad}'                        // soft hyphen
            | '\u{61c}'                     // Arabic letter mark
            | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' // fillers
            | '\u{200b}'                    // zero-width space
            | '\u{200e}' | '\u{200f}'      // left-to-right mark, right-to-left mark
            | '\u{2028}' | '\u{2029}'      // line separator, paragraph separator
            | '\u{202a}'..='\u{202e}'      // embeddings and overrides of direction
            | '\u{2060}'..='\u{206f}'      // word joiner, invisible operators, isolates, deprecated controls
            | '\u{feff}'                    // zero-width no-break space
            | '\u{fff9}'..='\u{fffb}'      // interlinear annotations
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // controls of shorthand and of music
            | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' // tags, and what is reserved to be invisible
        )
}

/// Private use, where each font shows something else, and what is no character at all.
fn is_of_nobody(character: char) -> bool {
    matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(character) & 0xfffe == 0xfffe
}

/// Variation selectors: they belong to the character before, and are nothing by themselves.
fn is_variation(character: char) -> bool {
    matches!(character, '\u{180b}'..='\u{180d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// So many combining marks may follow each other: more than any script needs, fewer than cover the lines around.
const MAX_MARKS: usize = 4;

/// Combining marks that any letter takes, and those of Cyrillic, Hebrew and Arabic.
fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Zero-width non-joiner and joiner: words of some scripts need them.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// Between characters of ASCII, or at an end, a joiner has nothing to join and only makes two names of one.
fn joins_letters(before: Option<char>, after: Option<char>) -> bool {
    let of_such_a_script = |character: char| !character.is_ascii() && !is_joiner(character);
    before.is_some_and(of_such_a_script) && after.is_some_and(of_such_a_script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<(), TextRefused> {
        check_registration(text, &[], &[])
    }

    #[test]
    fn names_of_the_world_are_accepted() {
        for text in [
            "Acme Ltd",
            "Müller & Söhne GmbH",
            "株式会社アクメ",
            "شركة أكمي",
            "חברת אקמי",
            "می\u{200c}خواهم", // Persian, with the non-joiner that it needs
            "क्\u{200d}ष",
            "O'Brien \"Pay\" <x>",
            "x",
        ] {
            assert_eq!(name(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn rule_g11_characters_that_show_something_else_are_refused_in_every_member() {
        let mut refused: Vec<char> = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).collect();
        refused.extend([
            '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{200b}', '\u{ad}',
        ]);
        refused.extend('\u{202a}'..='\u{202e}');
        refused.extend('\u{2066}'..='\u{2069}');
        refused.extend(['\u{200c}', '\u{200d}', '\u{2060}', '\u{e0041}']);
        for character in refused {
            for text in [format!("{character}ab"), format!("a{character}b"), format!("ab{character}")] {
                let of = |field| Err(TextRefused::Character { field, character: CodePoint(character) });
                let one = std::slice::from_ref(&text);
                assert_eq!(name(&text), of("name"), "{text:?}");
                assert_eq!(check_registration("Acme", one, &[]), of("contacts"), "{text:?}");
                assert_eq!(check_registration("Acme", &[], one), of("audiences"), "{text:?}");
            }
        }
    }

    #[test]
    fn rule_g11_what_is_invisible_private_or_no_character_is_refused() {
        let mut refused =
            vec!['\u{180f}', '\u{2800}', '\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{1d173}'];
        refused.extend('\u{1bca0}'..='\u{1bca3}');
        refused.extend([
            '\u{e000}',
            '\u{f8ff}',
            '\u{f0000}',
            '\u{10fffd}',
            '\u{fdd0}',
            '\u{fffe}',
            '\u{1ffff}',
        ]);
        refused.extend(['\u{180b}', '\u{fe00}', '\u{fe0f}', '\u{e0100}', '\u{e0080}']);
        for character in refused {
            for text in [format!("{character}"), format!("a{character}b"), format!("{character}b")] {
                let expected = TextRefused::Character { field: "name", character: CodePoint(character) };
                assert_eq!(name(&text), Err(expected), "{text:?}");
            }
        }
        assert_eq!(name("❤\u{fe0f} Pay"), Ok(()), "a variation of a character");
        assert!(name("❤\u{fe0f}\u{fe0f} Pay").is_err());
    }

    #[test]
    fn rule_g11_two_names_that_look_alike_and_towers_of_marks_are_refused() {
        for text in [" Acme", "Acme ", "\u{a0}Acme", "Acme\u{3000}"] {
            assert_eq!(name(text), Err(TextRefused::Edge { field: "name" }), "{text:?}");
        }
        assert_eq!(name(&format!("a{}", "\u{301}".repeat(4))), Ok(()));
        assert!(name(&format!("a{}", "\u{301}".repeat(5))).is_err());
    }

    #[test]
    fn rule_g11_a_refusal_names_the_member_and_shows_no_character() {
        let refused = name("a\u{202e}b").unwrap_err().to_string();
        assert!(
            refused.starts_with("name: ") && refused.contains("U+202E") && refused.is_ascii(),
            "{refused}"
        );
    }

    #[test]
    fn texts_are_bounded_in_length_and_number() {
        let length = |field, most| Err(TextRefused::Length { field, most });
        for text in ["", " ", "\u{3000} ", &"x".repeat(65), &"ü".repeat(65)] {
            assert_eq!(name(text), length("name", 64), "{text:?}");
        }
        assert_eq!(name(&"ü".repeat(64)), Ok(()));
        let texts = |count, characters| vec!["x".repeat(characters); count];
        assert_eq!(check_registration("Acme", &texts(16, 254), &texts(32, 512)), Ok(()));
        assert_eq!(check_registration("Acme", &texts(1, 255), &[]), length("contacts", 254));
        assert_eq!(check_registration("Acme", &[], &texts(1, 513)), length("audiences", 512));
        let count = |field, most| Err(TextRefused::Count { field, most });
        assert_eq!(check_registration("Acme", &texts(17, 1), &[]), count("contacts", 16));
        assert_eq!(check_registration("Acme", &[], &texts(33, 1)), count("audiences", 32));
        assert_eq!(check_registration("Acme", &[String::new()], &[]), length("contacts", 254));
    }
}
