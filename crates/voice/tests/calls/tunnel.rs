//! A way over TCP for clients that know datagrams alone: what they send to a socket of the tunnel goes on in frames (RFC
//! 4571) over one connection, and what comes there comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) struct Tunnel {
    /// Where the client is to send to.
    pub(crate) at: SocketAddr,
    stream: TcpStream,
    reads: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tunnel {
    pub(crate) fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("connected");
        stream.set_nodelay(true).expect("set");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let at = socket.local_addr().expect("an address");
        let client = Arc::new(Mutex::new(None));
        let (down, back, known) = (stream.try_clone().expect("a stream"), socket.try_clone(), client.clone());
        let back = back.expect("a socket");
        let reads = Arc::new(AtomicBool::new(true));
        let still = reads.clone();
        let to_client = std::thread::spawn(move || {
            while let Some(packet) = frame(&down) {
                while !still.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                if let Some(client) = *known.lock().expect("not poisoned") {
                    let _: Result<usize, std::io::Error> = back.send_to(&packet, client);
                }
            }
            // Wakes the other one.
            let _ = back.send_to(&[], at);
        });
        let mut up = stream.try_clone().expect("a stream");
        let to_server = std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let frame = [&(length as u16).to_be_bytes()[..], &buffer[..length]].concat();
                if from == at || up.write_all(&frame).is_err() {
                    return;
                }
                *client.lock().expect("not poisoned") = Some(from);
            }
        });
        Self { at, stream, reads, threads: vec![to_client, to_server] }
    }

    /// What comes from the server stays where it is from now on.
    pub(crate) fn stop_reading(&self) {
        self.reads.store(false, Ordering::Relaxed);
    }

    /// An answer of which the client knows this way alone.
    pub(crate) fn only(&self, answer: &str) -> String {
        let others = answer.lines().filter(|line| !line.starts_with("a=candidate:"));
        let mut answer: String = others.map(|line| line.to_owned() + "\r\n").collect();
        answer += &format!("a=candidate:1 1 udp 1 {} {} typ host\r\n", self.at.ip(), self.at.port());
        answer
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.reads.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
    }
}

fn frame(mut stream: &TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).ok()?;
    Some(packet)
}

/// Where connections are taken, as an answer says.
pub(crate) fn passive(answer: &str) -> Option<SocketAddr> {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:") && line.ends_with(" tcptype passive"))?;
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[2], "tcp");
    Some(SocketAddr::new(words[4].parse().expect("an address"), words[5].parse().expect("a port")))
}
