//! The clients of a server: those who speak, and those who count what they hear.

use std::time::{Duration, Instant};

use crate::bare::{Connected, OPUS};

/// A frame of 32 kbit/s.
const FRAME: [u8; 80] = [0x5A; 80];
/// Room for what comes while the clients do not run.
const BUFFER: usize = 4 << 20;

/// All clients of a server.
#[derive(Default)]
pub(crate) struct Talk {
    speakers: Vec<Connected>,
    listeners: Vec<Connected>,
    number: u32,
}

/// What was heard: packets, and those that are missing among them.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) packets: u64,
    pub(crate) missing: i64,
    /// Of each listener the streams, and the sequence that comes next in each.
    next: Vec<Vec<(u32, u16)>>,
}

impl Talk {
    pub(crate) fn speaker(&mut self, client: Connected) {
        client.socket.set_nonblocking(true).expect("set");
        self.speakers.push(client);
    }

    pub(crate) fn listener(&mut self, client: Connected) {
        client.socket.set_nonblocking(true).expect("set");
        // More than usual needs a privilege; without it the usual must do.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&client.socket, BUFFER);
        self.listeners.push(client);
    }

    /// A sign of life of each.
    pub(crate) fn check(&self) {
        self.speakers.iter().chain(&self.listeners).for_each(Connected::check);
    }

    /// All speak, one after another within each 20 ms, and what they hear is taken off their sockets.
    pub(crate) fn go(&mut self, heard: &mut Heard, how_long: Duration) {
        heard.next.resize_with(self.listeners.len(), Vec::new);
        let step = Duration::from_millis(20) / self.speakers.len() as u32;
        let mut next = Instant::now();
        let end = next + how_long;
        let mut at = 0;
        while Instant::now() < end {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += step;
            self.speakers[at].say(OPUS, self.number as u16, self.number.wrapping_mul(960), &FRAME);
            at += 1;
            if at == self.speakers.len() {
                (at, self.number) = (0, self.number.wrapping_add(1));
                self.listen(heard);
                if self.number.is_multiple_of(100) {
                    self.check();
                }
            }
        }
    }

    /// Takes everything off the sockets.
    pub(crate) fn listen(&self, heard: &mut Heard) {
        heard.next.resize_with(self.listeners.len(), Vec::new);
        let mut buffer = [0; 2_048];
        for (listener, streams) in self.listeners.iter().zip(&mut heard.next) {
            while let Ok(length) = listener.socket.recv(&mut buffer) {
                if length <= 12 || buffer[0] >> 6 != 2 || (192..224).contains(&buffer[1]) {
                    continue;
                }
                heard.packets += 1;
                let sequence = u16::from_be_bytes([buffer[2], buffer[3]]);
                let source = u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]);
                match streams.iter_mut().find(|(known, _)| *known == source) {
                    Some((_, next)) => {
                        let ahead = sequence.wrapping_sub(*next) as i16;
                        // One that comes late was missing until now.
                        heard.missing += i64::from(ahead.max(-1));
                        if ahead >= 0 {
                            *next = sequence.wrapping_add(1);
                        }
                    }
                    None => streams.push((source, sequence.wrapping_add(1))),
                }
            }
        }
        for speaker in &self.speakers {
            while speaker.socket.recv(&mut buffer).is_ok() {}
        }
    }
}
