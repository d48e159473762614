//! What one emoji is: a grapheme cluster that begins with a pictograph, a keycap, or a pair of regional indicators.

use std::ops::RangeInclusive;

/// Longest sequence of characters that is one emoji: a family, or a flag with its tags.
const CHARS: usize = 16;

const JOINER: char = '\u{200d}';
/// Asks for the look of a picture. With or without it, it is the same emoji.
const PICTURE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const REGIONAL: RangeInclusive<char> = '\u{1f1e6}'..='\u{1f1ff}';
const SKIN: RangeInclusive<char> = '\u{1f3fb}'..='\u{1f3ff}';
const TAG: RangeInclusive<char> = '\u{e0020}'..='\u{e007e}';
const TAGS_END: char = '\u{e007f}';

/// Emoji that stand alone or nearly so among other characters.
const SINGLE: &str = "\
    ©®‼⁉™ℹ↔↕↖↗↘↙↩↪⌚⌛⌨⏏⏩⏪⏫⏬⏭⏮⏯⏰⏱⏲⏳⏸⏹⏺Ⓜ▪▫▶◀◻◼◽◾☀☁☂☃☄☎☑☔☕\
    ☘☝☠☢☣☦☪☮☯☸☹☺♀♂♈♉♊♋♌♍♎♏♐♑♒♓♟♠♣♥♦♨♻♾♿⚒⚓⚔⚕⚖⚗⚙⚛⚜⚠⚡⚧⚪⚫⚰\
    ⚱⚽⚾⛄⛅⛈⛎⛏⛑⛓⛔⛩⛪⛰⛱⛲⛳⛴⛵⛷⛸⛹⛺⛽✂✅✈✉✊✋✌✍✏✒✔✖✝✡✨✳✴❄❇❌❎❓❔❕❗❣\
    ❤➕➖➗➡➰➿⤴⤵⬅⬆⬇⬛⬜⭐⭕〰〽㊗㊙🀄🃏🅰🅱🅾🅿🆎🈁🈂🈚🈯🉐🉑🎖🎗🎙🎚🎛🏳🏴🏵🕯🕰🖇🖐🖕🖖🖤🖥🖨\
    🖱🖲🖼🗂🗃🗄🗑🗒🗓🗜🗝🗞🗡🗣🗨🗯🗳🛩🛫🛬🛰🟰\
";
/// Stretches of emoji. The last is kept for those to come.
const STRETCHES: [RangeInclusive<char>; 22] = [
    '\u{1f191}'..='\u{1f19a}',
    '\u{1f232}'..='\u{1f23a}',
    '\u{1f300}'..='\u{1f321}',
    '\u{1f324}'..='\u{1f393}',
    '\u{1f39e}'..='\u{1f3f0}',
    '\u{1f3f7}'..='\u{1f4fd}',
    '\u{1f4ff}'..='\u{1f53d}',
    '\u{1f549}'..='\u{1f54e}',
    '\u{1f550}'..='\u{1f567}',
    '\u{1f573}'..='\u{1f57a}',
    '\u{1f58a}'..='\u{1f58d}',
    '\u{1f5fa}'..='\u{1f64f}',
    '\u{1f680}'..='\u{1f6c5}',
    '\u{1f6cb}'..='\u{1f6d2}',
    '\u{1f6d5}'..='\u{1f6d8}',
    '\u{1f6dc}'..='\u{1f6e5}',
    '\u{1f6f3}'..='\u{1f6fc}',
    '\u{1f7e0}'..='\u{1f7eb}',
    '\u{1f90c}'..='\u{1f93a}',
    '\u{1f93c}'..='\u{1f945}',
    '\u{1f947}'..='\u{1f9ff}',
    '\u{1fa70}'..='\u{1faff}',
];

/// Whether two texts are the same emoji.
pub(super) fn same(a: &str, b: &str) -> bool {
    let bare = |text: &'_ str| text.chars().filter(|c| *c != PICTURE).collect::<String>();
    a == b || bare(a) == bare(b)
}

/// Whether a text is one emoji and nothing else.
pub(super) fn is_one(text: &str) -> bool {
    let chars: Vec<char> = text.chars().take(CHARS + 1).collect();
    match chars[..] {
        ['0'..='9' | '#' | '*', KEYCAP] | ['0'..='9' | '#' | '*', PICTURE, KEYCAP] => true,
        [first, second] if REGIONAL.contains(&first) => REGIONAL.contains(&second),
        _ => chars.len() <= CHARS && chars.split(|c| *c == JOINER).all(is_element),
    }
}

/// A pictograph with what changes its look.
fn is_element(chars: &[char]) -> bool {
    let [first, rest @ ..] = chars else { return false };
    let rest = rest.strip_prefix(&[PICTURE]).unwrap_or(rest);
    let rest = match rest {
        [skin, rest @ ..] if SKIN.contains(skin) && !SKIN.contains(first) => rest,
        _ => rest,
    };
    let tagged = || matches!(rest, [tags @ .., TAGS_END] if !tags.is_empty() && tags.iter().all(|c| TAG.contains(c)));
    is_pictograph(*first) && (rest.is_empty() || tagged())
}

fn is_pictograph(c: char) -> bool {
    STRETCHES.iter().any(|stretch| stretch.contains(&c)) || SINGLE.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_is_one() {
        for one in [
            "👍",
            "👍🏽",
            "☝🏽",
            "☝\u{fe0f}🏽",
            "❤",
            "❤️",
            "❤️‍🔥",
            "👨‍👩‍👧‍👦",
            "👩🏻‍❤️‍💋‍👨🏿",
            "👁️‍🗨️",
            "🏳️‍🌈",
            "🏳️‍⚧️",
            "🏴‍☠️",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "🇨🇭",
            "#️⃣",
            "1\u{20e3}",
            "*️⃣",
            "©",
            "™️",
            "ℹ️",
            "Ⓜ️",
            "🅰️",
            "㊙️",
            "🀄",
            "🫠",
            "🛜",
            "🏽",
            "🧑‍🧑‍🧒‍🧒",
        ] {
            assert!(is_one(one), "{one} {:?}", one.chars().collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_else_is_not() {
        for other in [
            "",
            "a",
            "1",
            "#",
            "ö",
            "日",
            "👍👍",
            "👍 ",
            " 👍",
            "👍a",
            "a👍",
            "🇨",
            "🇨🇭🇨",
            "🇨🇭🇩🇪",
            "🇨a",
            "❤❤️",
            "11\u{20e3}",
            "👍\u{20e3}",
            "\u{200d}",
            "👍\u{200d}",
            "\u{200d}👍",
            "👍\u{200d}\u{200d}👍",
            "\u{fe0f}",
            "❤\u{fe0f}\u{fe0f}",
            "❤\u{fe0e}",
            "🏽🏽",
            "👍🏽🏽",
            "🏴\u{e0067}",
            "🏴\u{e007f}",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "✗",
            "☐",
            "👍\u{301}",
            "👍\n",
        ] {
            assert!(!is_one(other), "{other} {:?}", other.chars().collect::<Vec<_>>());
        }
        assert!(!is_one(&["👍"; 9].join("\u{200d}")));
    }

    #[test]
    fn looks_do_not_matter() {
        assert!(same("❤", "❤\u{fe0f}") && same("#\u{fe0f}\u{20e3}", "#\u{20e3}") && same("👍", "👍"));
        assert!(!same("👍", "👍🏽") && !same("👍", "👎"));
    }
}
