//! Passwords that others would try first: common ones, simple variations of them, patterns, and what is known of the user.

use std::{cmp::Ordering, collections::HashSet, sync::LazyLock};

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::password::NewPassword;

/// Passwords of 10 characters or more, and words of 4 to 9 letters that are common passwords with digits around them. Both in
/// lower case, a line each, in byte order. `scripts/make-common-passwords` makes it.
static LISTS: LazyLock<(&str, &str)> = LazyLock::new(|| {
    let mut parts = include_str!("common_passwords.txt").splitn(3, "\n\n");
    let mut next = || parts.next().unwrap_or_default().trim_end();
    let _source = next();
    (next(), next())
});

const COMMON: &str = "too common; others would try it first";
const VARIATION: &str =
    "too close to a common password; others would try digits, symbols and look-alikes in it first";
const PATTERN: &str =
    "too simple a pattern; others would try repetitions and neighbouring keys first";
const PERSONAL: &str =
    "too close to your username, name or e-mail address; others would try those first";

/// Neighbours on keyboards and in alphabets.
const ROWS: [&str; 24] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
    "8ik,",
    "9ol.",
    "!@#$%^&*()",
    // German and French keyboards.
    "qwertzuiopü",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    // Russian ones.
    "йцукенгшщзхъ",
    "фывапролджэ",
    "ячсмитьбю",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
];

/// A run of neighbours is one of at least so many characters; words have shorter ones.
const RUN: usize = 3;

/// A password has at least so many characters that do not follow from the one before.
const FREE_CHARS: usize = 6;

/// A password has at least so many different characters.
const DIFFERENT_CHARS: usize = 4;

/// The shortest part of a name that a password may not be made of.
const SHORTEST_PART: usize = 3;

/// Every service's users think of its name.
const SERVICE: &str = "tutti";

/// Why others would try `password` first, if they would, for a user of whom `known` is known. Both are in Unicode's NFC.
pub(super) fn fault(password: &str, known: &[&str]) -> Option<&'static str> {
    let password = password.to_lowercase();
    let plain = without_forms(&password);
    let (passwords, words) = *LISTS;
    if [&password, &plain]
        .iter()
        .any(|form| has_line(passwords, form))
    {
        return Some(COMMON);
    }
    // Accents are no repetition.
    let narrow = password.nfkc().collect::<String>();
    if is_pattern(&password) || is_pattern(&narrow) {
        return Some(PATTERN);
    }
    let personal = known
        .iter()
        .flat_map(|known| parts_of(&without_forms(known)));
    let personal = personal.collect::<HashSet<_>>();
    let variations = variations(&plain);
    let joined = variations.iter().map(|text| without_separators(text));
    let joined = joined.collect::<Vec<_>>();
    if variations
        .iter()
        .chain(&joined)
        .any(|text| personal.contains(text))
    {
        return Some(PERSONAL);
    }
    let is_listed = |text: &str| has_line(passwords, text) || has_line(words, text);
    let is_variation = |text: &String| text == SERVICE || is_listed(text);
    // Several words in a row make a passphrase, although a list may have them without blanks; letters in a row make a word.
    let is_varied =
        variations.iter().any(is_variation) || joined.iter().any(|text| has_line(words, text));
    is_varied.then_some(VARIATION)
}

/// `text` in lower case without what makes other forms of the same letters: accents, full width, ligatures, circles.
fn without_forms(text: &str) -> String {
    let letters = text.nfkd().filter(|&c| !is_combining_mark(c));
    letters.collect::<String>().to_lowercase()
}

