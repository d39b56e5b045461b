//! Texts that one person writes and others see on their pages: names of rooms and users, titles of songs, artists.
//!
//! A character that is not seen, or that turns the direction of the text after it, has no place in them: `U+202E` in a name
//! reverses the words of the page beside it, and a name of blanks cannot be seen or clicked. Which characters those are is asked
//! of Unicode's own properties (`icu_properties`) and not listed here.

use std::borrow::Cow;

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, EmojiModifier, EnumeratedProperty as _, ExtendedPictographic,
        GeneralCategory, GeneralCategoryGroup, IndicSyllabicCategory, JoiningType,
        NoncharacterCodePoint, PrependedConcatenationMark, VariationSelector,
    },
};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// How long a name may be, in characters of Unicode's NFC.
pub const NAME_MAX: usize = 100;

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const MONGOLIAN_VOWEL_SEPARATOR: char = '\u{180e}';

/// Symbols whose picture is empty. Unicode has no property for that.
const EMPTY_SYMBOLS: [char; 2] = ['\u{2800}', '\u{1d159}'];

/// Flags of England, Scotland and Wales are this, the tags of a region, and the tag that ends them (UTS 51, ED-14a).
const TAGGED_FLAG: char = '\u{1f3f4}';
const LAST_TAG: char = '\u{e007f}';

/// How many tags such a flag has at most, the last one included.
const TAGS_MAX: usize = 7;

/// Checks a name as somebody typed it. Returns it in NFC and without blanks around it.
///
/// # Errors
/// Says the rule it breaks.
pub fn name(text: &str) -> Result<String, &'static str> {
    let normalized = text.nfc().collect::<String>();
    let chars = normalized.trim().chars().collect::<Vec<_>>();
    if chars.iter().any(|&c| c.is_control() || ends_line(c)) {
        return Err("no control characters or line breaks");
    }
    if !(0..chars.len()).all(|at| is_admitted(&chars, at)) {
        return Err("no characters that are invisible or change the direction of text");
    }
    if chars.len() > NAME_MAX || !chars.iter().any(|&c| is_visible(c)) {
        return Err("1 to 100 characters, at least one of them visible");
    }
    Ok(chars.into_iter().collect())
}

/// Whether all characters of `text` can be seen, blanks apart, and none changes the direction of the text after it.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    let chars = text.chars().collect::<Vec<_>>();
    (0..chars.len()).all(|at| is_admitted(&chars, at))
}

