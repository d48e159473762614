//! Clients whose network lets no datagram through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::bare::{Bare, Connected, OPUS, candidate};
use crate::caller::post;
use crate::packets::{Bytes, join};
use crate::server::{ALL, Voice, until};
use crate::tunnel::{Tunnel, passive};

/// Longest wait for a packet.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client that came in over UDP.
async fn join_over_udp(voice: &mut Voice, user: u64) -> Connected {
    let connected = join(voice, user, 1).await;
    connected.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    connected
}

/// A client that came in over TCP, its way, and where the server's datagrams would have gone.
async fn join_over_tcp(voice: &mut Voice, user: u64) -> (Connected, Tunnel, SocketAddr) {
    let admitted = voice.admit(7, user, ALL).await;
    let bare = Bare::new(user as u32 + 100);
    let answer = post(&admitted, bare.offer(1)).await.text().await.expect("an answer");
    let tunnel = Tunnel::open(passive(&answer).expect("a way over TCP"));
    let only = tunnel.only(&answer);
    let connected = tokio::task::spawn_blocking(move || bare.connect(&only)).await.expect("connected");
    connected.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    (connected, tunnel, candidate(&answer))
}

fn hears(client: &mut Connected) -> Option<Vec<u8>> {
    client.hear().map(|(_, _, payload)| payload)
}

