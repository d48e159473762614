//! What strangers and clients do with connections, over real sockets. Time is what a test says.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as Client;

use clarion_observability::capture::Capture;
use clarion_observability::metric::LeaveReason;

use super::*;
use crate::engine::{Command, fuzzing};
use crate::framing::{Frames, LENGTH, length};
use crate::fuzzing::PASSWORD;
use crate::ice::request;
use crate::shard::backlog;

struct Rig {
    streams: Streams,
    engine: Engine,
    at: SocketAddr,
    now: Instant,
    capture: Capture,
}

/// A packet in its frame.
fn framed(packet: &[u8]) -> Vec<u8> {
    [&length(packet)[..], packet].concat()
}

/// A check for the first leg, or another one.
fn check(name: &str, password: &str) -> Vec<u8> {
    framed(&request(name, password, true, 1))
}

impl Rig {
    fn new(connections: usize, per_address: usize) -> Self {
        let capture = Capture::new().expect("telemetry");
        let metrics = VoiceMetrics::new(capture.process().service("voice", "voice-0").meter());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let at = listener.local_addr().expect("an address");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let streams = Streams::new(listener, Limits { connections, per_address }, metrics);
        let mut engine = fuzzing::engine();
        *engine.outgoing() = Default::default();
        Self { streams, engine, at, now: Instant::now(), capture }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.at).expect("connected");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        client
    }

    /// Turns until something holds.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let turns = async {
            while !holds(self) {
                let ready = std::future::poll_fn(|cx| self.streams.poll(cx));
                // What a test looks at may be at the other end.
                let _ = tokio::time::timeout(Duration::from_millis(10), ready).await;
                self.streams.turn(self.now, &mut self.engine);
                self.streams.send(self.now, &mut self.engine);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), turns).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// So much later.
    fn later(&mut self, by: Duration) {
        self.now += by;
        self.streams.tick(self.now, &mut self.engine);
    }

    /// One that is a leg's.
    async fn proven(&mut self, name: &str) -> Client {
        let mut client = self.connect();
        let number = self.streams.next;
        client.write_all(&check(name, PASSWORD)).expect("written");
        self.until("it is proven", |rig| rig.streams.open.get(&number).is_some_and(|there| there.proven)).await;
        let answer = receive(&mut client).expect("an answer");
        assert_eq!(answer[..2], [1, 1]);
        client
    }

    fn proven_ones(&self) -> usize {
        self.streams.open.values().filter(|connection| connection.proven).count()
    }

    fn closed(&self, reason: &str) -> bool {
        let line = self.capture.process().render_metrics();
        let mut lines = line.lines().filter(|line| line.starts_with("voice_tcp_closed_total"));
        lines.any(|line| line.contains(&format!("reason=\"{reason}\"")) && !line.ends_with(" 0"))
    }
}

/// The next packet; `None` at the end.
fn receive(client: &mut Client) -> Option<Vec<u8>> {
    let mut frame = [0; LENGTH];
    match client.read_exact(&mut frame) {
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
        read => read.expect("a length in time"),
    }
    let mut packet = vec![0; usize::from(u16::from_be_bytes(frame))];
    client.read_exact(&mut packet).expect("a packet");
    Some(packet)
}

#[tokio::test]
async fn a_connection_is_a_legs_once_a_check_was_signed() {
    let mut rig = Rig::new(8, 8);
    let mut thief = rig.connect();
    thief.write_all(&check("leg1", "not the password")).expect("written");
    thief.write_all(&framed(&[0x80; 40])).expect("written");
    rig.until("they came", |rig| rig.streams.open.values().any(|connection| connection.strange == 2)).await;
    assert_eq!(rig.proven_ones(), 0);
    rig.proven("leg1").await;
    thief.set_nonblocking(true).expect("set");
    assert_eq!(thief.read(&mut [0]).expect_err("nothing").kind(), ErrorKind::WouldBlock, "it was told nothing");
    // It does not matter in which pieces a check comes.
    let (mut slow, mut check) = (rig.connect(), check("leg2", PASSWORD));
    let (last, number) = (check.pop().expect("a byte"), rig.streams.next);
    for (n, byte) in check.into_iter().enumerate() {
        slow.write_all(&[byte]).expect("written");
        let waits = |rig: &mut Rig| rig.streams.open.get(&number).is_some_and(|c| c.frames.waiting() == n + 1);
        rig.until("the byte came", waits).await;
    }
    slow.write_all(&[last]).expect("written");
    rig.until("it is proven", |rig| rig.streams.open[&number].proven).await;
}