/// Whether something of `text` can be seen.
#[must_use]
pub fn has_visible(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// `text` in NFC, without the characters that [`name`] refuses: for what is not to be refused because of them. Blanks of every
/// kind stay, tabs and line breaks too: pages show them as blanks.
#[must_use]
pub fn cleaned(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(is_plain)
        || (is_nfc_quick(text.chars()) == IsNormalized::Yes && is_clean(text))
    {
        return Cow::Borrowed(text);
    }
    let chars = text.nfc().collect::<Vec<_>>();
    let kept = (0..chars.len()).filter(|&at| is_admitted(&chars, at));
    Cow::Owned(kept.map(|at| chars[at]).collect())
}

fn has(group: GeneralCategoryGroup, c: char) -> bool {
    group.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// Of the characters that end a line, those that are not control characters.
fn ends_line(c: char) -> bool {
    let ends = GeneralCategoryGroup::LineSeparator.union(GeneralCategoryGroup::ParagraphSeparator);
    has(ends, c)
}

/// Controls, formats, and whatever has no picture, blanks apart. Signs before Arabic numbers are formats that are seen.
fn is_unseen(c: char) -> bool {
    let unseen = GeneralCategoryGroup::Control.union(GeneralCategoryGroup::Format);
    let is_sign = CodePointSetData::new::<PrependedConcatenationMark>().contains(c);
    let is_blank = c.is_whitespace();
    (has(unseen, c) && !is_sign && !is_blank)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
}

/// Whether it can be seen by itself, as a mark cannot.
fn is_visible(c: char) -> bool {
    !is_unseen(c)
        && !c.is_whitespace()
        && !has(GeneralCategoryGroup::Mark, c)
        && !EMPTY_SYMBOLS.contains(&c)
}

/// Whether the character there may be where it is: it is seen, a blank, or part of what is seen.
fn is_admitted(chars: &[char], at: usize) -> bool {
    let (before, c, after) = (&chars[..at], chars[at], &chars[at + 1..]);
    if !is_unseen(c) {
        return true;
    }
    match c {
        ZERO_WIDTH_JOINER if joins_emoji(before, after) => true,
        ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER | MONGOLIAN_VOWEL_SEPARATOR => {
            shapes_a_word(before)
        }
        _ if CodePointSetData::new::<VariationSelector>().contains(c) => {
            before.last().is_some_and(|&c| is_visible(c))
        }
        _ => is_tag(c) && is_in_flag(before, c, after),
    }
}

/// Whether a joiner is between two emoji, as in a family.
fn joins_emoji(before: &[char], after: &[char]) -> bool {
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    let belongs_to_emoji = |c: char| {
        CodePointSetData::new::<VariationSelector>().contains(c)
            || CodePointSetData::new::<EmojiModifier>().contains(c)
    };
    let is_picture = |c: Option<&char>| c.is_some_and(|&c| pictures.contains(c));
    is_picture(before.iter().rev().find(|&&c| !belongs_to_emoji(c))) && is_picture(after.first())
}

/// Whether what is before a joiner is of a script in which joiners choose the forms of letters: one whose letters join, as
/// in Persian, or one whose letters are put together, as in Hindi.
fn shapes_a_word(before: &[char]) -> bool {
    let is_mark = |c: char| has(GeneralCategoryGroup::Mark, c);
    let Some(&last) = before.last() else {
        return false;
    };
    let is_of_word = has(GeneralCategoryGroup::Letter, last) || is_mark(last);
    let is_indic = IndicSyllabicCategory::for_char(last) != IndicSyllabicCategory::Other;
    let base = before.iter().rev().find(|&&c| !is_mark(c));
    let joins = base.is_some_and(|&c| {
        let joining = JoiningType::for_char(c);
        joining != JoiningType::NonJoining && joining != JoiningType::Transparent
    });
    is_of_word && (is_indic || joins)
}

fn is_tag(c: char) -> bool {
    ('\u{e0020}'..=LAST_TAG).contains(&c)
}

/// Whether a tag is part of a flag.
fn is_in_flag(before: &[char], tag: char, after: &[char]) -> bool {
    let so_far = before.iter().rev().take(TAGS_MAX);
    let so_far = so_far.take_while(|&&c| is_tag(c) && c != LAST_TAG).count();
    let is_of_flag = before.iter().rev().nth(so_far) == Some(&TAGGED_FLAG);
    let from_here = std::iter::once(&tag).chain(after).take(TAGS_MAX - so_far);
    let mut from_here = from_here.take_while(|&&c| is_tag(c));
    is_of_flag && so_far + usize::from(tag != LAST_TAG) > 0 && from_here.any(|&c| c == LAST_TAG)
}

#[cfg(test)]
mod tests {
    use super::{NAME_MAX, cleaned, has_visible, is_clean, name};

    /// What is unseen, between two letters.
    const UNSEEN: [&str; 31] = [
        "\0",
        "\u{7f}",
        "\u{ad}",
        "\u{34f}",
        "\u{61c}",
        "\u{115f}",
        "\u{1160}",
        "\u{17b4}",
        "\u{180b}\u{180b}",
        "\u{180e}",
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{200e}",
        "\u{200f}",
        "\u{202a}",
        "\u{202e}",
        "\u{2060}",
        "\u{2064}",
        "\u{2066}",
        "\u{2069}",
        "\u{206f}",
        "\u{3164}",
        "\u{fe0f}\u{fe0f}",
        "\u{feff}",
        "\u{ffa0}",
        "\u{fffb}",
        "\u{ffff}",
        "\u{1d173}",
        "\u{e0001}",
        "\u{e0041}\u{e007f}",
    ];

    const VISIBLE: [&str; 24] = [
        "x",
        "Ann's room ♪",
        "<b>Ann & Ben</b>",
        "Où êtes-vous ?",
        "a\u{a0}b",
        "夜の\u{3000}音楽",
        "한국어",
        "العربية",
        "שבת שלום",
        // Joiners within and at the end of words.
        "می\u{200c}خواهم",
        "ه\u{200d}",
        "हिन्दी क्\u{200d}ष",
        "শব্দ র\u{200d}্যাম ক্\u{200c}",
        "ශ්\u{200d}රී",
        "ᠬᠠᠷ\u{180e}ᠠ",
        // Emoji of several characters.
        "👩\u{200d}👩\u{200d}👧",
        "👩🏽\u{200d}🚀",
        "🏳\u{fe0f}\u{200d}🌈",
        "❤\u{fe0f}\u{200d}🔥",
        "1\u{fe0f}\u{20e3}",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
        "🇩🇪",
        // A form of an ideograph, and a sign before an Arabic number.
        "葛\u{e0100}",
        "\u{600}١٢",
    ];

    #[test]
    fn what_is_not_seen_is_refused_in_names_and_taken_out_of_titles() {
        for unseen in UNSEEN {
            let text = format!("a{unseen}b");
            assert!(name(&text).is_err(), "{text:?}");
            assert!(!is_clean(&text), "{text:?}");
            let clean = cleaned(&text);
            assert!(is_clean(&clean), "{clean:?}");
            assert!(
                ["ab", "a\u{180b}b", "a\u{fe0f}b"].contains(&clean.as_ref()),
                "{text:?} becomes {clean:?}"
            );
        }
    }

    #[test]
    fn line_breaks_are_refused_in_names_and_stay_in_titles() {
        for text in ["a\tb", "a\nb", "a\u{85}b", "a\u{2028}b", "a\u{2029}b"] {
            assert_eq!(name(text), Err("no control characters or line breaks"));
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn what_is_seen_stays_with_the_joiners_of_words_and_emoji() {
        for text in VISIBLE {
            assert_eq!(name(text).as_deref(), Ok(text), "{text:?}");
            assert_eq!(cleaned(text), text, "{text:?}");
        }
    }

    #[test]
    fn joiners_tags_and_selectors_that_are_part_of_nothing_are_unseen() {
        for text in [
            "\u{200c}می",
            "می\u{200c}\u{200c}خواهم",
            "👩\u{200d}",
            "👩\u{200d}x",
            "\u{200d}👩",
            "\u{fe0f}x",
            "x \u{fe0f}",
            "🏴\u{e007f}",
            "🏴\u{e0067}\u{e0062}",
            "🏴\u{e0067}\u{e007f}\u{e0067}\u{e007f}",
            "🏴\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e007f}",
            "x\u{e0067}\u{e007f}",
        ] {
            assert!(name(text).is_err(), "{text:?}");
            assert!(is_clean(&cleaned(text)), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_something_to_see() {
        for text in [
            "",
            " ",
            "\u{a0}",
            "\u{1680}\u{2003}\u{3000}",
            "\u{2800}",
            "\u{2800} \u{1d159}",
            "\u{301}",
            " \u{301} ",
        ] {
            assert_eq!(
                name(text),
                Err("1 to 100 characters, at least one of them visible"),
                "{text:?}"
            );
            assert!(!has_visible(text), "{text:?}");
        }
        assert_eq!(name(" \u{3000}x\u{a0}").as_deref(), Ok("x"));
    }

    #[test]
    fn a_name_has_at_most_100_characters_in_nfc() {
        let long = "u\u{308}".repeat(NAME_MAX);
        assert_eq!(name(&long), Ok("ü".repeat(NAME_MAX)));
        assert!(name(&format!("{long}x")).is_err());
        assert_eq!(cleaned("u\u{308}"), "ü");
    }
}