/// `text` without what may be between the words of a name.
fn without_separators(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether `list`, sorted ASCII lines, has that line. Searched as it is: 150 000 strings would take more memory than they have text.
fn has_line(list: &str, wanted: &str) -> bool {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = list[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let end = list[middle..high].find('\n').map_or(high, |at| middle + at);
        match list[start..end].cmp(wanted) {
            Ordering::Less => low = end + 1,
            Ordering::Equal => return true,
            Ordering::Greater => high = start,
        }
    }
    false
}

/// Whether most of it follows from its first characters.
fn is_pattern(password: &str) -> bool {
    let chars = unrepeated(password).chars().collect::<Vec<_>>();
    let different = chars.iter().collect::<HashSet<_>>();
    different.len() < DIFFERENT_CHARS || free_chars(chars) < FREE_CHARS
}

/// How many characters do not follow from the one before: of a run of the same or of neighbours, one.
fn free_chars(mut chars: Vec<char>) -> usize {
    chars.dedup();
    let mut rest = chars.as_slice();
    let mut free = 0;
    while !rest.is_empty() {
        let run = longest_run(rest);
        rest = &rest[if run < RUN { 1 } else { run }..];
        free += 1;
    }
    free
}

/// How many characters at the beginning follow one another on a row, in one direction.
fn longest_run(chars: &[char]) -> usize {
    let run = |row: &mut dyn Iterator<Item = char>| {
        let mut row = row.skip_while(|&c| Some(c) != chars.first().copied());
        chars.iter().take_while(|&&c| row.next() == Some(c)).count()
    };
    let runs = ROWS
        .iter()
        .map(|row| run(&mut row.chars()).max(run(&mut row.chars().rev())));
    runs.max().unwrap_or_default()
}

/// What is repeated, if all of `text` is that, the last time perhaps without its last character; otherwise all of it.
fn unrepeated(text: &str) -> String {
    let chars = text.chars().collect::<Vec<_>>();
    let is_period = |period: &usize| chars[*period..].iter().eq(&chars[..chars.len() - period]);
    let period = (1..=chars.len().div_ceil(2)).find(is_period);
    chars[..period.unwrap_or(chars.len())].iter().collect()
}

/// What `password` is a simple variation of: without some or all of what is around its letters, with letters in the place of
/// those that look alike, once instead of several times. Where as much is around it as makes a password, that is one of its own.
fn variations(password: &str) -> Vec<String> {
    let chars = password.chars().collect::<Vec<_>>();
    let is_around = |c: &&char| !c.is_alphabetic();
    let before = chars.iter().take_while(is_around).count();
    let after = chars.iter().rev().take_while(is_around).count();
    let mut found = Vec::new();
    for start in 0..=before {
        for end in (0..=after).take_while(|end| start + end < NewPassword::MIN) {
            let text = chars.get(start..chars.len() - end).unwrap_or_default();
            let text = text.iter().collect::<String>();
            let repeated = unrepeated(&text);
            let block = if repeated.len() < text.len() {
                repeated.trim_matches(|c: char| !c.is_alphabetic())
            } else {
                &text
            };
            found.extend(['i', 'l'].map(|one| without_look_alikes(block, one)));
            found.push(block.to_owned());
            found.push(text);
        }
    }
    found
}

/// `text` with the letters that its digits and symbols look like, if it has no more of those than letters: others would be
/// found in every number. `one` is the letter of a 1.
fn without_look_alikes(text: &str, one: char) -> String {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    if 2 * letters < text.chars().count() {
        return text.to_owned();
    }
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' | '|' => one,
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        other => other,
    };
    text.chars().map(letter).collect()
}

