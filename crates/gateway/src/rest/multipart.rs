//! `multipart/form-data`, as far as the API needs it: whole bodies, taken apart. Pure.

/// Most parts of a body.
const PARTS: usize = 32;
/// Longest boundary there is.
const BOUNDARY: usize = 70;

/// One part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) is_file: bool,
    pub(super) data: &'a [u8],
}

/// What stands between the parts, if a content type is a multipart one.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| (1..=BOUNDARY).contains(&boundary.len()))
}

/// The parts of a body; `None` if it is not complete.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let between = format!("\r\n--{boundary}");
    // The first boundary may stand at the very beginning.
    let first = between.trim_start().as_bytes();
    let mut rest = if body.starts_with(first) { &body[first.len()..] } else { after(body, between.as_bytes())?.1 };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        if parts.len() == PARTS {
            return None;
        }
        let (_, behind_line) = after(rest, b"\r\n")?;
        // A part without headers has no name and is no field.
        let (head, behind_head) = match behind_line.strip_prefix(b"\r\n") {
            Some(behind) => (&b""[..], behind),
            None => after(behind_line, b"\r\n\r\n")?,
        };
        let (data, next) = if behind_head.starts_with(first) {
            (&b""[..], &behind_head[first.len()..])
        } else {
            after(behind_head, between.as_bytes())?
        };
        let (name, is_file) = disposition(&String::from_utf8_lossy(head));
        parts.push(Part { name, is_file, data });
        rest = next;
    }
    Some(parts)
}

/// What is before and what is behind the first occurrence of something.
fn after<'a>(body: &'a [u8], what: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = body.windows(what.len()).position(|window| window == what)?;
    Some((&body[..at], &body[at + what.len()..]))
}

fn disposition(head: &str) -> (String, bool) {
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let parameters = line.and_then(|line| line.split_once(';')).map_or("", |(_, parameters)| parameters);
    let is_file = parameter(parameters, "filename").or_else(|| parameter(parameters, "filename*")).is_some();
    (parameter(parameters, "name").unwrap_or_default(), is_file)
}

/// A parameter of a header, with or without quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, next) = behind.split_once(';').unwrap_or((behind, ""));
                (value.trim().to_owned(), next)
            }
        };
        if name.trim_start_matches([';', ' ', '\t']).trim_end().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next;
    }
}

/// A quoted text up to its closing quote, and what is behind that.
fn unquote(quoted: &str) -> (String, &str) {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_is_taken_apart() {
        let kind = "multipart/form-data; charset=x; boundary=\"a b\"";
        assert_eq!(boundary(kind).as_deref(), Some("a b"));
        assert_eq!(boundary("multipart/form-data; boundary=xyz").as_deref(), Some("xyz"));
        for none in ["application/json", "multipart/form-data", "multipart/mixed; boundary=x"] {
            assert_eq!(boundary(none), None);
        }
        let body = concat!(
            "--xyz\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n",
            "{\"content\":\"--xyz\"}\r\n--xyz\r\ncontent-disposition: form-data; name=\"files[0]\"; filename=\"a\\\"b.txt\"",
            "\r\n\r\nline\r\nline\r\n--xyz\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--xyz--\r\n",
        );
        let part = |name: &str, is_file, data| Part { name: name.into(), is_file, data };
        let expected = vec![
            part("payload_json", false, &b"{\"content\":\"--xyz\"}"[..]),
            part("files[0]", true, b"line\r\nline"),
            part("empty", false, b""),
        ];
        assert_eq!(parts(body.as_bytes(), "xyz"), Some(expected));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ndata\r\n--x--";
        assert!(parts(body.as_bytes(), "x").is_some());
        for end in 0..body.len() {
            assert_eq!(parts(&body.as_bytes()[..end], "x"), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body in "(--x|\r\n|[a-z:;=\" ]|Content-Disposition: form-data; name=){0,60}", kind in ".{0,60}") {
            parts(body.as_bytes(), "x");
            boundary(&kind);
            boundary(&format!("multipart/form-data;{kind}"));
        }
    }
}
