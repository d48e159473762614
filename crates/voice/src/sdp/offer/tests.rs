//! Offers as browsers and libraries write them, and what is refused.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::sdp::{Candidates, Local, Plan, answer};

const PRINT: &str = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89";

/// One section that sends and `receiving` that receive, as a browser writes them.
fn browser(receiving: usize) -> String {
    let mids: Vec<String> = (0..=receiving).map(|n| n.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=extmap-allow-mixed\r\n",
        mids.join(" ")
    );
    for n in 0..=receiving {
        let direction = if n == 0 { "sendonly" } else { "recvonly" };
        sdp += &format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901+/\r\na=ice-options:trickle\r\n\
            a=fingerprint:sha-256 {PRINT}\r\na=setup:actpass\r\na=mid:{n}\r\n\
            a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a={direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
            a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n"
        );
        if n == 0 {
            sdp += "a=ssrc:777 cname:x\r\na=ssrc:777 msid:- y\r\n";
        }
    }
    sdp
}

fn local(candidates: &Candidates) -> Local<'_> {
    Local { ufrag: "srv", pwd: "secret", fingerprint: PRINT, candidates, id: 5, red: true }
}

fn answered(offer: &str) -> (Plan, String) {
    let offer = parse(offer).expect("a good offer");
    let mut next = 100;
    let plan = Plan::of(&offer, || {
        next += 1;
        next
    });
    let at = vec![SocketAddr::from(([192, 0, 2, 1], 8_791))];
    let text = answer(&offer, &plan, &local(&Candidates { udp: at.clone(), tcp: at }));
    (plan, text)
}

#[test]
fn a_browser_that_speaks_and_hears_eight() {
    let offer = parse(&browser(8)).expect("a good offer");
    assert_eq!((offer.ufrag.as_str(), offer.fingerprint[0], offer.media.len()), ("abcd", 0xAB, 9));
    let voice = &offer.media[0];
    assert_eq!((voice.opus, voice.red, voice.level), (Some(111), Some(63), Some(1)));
    assert_eq!((voice.direction, voice.sources.as_slice()), (Direction::SendOnly, &[777][..]));
    let (plan, answer) = answered(&browser(8));
    assert_eq!((plan.publishes, plan.streams.len()), (Some(0), 8));
    assert_eq!(answer.matches("a=candidate:1 1 udp").count(), 9, "in every section");
    assert_eq!(answer.matches("a=sendonly").count(), 8);
    assert_eq!(answer.matches("usedtx=1").count(), 1, "asked of the one who speaks");
    assert!(answer.contains("m=audio 8791 UDP/TLS/RTP/SAVPF 63 111\r\n"), "redundant audio first:\n{answer}");
    assert!(answer.contains("a=ice-lite\r\n") && answer.contains("a=setup:passive\r\n"));
    assert!(!answer.contains("1 2 udp") && !answer.contains("1 2 tcp"), "one component");
    assert_eq!(answer.matches(" 192.0.2.1 8791 typ host tcptype passive\r\n").count(), 9, "in every section");
    assert!(answer.contains("a=group:BUNDLE 0 1 2 3 4 5 6 7 8\r\n"));
}

#[test]
fn each_way_over_udp_is_better_than_all_over_tcp() {
    let at = |last| SocketAddr::from(([192, 0, 2, last], 8_791));
    let both = Candidates { udp: vec![at(1), at(2)], tcp: vec![at(3), at(4)] };
    let offer = parse(&browser(0)).expect("a good offer");
    let answer = answer(&offer, &Plan::of(&offer, || 1), &local(&both));
    let lines: Vec<Vec<&str>> =
        answer.lines().filter_map(|l| Some(l.strip_prefix("a=candidate:")?.split(' ').collect())).collect();
    let ways: Vec<(&str, &str)> = lines.iter().map(|words| (words[2], words[4])).collect();
    assert_eq!(ways, [("udp", "192.0.2.1"), ("udp", "192.0.2.2"), ("tcp", "192.0.2.3"), ("tcp", "192.0.2.4")]);
    let priorities: Vec<u32> = lines.iter().map(|words| words[3].parse().expect("a number")).collect();
    assert!(priorities.is_sorted_by(|a, b| a > b), "{priorities:?}");
    let foundations: std::collections::BTreeSet<&str> = lines.iter().map(|words| words[0]).collect();
    assert_eq!(foundations.len(), 4, "each its own: they are found out by themselves");
}

#[test]
fn more_sections_than_slots_are_inactive() {
    let (plan, answer) = answered(&browser(10));
    assert_eq!(plan.streams.len(), 8);
    assert_eq!(answer.matches("a=inactive").count(), 2);
}

#[test]
fn one_section_both_ways() {
    let (plan, answer) = answered(&browser(0).replace("a=sendonly", "a=sendrecv"));
    assert_eq!((plan.publishes, plan.streams.len()), (Some(0), 1));
    assert!(answer.contains("a=sendrecv\r\n") && answer.contains("a=ssrc:101 cname:clarion\r\n"));
}

#[test]
fn what_is_not_audio_is_rejected_in_its_place() {
    let with_more = browser(0).replace("BUNDLE 0", "BUNDLE 0 d v")
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\na=sctp-port:5000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=rtpmap:98 VP8/90000\r\na=recvonly\r\n";
    let (_, answer) = answered(&with_more);
    let data = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\na=sctp-port:5000\r\na=inactive\r\n";
    let video =
        "m=video 0 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=rtpmap:98 VP8/90000\r\na=inactive\r\n";
    assert!(answer.contains(data) && answer.contains(video), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 0\r\n"));
    // werift takes what it needs of the transport from the top where a section does not say it.
    let top = answer.split("m=").next().expect("a top");
    assert!(top.contains("a=ice-ufrag:srv\r\na=ice-pwd:secret\r\n") && top.contains("a=setup:passive\r\n"), "{answer}");
}

#[test]
fn what_is_wrong_is_said() {
    let good = browser(1);
    for (from, to, error) in [
        ("v=0", "hello", OfferError::NotSdp),
        ("s=-", "nonsense", OfferError::Line(3)),
        ("opus/48000/2", "speex/8000", OfferError::NoAudio),
        ("a=group:BUNDLE", "a=group:LS", OfferError::NoBundle),
        ("a=mid:1", "a=mid:0", OfferError::Mid(2)),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:a", OfferError::Ice),
        ("a=ice-pwd:0123456789012345678901+/", "a=ice-pwd:short", OfferError::Ice),
        (PRINT, "AB:CD", OfferError::Fingerprint),
        ("a=setup:actpass", "a=setup:passive", OfferError::Setup),
        ("a=rtcp-mux", "a=x", OfferError::Mux(1)),
    ] {
        assert_eq!(parse(&good.replace(from, to)), Err(error), "{from}");
    }
    let many = good.clone() + &"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(40);
    assert_eq!(parse(&many), Err(OfferError::TooManySections));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", at in 0usize..1_000, with in "[ -~\\r\\n]{0,12}") {
        let _ = parse(&text);
        let _ = parse(&format!("v=0\r\n{text}"));
        let mut offer = browser(1);
        let at = at.min(offer.len());
        if offer.is_char_boundary(at) {
            offer.insert_str(at, &with);
        }
        if let Ok(offer) = parse(&offer) {
            let plan = Plan::of(&offer, || 1);
            let _ = answer(&offer, &plan, &local(&Candidates::default()));
        }
    }
}
