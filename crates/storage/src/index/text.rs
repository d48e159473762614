//! How text becomes words: the same for what is said and for what is looked for. Pure.
//!
//! Case, accents and compatibility forms are folded. Scripts that put spaces between words give words; those that do not
//! (Han, kana, Hangul, Thai and its neighbours) give pairs of neighbouring characters, so that any part of a run is found
//! as the phrase of its pairs. The last character of a run also stands alone, so that one character is found by its pair
//! or by itself.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Longer words are cut, in characters.
const LONGEST: usize = 64;

/// A word, or a pair of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Folded.
    pub text: String,
    /// Its place among the others.
    pub position: usize,
    /// What it stands for.
    pub kind: TokenKind,
}

/// The kinds of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A word.
    Word,
    /// Two characters of a run.
    Pair,
    /// The last character of a run, which may be its only one.
    Last {
        /// Whether it is.
        alone: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Belongs to a word.
    Word,
    /// A script without spaces.
    Dense,
    /// Stands by itself.
    Sign,
    /// Between words.
    Space,
}

/// The tokens of a text, in order.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    each_token(text, |text, position, kind| found.push(Token { text: text.to_owned(), position, kind }));
    found
}

/// Calls `found` with every token, its place and its kind.
pub(crate) fn each_token(text: &str, mut found: impl FnMut(&str, usize, TokenKind)) {
    let mut position = 0;
    // Nothing that is folded reaches over a space: most words need no tables, whatever stands beside them.
    for chunk in text.split(|c: char| c.is_ascii_whitespace()) {
        position = match chunk.is_ascii() {
            true => ascii(chunk, position, &mut found),
            false => folded(&fold(chunk), position, &mut found),
        };
    }
}

/// The tokens of a text that is folded; answers with the place of the next one.
fn folded(folded: &str, mut position: usize, mut found: impl FnMut(&str, usize, TokenKind)) -> usize {
    let mut rest = folded.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        let class = class(c);
        let mut end = start + c.len_utf8();
        if matches!(class, Class::Word | Class::Dense) {
            while let Some((at, next)) = rest.peek().copied()
                && (self::class(next) == class || is_combining_mark(next))
            {
                end = at + next.len_utf8();
                rest.next();
            }
        }
        let run = &folded[start..end];
        match class {
            Class::Space => {}
            Class::Sign => {
                found(run, position, TokenKind::Word);
                position += 1;
            }
            Class::Word => {
                found(cut(run), position, TokenKind::Word);
                position += 1;
            }
            Class::Dense => position = pairs(run, position, &mut found),
        }
    }
    position
}

/// Whether a token is of a script without spaces, or a sign: what others that cut texts into words would cut otherwise.
pub(crate) fn is_no_word(token: &str) -> bool {
    token.chars().next().is_some_and(|c| matches!(class(c), Class::Dense | Class::Sign))
}

/// The characters of a token, each with the marks on it.
pub(crate) fn characters(token: &str) -> Vec<&str> {
    let starts = token.char_indices().filter(|(at, c)| *at == 0 || !is_combining_mark(*c)).map(|(at, _)| at);
    let bounds: Vec<usize> = starts.chain([token.len()]).collect();
    bounds.windows(2).map(|pair| &token[pair[0]..pair[1]]).collect()
}

/// Most of what is said needs no tables.
fn ascii(text: &str, mut position: usize, mut found: impl FnMut(&str, usize, TokenKind)) -> usize {
    for raw in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let raw = &raw[..raw.len().min(LONGEST)];
        if raw.bytes().any(|byte| byte.is_ascii_uppercase()) {
            found(&raw.to_ascii_lowercase(), position, TokenKind::Word);
        } else {
            found(raw, position, TokenKind::Word);
        }
        position += 1;
    }
    position
}

fn pairs(run: &str, mut position: usize, found: &mut impl FnMut(&str, usize, TokenKind)) -> usize {
    // A character is one with the marks on it.
    let starts = run.char_indices().filter(|(at, c)| *at == 0 || !is_combining_mark(*c)).map(|(at, _)| at);
    let bounds: Vec<usize> = starts.chain([run.len()]).collect();
    for window in bounds.windows(3) {
        found(&run[window[0]..window[2]], position, TokenKind::Pair);
        position += 1;
    }
    if let [.., last, end] = bounds[..] {
        found(&run[last..end], position, TokenKind::Last { alone: bounds.len() == 2 });
        position += 1;
    }
    position
}

fn cut(word: &str) -> &str {
    word.char_indices().nth(LONGEST).map_or(word, |(at, _)| &word[..at])
}

/// Compatibility forms decomposed, accents left out, what remains composed again and in lower case.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    // Of these, each stands for itself: without its accents nothing is left that would be composed again.
    if text.chars().all(|c| matches!(c, '\0'..='\u{24f}' | '\u{400}'..='\u{4ff}' | '\u{4e00}'..='\u{9fff}')) {
        for c in text.chars() {
            match c {
                '\0'..='\u{7f}' => folded.push(c.to_ascii_lowercase()),
                '\u{4e00}'..='\u{9fff}' => folded.push(c),
                _ => decompose_compatible(c, |c| lower(c, &mut folded)),
            }
        }
    } else {
        text.nfkd().filter(|c| !is_accent(*c)).nfc().for_each(|c| lower(c, &mut folded));
    }
    folded
}