#[tokio::test]
async fn who_says_nothing_or_half_a_frame_is_closed_in_time() {
    let mut rig = Rig::new(8, 8);
    let (mut silent, mut half) = (rig.connect(), rig.connect());
    half.write_all(&[0, 100, 0, 1]).expect("written");
    rig.until("both are there", |rig| rig.streams.open.values().filter(|c| c.frames.waiting() > 0).count() == 1).await;
    rig.until("both are there", |rig| rig.streams.open.len() == 2).await;
    rig.later(PROVE - Duration::from_millis(1));
    assert_eq!(rig.streams.open.len(), 2);
    rig.later(Duration::from_millis(1));
    assert_eq!((receive(&mut silent), receive(&mut half)), (None, None));
    assert!(rig.closed("unproven") && rig.streams.open.is_empty() && rig.streams.by_source.is_empty());
    // Nothing is left of them, not even what waited.
    rig.until("all is forgotten", |rig| rig.streams.readable.is_empty()).await;
}

#[tokio::test]
async fn garbage_ends_a_connection() {
    let mut rig = Rig::new(8, 8);
    let mut long = rig.connect();
    long.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    rig.until("it is closed", |rig| rig.closed("malformed")).await;
    assert_eq!(receive(&mut long), None);
    let mut many = rig.connect();
    many.write_all(&framed(&[7; 30]).repeat(STRANGE as usize + 1)).expect("written");
    rig.until("it is closed", |rig| rig.streams.next == 2 && rig.streams.open.is_empty()).await;
    assert_eq!(receive(&mut many), None);
}

#[tokio::test]
async fn a_flood_of_connections_keeps_nobody_out() {
    let mut rig = Rig::new(4, 6);
    let mut client = rig.proven("leg1").await;
    let flood: Vec<Client> = (0..10).map(|_| rig.connect()).collect();
    rig.until("all have come", |rig| rig.streams.next == 11).await;
    assert_eq!((rig.streams.open.len(), rig.proven_ones()), (4, 1), "the strangers gave way to each other");
    assert!(rig.closed("full"));
    let another = rig.proven("leg2").await;
    client.write_all(&check("leg1", PASSWORD)).expect("written");
    client.set_nonblocking(true).expect("set");
    rig.until("who was there is answered", |_| client.peek(&mut [0]).is_ok_and(|length| length > 0)).await;
    drop((flood, another));
}

#[tokio::test]
async fn a_way_that_is_not_used_gives_way_and_one_in_use_does_not() {
    let mut rig = Rig::new(2, 8);
    let (mut former, mut present) = (rig.proven("leg1").await, rig.proven("leg1").await);
    let another = rig.proven("leg2").await;
    assert_eq!(receive(&mut former), None, "it carried nothing any more");
    let mut refused = rig.connect();
    assert_eq!(rig.streams.open.len(), 2);
    rig.until("it is let in no more", |rig| rig.streams.arrived.is_empty() && rig.closed("full")).await;
    refused.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    rig.until("it is told", |_| refused.read(&mut [0]).is_ok_and(|length| length == 0)).await;
    present.write_all(&check("leg1", PASSWORD)).expect("written");
    present.set_nonblocking(true).expect("set");
    rig.until("who is there is answered", |_| present.peek(&mut [0]).is_ok_and(|length| length > 0)).await;
    drop(another);
}

