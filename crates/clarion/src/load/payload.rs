//! Reading what a gateway says, as little of it as is needed. Pure.
//!
//! Nearly all that a socket of a load run gets are new messages, and of each of them three values are wanted. They are cut
//! out of the text where it has the form that gateways write; whatever looks different is read as JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Payload<'a> {
    /// A new message.
    Message {
        /// The number of the dispatch.
        sequence: u64,
        /// The message's id.
        id: u64,
        /// Where.
        channel: u64,
        /// What it says.
        content: Cow<'a, str>,
    },
    /// Another dispatch: its number, its name, its data.
    Dispatch(u64, Cow<'a, str>, &'a str),
    /// Another opcode with its data.
    Op(u64, &'a str),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    op: u64,
    #[serde(default)]
    s: Option<u64>,
    #[serde(borrow, default)]
    t: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    channel_id: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// Reads a payload; `None` when it is none.
pub(super) fn read(text: &str) -> Option<Payload<'_>> {
    message(text).or_else(|| any_payload(text))
}

/// A new message in the form in which gateways write it.
fn message(text: &str) -> Option<Payload<'_>> {
    let rest = text.strip_prefix(r#"{"op":0,"s":"#)?;
    let (sequence, rest) = rest.split_once(',')?;
    let rest = rest.strip_prefix(r#""t":"MESSAGE_CREATE","d":{"id":""#)?;
    let (id, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once(r#""channel_id":""#)?;
    let (channel, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once(r#""content":""#)?;
    let end = rest.bytes().position(|b| b == b'"' || b == b'\\').filter(|end| rest.as_bytes()[*end] == b'"')?;
    let content = Cow::Borrowed(&rest[..end]);
    Some(Payload::Message {
        sequence: sequence.parse().ok()?,
        id: id.parse().ok()?,
        channel: channel.parse().ok()?,
        content,
    })
}

fn any_payload(text: &str) -> Option<Payload<'_>> {
    let Envelope { op, s, t, d } = serde_json::from_str(text).ok()?;
    let d = d.map_or("null", RawValue::get);
    match (op, s, t) {
        (0, Some(sequence), Some(name)) if name == "MESSAGE_CREATE" => {
            let message: Message<'_> = serde_json::from_str(d).ok()?;
            let (id, channel) = (message.id.parse().ok()?, message.channel_id.parse().ok()?);
            Some(Payload::Message { sequence, id, channel, content: message.content })
        }
        (0, Some(sequence), Some(name)) => Some(Payload::Dispatch(sequence, name, d)),
        (0, ..) => None,
        (op, ..) => Some(Payload::Op(op, d)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WRITTEN: &str = r#"{"op":0,"s":12,"t":"MESSAGE_CREATE","d":{"id":"77","type":0,"channel_id":"5","author":{"id":"9","username":"a"},"content":"CONTENT","timestamp":"t","tts":false,"member":{"nick":"content"}}}"#;

    #[test]
    fn other_payloads_are_told_apart() {
        assert_eq!(read(r#"{"op":11}"#), Some(Payload::Op(11, "null")));
        assert_eq!(read(r#"{"op":9,"d":false,"s":null,"t":null}"#), Some(Payload::Op(9, "false")));
        let ready = read(r#"{"t":"READY","s":1,"op":0,"d":{"v":10}}"#);
        assert_eq!(ready, Some(Payload::Dispatch(1, "READY".into(), r#"{"v":10}"#)));
        for bad in ["", "[]", "{}", r#"{"op":0}"#, r#"{"op":0,"s":1,"t":"MESSAGE_CREATE","d":{}}"#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_of_reading_agree(content in ".{0,40}") {
            let quoted = serde_json::to_string(&content).expect("text");
            let text = WRITTEN.replace(r#""CONTENT""#, &quoted);
            let slow = any_payload(&text);
            prop_assert!(message(&text).is_none_or(|fast| Some(fast) == slow));
            prop_assert_eq!(read(&text), Some(Payload::Message { sequence: 12, id: 77, channel: 5, content: content.into() }));
        }

        #[test]
        fn nothing_breaks_it(text in ".{0,120}", cut in 0usize..200) {
            let _ = read(&text);
            let _ = read(WRITTEN.get(..cut).unwrap_or_default());
        }
    }
}