/// What somebody would make a password of who knows `known`, a name or an address: all of it, what is before its `@`, and each
/// word; and those without what is around their letters.
fn parts_of(known: &str) -> Vec<String> {
    let known = known.to_lowercase();
    let local = known.split_once('@').map_or("", |(local, _)| local);
    let words = known.split(|c: char| !c.is_alphanumeric());
    let joined = [known.as_str(), local].map(without_separators);
    let joined = joined.iter().map(String::as_str);
    let parts = words.chain([known.as_str(), local]).chain(joined);
    let letters = |part: &str| part.trim_matches(|c: char| !c.is_alphabetic()).to_owned();
    let parts = parts.flat_map(|part| [part.to_owned(), letters(part)]);
    parts
        .filter(|part| part.chars().count() >= SHORTEST_PART)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{COMMON, LISTS, NewPassword, PATTERN, PERSONAL, VARIATION, fault, has_line};

    const KNOWN: [&str; 3] = ["ann.example", "Ann.Smithers@Mail.example", "Ann Überfall"];

    #[test]
    fn what_others_would_try_first_is_refused() {
        for (reason, passwords) in [
            (
                COMMON,
                &[
                    "1234567890",
                    "1111111111",
                    "qwertyuiop",
                    "QwertyUiop",
                    "Q1W2E3R4T5",
                    "1qaz2wsx3edc",
                    "password123",
                    "Password123",
                    "!!!semen!!!",
                    "zzzzzzzzzz",
                ][..],
            ),
            (
                VARIATION,
                &[
                    "password123456",
                    "Password123!",
                    "P@ssw0rd123",
                    "P@$$w0rd2024!",
                    "  password  ",
                    "pa55w0rd5 2024",
                    "$ecret!!2023",
                    "1loveyou!!",
                    "1L0v3y0u!!!",
                    "letme1n2026",
                    "Summer2026!",
                    "dragon19871987",
                    "dragondragon!",
                    "monkey-monkey",
                    "passpasspass1!",
                    "(basketball)",
                    "4dmin!strator9",
                    "tutti!!2026",
                    "987football654",
                    "horse!471992",
                ],
            ),
            (
                PATTERN,
                &[
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                    "ééééüüüüàà",
                    "TuttiTutti",
                    "aaaaa-bbbbb",
                    "1212112212211",
                    "hahahahahahah",
                    "xkcd?xkcd?xkcd?",
                    "abcdefghijklm",
                    "zyxwvutsrqpon!",
                    "11122233344455",
                    "abc123!!!!!!!",
                    "qwerty-1234-asdf",
                    "0987654321qwe?",
                    "asdfghjkl;'asd",
                    "qwertzuiop1",
                    "azertyuiop12",
                    "йцукенгшщз",
                    "!@#$%^&*()",
                    "2wsx3edc4rfv5tgb!",
                ],
            ),
            (
                PERSONAL,
                &[
                    "ANN.example",
                    "ann.smithers@mail.example",
                    "ann.smithers@mail.example!",
                    "ann.smithers",
                    "Smithers2026!",
                    "5m1ther5_1990",
                    "Überfall99",
                    "annannannann!1",
                    "ann!471992",
                ],
            ),
        ] {
            for password in passwords {
                assert_eq!(fault(password, &KNOWN), Some(reason), "{password:?}");
            }
        }
    }

    #[test]
    fn forms_of_letters_and_separators_make_no_difference() {
        for (reason, passwords) in [
            (
                COMMON,
                &[
                    "pásswórd123",
                    "ｐａｓｓｗｏｒｄ１２３",
                    "１２３４５６７８９０",
                ][..],
            ),
            (PATTERN, &["ａｓｄｆｇ－ｈｊｋｌ", "ⓧⓧⓨⓨⓩⓩⓧⓧⓨⓨ"]),
            (
                VARIATION,
                &[
                    "pässwörd!!1",
                    "ｐａｓｓｗｏｒｄ！！１",
                    "ⓓⓡⓐⓖⓞⓝ2026!",
                    "p.a.s.s.w.o.r.d",
                    "mon-key 2026",
                ],
            ),
            (
                PERSONAL,
                &[
                    "annsmithers2026",
                    "ann-smithers-2026",
                    "annexample!!",
                    "Ann Smithers!",
                    "uberfall1999",
                    "a.n.n.s.m.i.t.h.e.r.s",
                ],
            ),
        ] {
            for password in passwords {
                assert_eq!(fault(password, &KNOWN), Some(reason), "{password:?}");
            }
        }
    }

    #[test]
    fn what_nobody_would_try_first_is_taken() {
        for password in [
            "correct horse",
            "correct horse battery",
            "Correct Horse Battery ",
            "a short sentence will do",
            "my secret passphrase",
            "onlylowercaseletters",
            "ten chars!",
            "defend the first property",
            "correct-horse-battery-staple",
            "The answer is 42, Ann!",
            "éèàùâêîôûç",
            "пароль для нашей музыки",
            "音楽を一緒に聴きましょう",
            // Of generators.
            "7#kQz!m2Wp",
            "vT9xLq2bRz",
            "8471992655",
            "f3c1a9d07be2",
            "tusk-lilac-orbit",
            "gXj4-Qm2z-81rT",
            "3Yk*^dP0;w&hN}",
            // What is around the word is long enough alone.
            "horse 8471992655",
        ] {
            assert_eq!(fault(password, &KNOWN), None, "{password:?}");
        }
    }

    #[test]
    fn the_lists_are_what_is_searched_for() {
        let (passwords, words) = *LISTS;
        assert!(passwords.lines().count() > 100_000);
        assert!(words.lines().count() > 40_000);
        for (list, chars) in [
            (passwords, NewPassword::MIN..=NewPassword::MAX),
            (words, 4..=9),
        ] {
            assert!(list.is_ascii());
            assert!(list.lines().is_sorted());
            for line in list.lines() {
                assert_eq!(line, line.to_lowercase());
                assert!(chars.contains(&line.len()), "{line}");
            }
            // Every 97th, the first and the last.
            let found = list.lines().step_by(97).chain(list.lines().last());
            for line in found {
                assert!(has_line(list, line), "{line}");
                assert!(!has_line(list, &format!("{line}\u{1}")), "{line}");
            }
        }
        for missing in ["", "\n", "a", "~~~~~~~~~~~~~~~~~", "correct horse", "ü"] {
            assert!(!has_line(passwords, missing), "{missing:?}");
        }
    }
}
