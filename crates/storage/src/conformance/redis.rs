//! A Redis server of a test's own: on a free port, with nothing on the disk, ended with the test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "redis-server";
const PATIENCE: Duration = Duration::from_secs(10);
/// Ports that are tried, because somebody else may take one between the search and the start.
const PORTS: usize = 5;

/// A server that runs, or has been stopped and may be started again where it was.
pub struct RedisServer {
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one with more settings than usual; `None`, and a word about it, where there is no such program.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            eprintln!("not run: there is no {PROGRAM} here");
            return None;
        }
        for _ in 0..PORTS {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let settings = settings.iter().map(|word| (*word).to_owned()).collect();
            let mut server = Self { port, settings, child: None };
            if server.begin() {
                return Some(server);
            }
        }
        panic!("{PROGRAM} does not start");
    }

    /// What the settings call it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it; nothing of what it had is left.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again at the same address, empty.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.begin(), "{PROGRAM} does not start again");
    }

    /// Sends it a signal by name: `STOP` has it hang, `CONT` go on.
    pub fn signal(&self, name: &str) {
        let child = self.child.as_ref().unwrap();
        let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Says a command in one line to it and answers what comes back first.
    pub fn say(&self, command: &str) -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 512];
        let length = socket.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Whether it runs and answers.
    fn begin(&mut self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new(PROGRAM);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).args(&self.settings);
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.child.insert(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            // Another server on the port would answer, too, but then this one has ended, or is about to.
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
                return child.try_wait().unwrap().is_none();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop_quietly();
        false
    }

    fn stop_quietly(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop_quietly();
    }
}
