//! What anybody may send without being let in, and what those who are in may send.

use std::net::UdpSocket;

use crate::bare::{candidate, check};
use crate::caller::{Caller, offer_of, post};
use crate::packets::Bytes;
use crate::server::{ALL, Voice, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_every_kind_changes_nothing() {
    let mut voice = Voice::start(|_| {}).await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (a, b) = (Caller::join(&a, true, 8).await, Caller::join(&b, true, 8).await);
    a.say(1);
    until("it is heard", || b.times(1) > 10).await;
    let to = candidate(&a.answer);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut bytes = Bytes(0x9E37_79B9);
    for n in 0..20_000u32 {
        let mut datagram = bytes.some(1_200);
        // Each kind in turn: checks, handshakes, media, reports, anything.
        if let [first, second, ..] = datagram.as_mut_slice() {
            (*first, *second) = match n % 5 {
                0 => (0, 1),
                1 => (22, 254),
                2 => (0x90, 111),
                3 => (0x81, 200),
                _ => (*first, *second),
            };
        }
        if n % 10 == 0 && datagram.len() > 8 {
            datagram[4..8].copy_from_slice(&0x2112_A442u32.to_be_bytes());
        }
        let _ = socket.send_to(&datagram, to);
    }
    let before = b.times(1);
    until("it is still heard", || b.times(1) > before + 20).await;
    assert!(voice.metric("voice_packets_dropped_total") > 1_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_without_the_password_takes_nothing_over() {
    let mut voice = Voice::start(|_| {}).await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (a, b) = (Caller::join(&a, true, 8).await, Caller::join(&b, true, 8).await);
    a.say(1);
    until("it is heard", || b.times(1) > 10).await;
    let name = b.answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).expect("a name").to_owned();
    let thief = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    thief.set_nonblocking(true).expect("set");
    let (to, refused) = (candidate(&b.answer), voice.metric("voice_packets_dropped_total"));
    let provider = rtc::crypto::default_provider().expect("a provider");
    for _ in 0..50 {
        thief.send_to(&check(&*provider, &name, "not the password"), to).expect("sent");
    }
    until("they are refused", || voice.metric("voice_packets_dropped_total") >= refused + 50.0).await;
    let before = b.times(1);
    until("b goes on hearing", || b.times(1) > before + 20).await;
    let mut buffer = [0; 2_048];
    assert!(thief.recv_from(&mut buffer).is_err(), "nothing is sent to whom nobody knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said() {
    let mut voice = Voice::start(|_| {}).await;
    let admitted = voice.admit(5, 1, ALL).await;
    let http = reqwest::Client::new();
    let refused = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.expect("JSON");
        (status, body["message"].as_str().expect("a message").to_owned())
    };
    let url = admitted.url.as_str();
    let sdp = |request: reqwest::RequestBuilder| request.header("content-type", "application/sdp").body(offer_of(1));
    let (status, said) = refused(sdp(http.post(url))).await;
    assert!(status == 401 && said.contains("Bearer"), "{status} {said}");
    let (status, said) = refused(sdp(http.post(url).bearer_auth("nonsense"))).await;
    assert!(status == 401 && said.contains("not one of this server"), "{status} {said}");
    let other = url.replace("session-1", "session-2");
    let (status, said) = refused(sdp(http.post(other).bearer_auth(&admitted.token))).await;
    assert!(status == 401 && said.contains("another session"), "{status} {said}");
    let plain = http.post(url).bearer_auth(&admitted.token).header("content-type", "text/plain").body("v=0");
    let (status, said) = refused(plain).await;
    assert!(status == 415 && said.contains("application/sdp"), "{status} {said}");
    let long = http.post(url).bearer_auth(&admitted.token).header("content-type", "application/sdp");
    let (status, said) = refused(long.body("v".repeat(70_000))).await;
    assert!(status == 413 && said.contains("64 KiB"), "{status} {said}");
    let no_print = offer_of(1).lines().filter(|l| !l.starts_with("a=fingerprint")).collect::<Vec<_>>().join("\r\n");
    let bad = http.post(url).bearer_auth(&admitted.token).header("content-type", "application/sdp").body(no_print);
    let (status, said) = refused(bad).await;
    assert!(status == 400 && said.contains("a=fingerprint"), "{status} {said}");
    // None of that has cost the token.
    assert_eq!(post(&admitted, offer_of(1)).await.status(), 201);
}