/// Those whose media goes over a transport, as it is shown.
fn legs(voice: &Voice, transport: &str) -> f64 {
    let text = voice.capture.process().render_metrics();
    let label = format!("transport=\"{transport}\"");
    let line = text.lines().find(|line| line.starts_with("voice_legs{") && line.contains(&label)).expect("a line");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// What the lines of an event say, the oldest first.
fn said(voice: &Voice, event: &str, session: &str) -> Vec<String> {
    let lines = voice.capture.lines_of(event).into_iter().filter(|line| line["session_id"] == session);
    lines.map(|line| line["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_over_tcp_is_heard_and_hears_and_it_is_said_so() {
    let mut voice = Voice::start(|_| {}).await;
    let mut a = join_over_udp(&mut voice, 1).await;
    let (mut b, _tunnel, _) = join_over_tcp(&mut voice, 2).await;
    for n in 1..=50u16 {
        a.say(OPUS, n, u32::from(n) * 960, b"over UDP");
        assert_eq!(hears(&mut b).as_deref(), Some(&b"over UDP"[..]));
        b.say(OPUS, n, u32::from(n) * 960, b"over TCP");
        assert_eq!(hears(&mut a).as_deref(), Some(&b"over TCP"[..]));
    }
    until("it is counted", || (legs(&voice, "udp"), legs(&voice, "tcp")) == (1.0, 1.0)).await;
    assert_eq!(voice.metric("voice_tcp_connections"), 1.0);
    assert_eq!((said(&voice, "voice.joined", "session-1"), said(&voice, "voice.joined", "session-2")), {
        let one = |transport: &str| vec![transport.to_owned()];
        (one("udp"), one("tcp"))
    });
    let carried = |session: &str| {
        let is_it = |name: &str, value: &serde_json::Value, what: &str| value["attributes"][name] == what;
        let spans = voice.capture.spans().into_iter().filter(|span| span.name == "voice.join");
        let spans = spans.map(|span| serde_json::to_value(span).expect("JSON"));
        let found: Vec<_> = spans.filter(|span| is_it("session_id", span, session)).collect();
        found.first().map(|span| span["attributes"]["transport"].clone())
    };
    assert_eq!((carried("session-1"), carried("session-2")), (Some("udp".into()), Some("tcp".into())));
    voice.dismiss(7, 2).await;
    assert!(b.is_ended(), "it is told");
    until("nothing is left of it", || voice.metric("voice_tcp_connections") == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_follows_from_tcp_to_udp_and_back() {
    let mut voice = Voice::start(|_| {}).await;
    let mut a = join_over_udp(&mut voice, 1).await;
    let (mut b, tunnel, udp) = join_over_tcp(&mut voice, 2).await;
    let mut n = 0;
    let mut a_is_heard = |a: &mut Connected, b: &mut Connected| {
        n += 1;
        let said = format!("packet {n}").into_bytes();
        a.say(OPUS, n, u32::from(n) * 960, &said);
        assert_eq!(hears(b), Some(said));
    };
    a_is_heard(&mut a, &mut b);
    // From the same socket; the server sees an address and a connection.
    let tcp = std::mem::replace(&mut b.server, udp);
    b.check();
    until("it goes over UDP", || legs(&voice, "tcp") == 0.0).await;
    a_is_heard(&mut a, &mut b);
    until("that is said", || said(&voice, "voice.transport_changed", "session-2") == ["udp"]).await;
    assert_eq!(voice.metric("voice_tcp_connections"), 1.0, "the other way is still there");
    b.server = tcp;
    b.check();
    until("it goes over TCP", || legs(&voice, "tcp") == 1.0).await;
    a_is_heard(&mut a, &mut b);
    // The way in use breaks: nothing is sent until there is another one.
    drop(tunnel);
    until("it is closed", || voice.metric("voice_tcp_connections") == 0.0).await;
    b.server = udp;
    b.check();
    until("it goes over UDP", || legs(&voice, "udp") == 2.0).await;
    a_is_heard(&mut a, &mut b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_connection_and_does_not_come_back_is_gone_in_the_usual_time() {
    let mut voice = Voice::start(|config| (config.quiet_ms, config.vanish_ms) = (1_000, 2_000)).await;
    let mut notices = voice.attend().await;
    // It was heard of last after this.
    let since = Instant::now();
    let (_b, tunnel, _) = join_over_tcp(&mut voice, 2).await;
    until("it is there", || voice.metric("voice_users_active") == 1.0).await;
    drop(tunnel);
    assert_eq!(notices.left(2).await, "vanished");
    assert!(since.elapsed() >= Duration::from_secs(2), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_connections_there_is_no_port_and_nothing_of_it_in_the_answer() {
    let mut voice = Voice::start(|config| config.tcp_connections = 0).await;
    let admitted = voice.admit(7, 1, ALL).await;
    let answer = post(&admitted, Bare::new(101).offer(1)).await.text().await.expect("an answer");
    assert_eq!(passive(&answer), None);
    // With port 0 both have the same number, unless somebody else has it.
    assert!(TcpStream::connect(candidate(&answer)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_media_is_said_to_be_goes_for_tcp_too() {
    let free = "127.0.0.1:0".parse().expect("an address");
    let set = |config: &mut clarion_voice::Config| {
        (config.udp, config.tcp) = (Some(free), Some("127.0.0.2:0".parse().expect("an address")));
        config.advertise = vec!["192.0.2.9".parse().expect("an address"), "2001:db8::9".parse().expect("an address")];
    };
    let mut voice = Voice::start(set).await;
    let admitted = voice.admit(7, 1, ALL).await;
    let answer = post(&admitted, Bare::new(101).offer(0)).await.text().await.expect("an answer");
    let told: Vec<&str> = answer.lines().filter(|line| line.contains(" tcp ")).collect();
    let port = passive(&answer).expect("a way over TCP").port();
    assert!(told.len() == 2 && told[0].contains(" 192.0.2.9 ") && told[1].contains(" 2001:db8::9 "), "{told:?}");
    assert!(TcpStream::connect(("127.0.0.2", port)).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strangers_do_with_connections_the_others_go_on() {
    let few = |config: &mut clarion_voice::Config| (config.tcp_connections, config.tcp_per_address) = (16, 24);
    let mut voice = Voice::start(few).await;
    let mut a = join_over_udp(&mut voice, 1).await;
    let (mut b, tunnel, _) = join_over_tcp(&mut voice, 2).await;
    let to = {
        // The tunnel's own way in.
        let admitted = voice.admit(8, 3, ALL).await;
        let answer = post(&admitted, Bare::new(103).offer(1)).await.text().await.expect("an answer");
        passive(&answer).expect("a way over TCP")
    };
    let mut bytes = Bytes(0x0dd_ba11);
    let mut strangers = Vec::new();
    for n in 0..400u16 {
        let mut stranger = TcpStream::connect(to).expect("connected");
        // Nothing, half a frame, garbage in frames, garbage.
        let some = bytes.some(600);
        let framed = [&(some.len() as u16).to_be_bytes()[..], &some].concat();
        let said: &[u8] = match n % 4 {
            0 => &[],
            1 => &framed[..framed.len() / 2],
            2 => &framed,
            _ => &some,
        };
        // It may have been closed already.
        let _ = stranger.write_all(said);
        strangers.push(stranger);
        if n % 8 == 0 {
            let number = n / 8 + 1;
            a.say(OPUS, number, u32::from(number) * 960, b"all is well");
            assert_eq!(hears(&mut b).as_deref(), Some(&b"all is well"[..]), "after {n} strangers");
            b.say(OPUS, number, u32::from(number) * 960, b"here too");
            assert_eq!(hears(&mut a).as_deref(), Some(&b"here too"[..]), "after {n} strangers");
        }
    }
    assert!(voice.metric("voice_tcp_connections") <= 16.0);
    until("most of them are gone", || voice.metric("voice_tcp_closed_total") > 300.0).await;
    // Somebody who has the password comes in among them.
    let (mut c, _way, _) = join_over_tcp(&mut voice, 4).await;
    a.say(OPUS, 100, 96_000, b"welcome");
    assert_eq!(hears(&mut c).as_deref(), Some(&b"welcome"[..]));
    assert_eq!(hears(&mut b).as_deref(), Some(&b"welcome"[..]));
    // Those who are left have had their time.
    until("the strangers are gone", || voice.metric("voice_tcp_connections") == 2.0).await;
    let mut last = strangers.pop().expect("a stranger");
    last.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    assert!(matches!(last.read(&mut [0]), Ok(0) | Err(_)));
    drop(tunnel);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_loses_packets_and_delays_nobody() {
    let mut voice = Voice::start(|_| {}).await;
    let (mut a, mut b) = (join_over_udp(&mut voice, 1).await, join_over_udp(&mut voice, 2).await);
    let (_slow, tunnel, _) = join_over_tcp(&mut voice, 3).await;
    let dropped = voice.metric("voice_packets_dropped_total");
    tunnel.stop_reading();
    let (payload, mut heard, mut n) = (vec![7; 1_200], 0, 0u16);
    let began = Instant::now();
    // More than the kernel holds for a connection that nobody reads from.
    while voice.metric("voice_packets_dropped_total") < dropped + 100.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is dropped after {n} packets");
        n = n.wrapping_add(1);
        a.say(OPUS, n, u32::from(n) * 960, &payload);
        heard += usize::from(hears(&mut b).is_some());
        assert_eq!(heard, usize::from(n), "the other one missed something");
    }
}
