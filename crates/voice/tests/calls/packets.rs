//! Single packets: what becomes of each, from clients that are let in and do not behave.

use crate::bare::{Bare, Connected, OPUS, RED};
use crate::caller::post;
use crate::server::{ALL, Voice, until};

/// The same bytes each time.
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    pub(crate) fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }

    pub(crate) fn some(&mut self, most: usize) -> Vec<u8> {
        let length = (usize::from(self.next()) << 8 | usize::from(self.next())) % most;
        (0..length).map(|_| self.next()).collect()
    }
}

pub(crate) async fn join(voice: &mut Voice, user: u64, slots: usize) -> Connected {
    let admitted = voice.admit(7, user, ALL).await;
    let bare = Bare::new(user as u32 + 100);
    let answer = post(&admitted, bare.offer(slots)).await;
    assert_eq!(answer.status(), 201);
    let answer = answer.text().await.expect("an answer");
    tokio::task::spawn_blocking(move || bare.connect(&answer)).await.expect("connected")
}

/// Redundant audio (RFC 2198): the frame before, then the own one.
fn redundant(before: &[u8], own: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x80 | OPUS, (960u16 >> 6) as u8, ((960u16 & 0x3f) << 2) as u8, before.len() as u8, OPUS];
    payload.extend_from_slice(before);
    payload.extend_from_slice(own);
    payload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_lost_on_its_way_is_found_in_the_next() {
    let mut voice = Voice::start(|_| {}).await;
    let (mut a, mut b) = (join(&mut voice, 1, 1).await, join(&mut voice, 2, 1).await);
    a.say(RED, 10, 9_600, &redundant(b"frame 9", b"frame 10"));
    // 11 and 12 are lost; 12 is found in 13, 11 is not.
    a.say(RED, 13, 12_480, &redundant(b"frame 12", b"frame 13"));
    a.say(RED, 14, 13_440, &redundant(b"frame 13", b"frame 14"));
    let heard: Vec<(u16, Vec<u8>)> =
        std::iter::from_fn(|| b.hear().map(|(_, sequence, payload)| (sequence, payload))).collect();
    let expected =
        [(10, b"frame 10"), (12, b"frame 12"), (13, b"frame 13"), (14, b"frame 14")].map(|(n, p)| (n, p.to_vec()));
    assert_eq!(heard, expected);
    until("it is counted", || voice.metric("voice_packets_recovered_total") == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_packet_is_heard_once_and_another_source_not_at_all() {
    let mut voice = Voice::start(|_| {}).await;
    let (mut a, mut b) = (join(&mut voice, 1, 1).await, join(&mut voice, 2, 1).await);
    let packet = {
        let mut packet = vec![0x80, OPUS, 0, 10, 0, 0, 0, 0];
        packet.extend_from_slice(&a.ssrc.to_be_bytes());
        packet.extend_from_slice(b"once");
        a.outbound.encrypt_rtp(&packet).expect("encrypted")
    };
    for _ in 0..5 {
        a.socket.send_to(&packet, a.server).expect("sent");
    }
    let announced = std::mem::replace(&mut a.ssrc, 4_711);
    a.say(OPUS, 11, 960, b"somebody else");
    a.ssrc = announced;
    a.say(OPUS, 12, 1_920, b"end");
    let heard: Vec<Vec<u8>> = std::iter::from_fn(|| b.hear().map(|(_, _, payload)| payload)).collect();
    assert_eq!(heard, [b"once".to_vec(), b"end".to_vec()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_one_who_is_let_in_sends_the_others_go_on() {
    let mut voice = Voice::start(|_| {}).await;
    let (mut a, mut b) = (join(&mut voice, 1, 2).await, join(&mut voice, 2, 2).await);
    let mut rogue = join(&mut voice, 3, 2).await;
    b.socket.set_read_timeout(Some(std::time::Duration::from_millis(2))).expect("a timeout");
    let mut bytes = Bytes(0x1234_5678_9abc_def1);
    for n in 0..6_000u32 {
        let mut packet = bytes.some(300);
        packet.resize(packet.len().max(16), 0);
        match n % 5 {
            // Media of its own source with anything in it, some of it as redundant audio.
            0 | 1 => {
                packet[0] = 0x80 | (packet[0] & 0x3f);
                packet[1] = if n % 2 == 0 { OPUS } else { RED };
                packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                packet[8..12].copy_from_slice(&rogue.ssrc.to_be_bytes());
                rogue.send_rtp(&packet);
            }
            // Reports with anything in them, of ever new sources.
            2 => {
                (packet[0], packet[1]) = (0x80 | (packet[0] & 0x1f), 200 + packet[1] % 8);
                rogue.send_rtcp(&packet);
            }
            // What is not even encrypted, and handshakes.
            3 => {
                packet[0] = 20 + packet[0] % 6;
                rogue.socket.send_to(&packet, rogue.server).expect("sent");
            }
            _ => {
                packet[0] |= 0x80;
                rogue.socket.send_to(&packet, rogue.server).expect("sent");
            }
        }
        if n % 50 == 0 {
            a.say(OPUS, (n / 50) as u16, n / 50 * 960, b"all is well");
            // Not more than the sockets hold.
            while b.hear().is_some() {}
        }
    }
    // What is said at last may be lost in the flood, but not all the time.
    let last = (120..320u32).any(|n| {
        a.say(OPUS, n as u16, n * 960, b"the last");
        std::iter::from_fn(|| b.hear()).any(|(_, _, payload)| payload == b"the last")
    });
    assert!(last, "a is not heard any more");
    until("what the rogue sent is counted", || voice.metric("voice_packets_dropped_total") > 2_000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_ice_session_takes_over_and_the_way_may_change() {
    let mut voice = Voice::start(|_| {}).await;
    let admitted = voice.admit(7, 1, ALL).await;
    let bare = Bare::new(101);
    let answer = post(&admitted, bare.offer(1)).await;
    let etag = answer.headers()["etag"].to_str().expect("text").to_owned();
    let answer = answer.text().await.expect("an answer");
    let mut a = tokio::task::spawn_blocking(move || bare.connect(&answer)).await.expect("connected");
    let mut b = join(&mut voice, 2, 1).await;
    let patch = async |matched: &str, body: &str| {
        let request = reqwest::Client::new().patch(&admitted.url).bearer_auth(&admitted.token);
        let request = request.header("content-type", "application/trickle-ice-sdpfrag").header("if-match", matched);
        let answer = request.body(body.to_owned()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    let fragment = "a=ice-ufrag:anew\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    assert_eq!(patch("\"other\"", fragment).await.0, 412);
    assert_eq!(patch(&etag, "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n").await.0, 204);
    let (status, anew) = patch("*", fragment).await;
    assert_eq!(status, 200);
    let value = |name: &str| anew.lines().find_map(|line| line.strip_prefix(name)).expect("in the fragment").to_owned();
    (a.ufrag, a.pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    // From another port, as after a change of networks; the keys stay.
    a.socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    a.socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    a.check();
    let mut buffer = [0; 512];
    let (length, _) = a.socket.recv_from(&mut buffer).expect("an answer");
    assert!(length > 20 && buffer[..2] == [1, 1]);
    a.say(OPUS, 1, 960, b"from elsewhere");
    assert_eq!(b.hear().map(|heard| heard.2), Some(b"from elsewhere".to_vec()));
    b.say(OPUS, 1, 960, b"to elsewhere");
    assert_eq!(a.hear().map(|heard| heard.2), Some(b"to elsewhere".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_is_reached_over_both_families() {
    let both = |config: &mut clarion_voice::Config| {
        config.udp = Some("[::]:0".parse().expect("an address"));
        config.advertise = vec!["127.0.0.1".parse().expect("an address"), "::1".parse().expect("an address")];
    };
    let mut voice = Voice::start(both).await;
    let mut four = join(&mut voice, 1, 1).await;
    assert!(four.server.is_ipv4());
    let admitted = voice.admit(7, 2, ALL).await;
    let bare = Bare::new(102);
    let answer = post(&admitted, bare.offer(1)).await.text().await.expect("an answer");
    // As a client that has IPv6 alone.
    let answer: String =
        answer.lines().filter(|l| !l.starts_with("a=candidate:1 ")).map(|l| l.to_owned() + "\r\n").collect();
    let mut six = tokio::task::spawn_blocking(move || bare.connect(&answer)).await.expect("connected");
    assert!(six.server.is_ipv6());
    four.say(OPUS, 1, 960, b"from four");
    assert_eq!(six.hear().map(|heard| heard.2), Some(b"from four".to_vec()));
    six.say(OPUS, 1, 960, b"from six");
    assert_eq!(four.hear().map(|heard| heard.2), Some(b"from six".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_is_dismissed_is_told_and_its_token_is_void() {
    let mut voice = Voice::start(|_| {}).await;
    let mut a = join(&mut voice, 1, 1).await;
    voice.dismiss(7, 1).await;
    assert!(a.is_ended());
    until("it is gone", || voice.metric("voice_users_active") == 0.0).await;
}