#[tokio::test]
async fn one_address_has_so_many_and_no_more() {
    let mut rig = Rig::new(8, 3);
    let mut clients: Vec<Client> = (0..4).map(|_| rig.connect()).collect();
    rig.until("one is refused", |rig| rig.closed("address")).await;
    rig.until("the others are there", |rig| rig.streams.open.len() == 3).await;
    let ends = clients.iter_mut().map(|client| {
        client.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        client.read(&mut [0]).is_ok_and(|length| length == 0)
    });
    let ended = ends.filter(|ended| *ended).count();
    assert_eq!(ended, 1);
    // When one goes, there is room for another.
    drop(clients);
    rig.until("they are gone", |rig| rig.streams.open.is_empty()).await;
    assert!(rig.closed("peer") && rig.streams.by_source.is_empty());
    rig.proven("leg1").await;
}

#[tokio::test]
async fn who_does_not_read_is_sent_what_is_new_and_delays_nobody() {
    let mut rig = Rig::new(8, 8);
    let (mut slow, mut quick) = (rig.proven("leg1").await, rig.proven("leg2").await);
    let numbers: Vec<u64> = rig.streams.open.keys().copied().collect();
    let (first, second) = (numbers[0].min(numbers[1]), numbers[0].max(numbers[1]));
    // More than all buffers of the kernel hold.
    let mut waited = 0;
    for n in 0..20_000u32 {
        let packet = [&n.to_be_bytes()[..], &[0xAB; 1_000]].concat();
        let frames = &mut rig.engine.outgoing().frames;
        frames.push((first, packet[..].into()));
        if n % 100 == 0 {
            frames.push((second, packet[..].into()));
        }
        rig.streams.send(rig.now, &mut rig.engine);
        waited = waited.max(rig.streams.open[&first].backlog.bytes());
        if n % 100 == 0 {
            assert_eq!(receive(&mut quick).expect("at once")[..4], n.to_be_bytes());
        }
        rig.now += Duration::from_millis(1);
    }
    assert!((backlog::BYTES / 2..=backlog::BYTES).contains(&waited), "{waited} bytes waited");
    // It reads again: whole packets in order, and among them the last ones.
    let (mut frames, mut read, mut buffer) = (Frames::default(), Vec::new(), [0; 65_536]);
    slow.set_nonblocking(true).expect("set");
    let began = Instant::now();
    while read.last() != Some(&19_999u32) {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} came last", read.last());
        rig.streams.tick(rig.now, &mut rig.engine);
        // The runtime notices that there is room again.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let length = slow.read(&mut buffer).unwrap_or(0);
        let each = |packet: &[u8]| read.push(u32::from_be_bytes(packet[..4].try_into().expect("four bytes")));
        frames.read(&buffer[..length], each).expect("frames");
    }
    assert!(read.is_sorted_by(|a, b| a < b) && read.len() < 20_000, "{} packets", read.len());
}

#[tokio::test]
async fn a_leg_that_lost_its_connection_waits_and_takes_another() {
    let mut rig = Rig::new(8, 8);
    let client = rig.proven("leg1").await;
    let remote = rig.streams.open.values().next().expect("a connection").remote;
    assert!(rig.engine.knows(remote));
    drop(client);
    rig.until("it is closed", |rig| rig.closed("peer")).await;
    assert!(!rig.engine.knows(remote));
    assert_eq!(rig.engine.population().over_tcp, 0);
    let _another = rig.proven("leg1").await;
    assert_eq!(rig.engine.population().over_tcp, 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_leg_and_an_idle_one_in_time() {
    let mut rig = Rig::new(8, 8);
    let (mut one, mut two) = (rig.proven("leg1").await, rig.proven("leg3").await);
    rig.engine.command(rig.now, Command::End { leg: 1, reason: LeaveReason::Left });
    rig.streams.send(rig.now, &mut rig.engine);
    rig.later(Duration::from_millis(100));
    while receive(&mut one).is_some() {}
    assert!(rig.closed("ended") && rig.streams.open.len() == 1);
    // Its leg is kept by something else.
    rig.later(IDLE);
    assert_eq!(receive(&mut two), None);
    assert!(rig.closed("idle"));
}

#[test]
fn a_network_of_ipv6_is_one_source() {
    let source = |text: &str| source(text.parse().expect("an address"));
    assert_eq!(source("2001:db8:1:2:3::4"), source("2001:db8:1:2:ffff::"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
}