/// Puts a character in lower case, without accents and for people who type it otherwise.
fn lower(c: char, folded: &mut String) {
    match c {
        'ß' | 'ẞ' => folded.push_str("ss"),
        'æ' | 'Æ' => folded.push_str("ae"),
        'œ' | 'Œ' => folded.push_str("oe"),
        'ø' | 'Ø' => folded.push('o'),
        'đ' | 'Đ' | 'ð' | 'Ð' => folded.push('d'),
        'ł' | 'Ł' => folded.push('l'),
        'þ' | 'Þ' => folded.push_str("th"),
        'ı' => folded.push('i'),
        'ς' => folded.push('σ'),
        c if is_accent(c) => {}
        c => folded.extend(c.to_lowercase().filter(|c| !is_accent(*c))),
    }
}

/// Marks that people leave out when they look for something: European accents, Arabic and Hebrew vowels, joiners.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{200b}'..='\u{200d}' | '\u{ad}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
}

fn class(c: char) -> Class {
    match c {
        // Thai to Myanmar; Khmer; kana; Han; Hangul, for its words carry their endings.
        '\u{e00}'..='\u{edf}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
            if c.is_alphabetic() || is_combining_mark(c) =>
        {
            Class::Dense
        }
        '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}' => Class::Sign,
        c if c.is_alphanumeric() || is_combining_mark(c) => Class::Word,
        _ => Class::Space,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn scripts_with_spaces_give_folded_words() {
        for (text, expected) in [
            ("Hello, WORLD! foo_bar 3.14", vec!["hello", "world", "foo", "bar", "3", "14"]),
            ("Crème brûlée à la Škoda", vec!["creme", "brulee", "a", "la", "skoda"]),
            ("Straße STRASSE ﬁne", vec!["strasse", "strasse", "fine"]),
            ("İstanbul ıstanbul", vec!["istanbul", "istanbul"]),
            ("ΟΔΟΣ οδός", vec!["οδοσ", "οδοσ"]),
            ("Привет Ёлка ёлка", vec!["привет", "елка", "елка"]),
            ("كِتَابٌ كتاب", vec!["كتاب", "كتاب"]),
            ("नमस्ते दुनिया", vec!["नमस्ते", "दुनिया"]),
            ("party 🎉🎉", vec!["party", "🎉", "🎉"]),
            ("ＡＢＣ １２３", vec!["abc", "123"]),
            ("... -- !?", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_give_pairs() {
        assert_eq!(words("東京都に"), ["東京", "京都", "都に", "に"]);
        assert_eq!(words("猫"), ["猫"]);
        assert_eq!(words("ｶﾞｷﾞ"), ["ガギ", "ギ"]);
        assert_eq!(words("한국어를 배워요"), ["한국", "국어", "어를", "를", "배워", "워요", "요"]);
        let thai = words("ที่นี่");
        assert_eq!(thai, ["ที่นี่", "นี่"], "marks stay with their characters");
        let mixed = tokens("go東京now");
        let seen: Vec<_> = mixed.iter().map(|t| (t.text.as_str(), t.position)).collect();
        assert_eq!(seen, [("go", 0), ("東京", 1), ("京", 2), ("now", 3)]);
        assert_eq!(mixed[2].kind, TokenKind::Last { alone: false });
    }

    proptest! {
        #[test]
        fn any_text_has_tokens_with_rising_places(text in "\\PC{0,80}") {
            let found = tokens(&text);
            prop_assert!(found.windows(2).all(|w| w[0].position + 1 == w[1].position));
            prop_assert!(found.iter().all(|t| !t.text.is_empty() && t.text.chars().count() <= 2 * LONGEST));
        }

        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,80}") {
            let once = words(&text).join(" ");
            let folded = fold(&once);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn the_short_way_folds_the_same(text in "[\\u{20}-\\u{24f}\\u{400}-\\u{4ff}\\u{4e00}-\\u{4e40}]{0,40}") {
            let mut long = String::new();
            text.nfkd().filter(|c| !is_accent(*c)).nfc().for_each(|c| lower(c, &mut long));
            prop_assert_eq!(fold(&text), long);
        }

        #[test]
        fn words_are_the_same_whatever_stands_beside_them(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            let together = words(&format!("{a} {b}"));
            prop_assert_eq!(together, [words(&a), words(&b)].concat());
        }

        #[test]
        fn ascii_is_read_the_same_on_both_ways(text in "[ -~]{0,60}") {
            let with = words(&format!("{text} é"));
            prop_assert_eq!(&with[..with.len() - 1], &words(&text)[..]);
        }
    }
}
