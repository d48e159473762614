//! Janus, beside which the server is measured: the program of the system, with its room plugin and settings of its own.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket};
use serde_json::{Value, json};

use crate::bare::{Bare, Connected, OPUS, PASSWORD};
use crate::processor::on_core;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is not needed here is not loaded.
const PLUGINS: &str = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,\
    libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,\
    libjanus_videocall.so,libjanus_voicemail.so";
const TRANSPORTS: &str =
    "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_rabbitmq.so,libjanus_websockets.so";
const ROOM: u64 = 1;

/// The server, seen from its clients. All of them are handles of one session of its API.
pub(crate) struct Janus {
    child: Child,
    folder: PathBuf,
    api: OwnedFd,
    at: IpAddr,
    transactions: u64,
    session: Value,
    /// Who can be subscribed to.
    feeds: Vec<Value>,
    buffer: Vec<u8>,
}

/// Its version, if it is installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("janus").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // "Janus version: 1102 (1.1.2)"
    Some(text.split_once('(')?.1.split_once(')')?.0.to_owned())
}

impl Janus {
    pub(crate) fn start(at: IpAddr, core: usize) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("clarion-janus-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let place = folder.display();
        let general = format!(
            "general: {{ configs_folder = \"{place}\"\n debug_level = 2\n session_timeout = 0\n \
            event_loops = 2 }}\nnat: {{ ice_lite = true\n ice_enforce_list = \"{at}\" }}\n\
            plugins: {{ disable = \"{PLUGINS}\" }}\ntransports: {{ disable = \"{TRANSPORTS}\" }}\n\
            loggers: {{ disable = \"libjanus_jsonlog.so\" }}\n"
        );
        let api = format!("general: {{ enabled = true\n json = \"compact\"\n path = \"{place}/api\" }}\n");
        let room = format!(
            "room-{ROOM}: {{ description = \"measured\"\n publishers = 100\n audiocodec = \"opus\"\n record = false }}\n"
        );
        std::fs::write(folder.join("janus.jcfg"), general)?;
        std::fs::write(folder.join("janus.transport.pfunix.jcfg"), api)?;
        std::fs::write(folder.join("janus.plugin.videoroom.jcfg"), room)?;
        let mut command = on_core(core, "setpriv");
        // Should this program be killed, it does not stay.
        command
            .args(["--pdeathsig", "KILL", "janus", "-F"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().context("taskset")?;
        let (api, address) = (
            socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?,
            SocketAddrUnix::new(folder.join("api").as_path())?,
        );
        let mut janus = Self {
            child,
            folder,
            api,
            at,
            transactions: 0,
            session: Value::Null,
            feeds: Vec::new(),
            buffer: vec![0; 1 << 16],
        };
        let deadline = Instant::now() + PATIENCE;
        while connect(&janus.api, &address).is_err() {
            ensure!(Instant::now() < deadline, "janus does not open its socket");
            // Now and then it asks whether it has a way in before the thread of the socket has said so, and ends.
            if janus.child.try_wait()?.is_some() {
                janus.child = command.spawn()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        set_socket_timeout(&janus.api, Timeout::Recv, Some(PATIENCE))?;
        janus.session = janus.ask(json!({ "janus": "create" }))?["data"]["id"].take();
        Ok(janus)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// A client that speaks.
    pub(crate) fn publish(&mut self) -> anyhow::Result<Connected> {
        let handle = self.attach()?;
        let bare = Bare::new(self.feeds.len() as u32 + 1_000);
        let socket = UdpSocket::bind((self.at, 0))?;
        let mut offer = head(&bare, &["0".to_owned()]);
        offer += &section("0", "sendonly", &socket)?;
        offer += "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
        offer += &format!("a=ssrc:{} cname:bare\r\n", bare.ssrc);
        let body = json!({ "request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "video": false });
        let mut joined = self.tell(&handle, body, Some(json!({ "type": "offer", "sdp": offer })))?;
        let answer = joined["jsep"]["sdp"].as_str().context("no answer")?.to_owned();
        let client = bare.connect_from(socket, &answer);
        self.until_up(&handle)?;
        self.feeds.push(joined["plugindata"]["data"]["id"].take());
        Ok(client)
    }

    /// A client that hears all who speak so far. Here the server offers.
    pub(crate) fn subscribe(&mut self) -> anyhow::Result<Connected> {
        let handle = self.attach()?;
        let streams: Vec<Value> = self.feeds.iter().map(|feed| json!({ "feed": feed })).collect();
        let body = json!({ "request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams });
        let attached = self.tell(&handle, body, None)?;
        let offer = attached["jsep"]["sdp"].as_str().with_context(|| format!("no offer: {attached}"))?;
        let bare = Bare::new(1);
        let socket = UdpSocket::bind((self.at, 0))?;
        let mids: Vec<String> =
            offer.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(str::to_owned).collect();
        let mut answer = head(&bare, &mids);
        for mid in &mids {
            answer += &section(mid, "recvonly", &socket)?;
        }
        self.tell(&handle, json!({ "request": "start" }), Some(json!({ "type": "answer", "sdp": answer })))?;
        let client = bare.connect_from(socket, offer);
        self.until_up(&handle)?;
        Ok(client)
    }

    fn attach(&mut self) -> anyhow::Result<Value> {
        let request = json!({ "janus": "attach", "session_id": self.session, "plugin": "janus.plugin.videoroom" });
        Ok(self.ask(request)?["data"]["id"].take())
    }

    fn tell(&mut self, handle: &Value, body: Value, jsep: Option<Value>) -> anyhow::Result<Value> {
        let mut request = json!({ "janus": "message", "session_id": self.session, "handle_id": handle, "body": body });
        if let Some(jsep) = jsep {
            request["jsep"] = jsep;
        }
        self.ask(request)
    }

    fn ask(&mut self, mut request: Value) -> anyhow::Result<Value> {
        self.transactions += 1;
        let transaction = self.transactions.to_string();
        request["transaction"] = json!(transaction);
        send(&self.api, request.to_string().as_bytes(), SendFlags::empty())?;
        let answer = self.until(|answer| answer["transaction"] == transaction.as_str() && answer["janus"] != "ack")?;
        if answer["janus"] == "error" || answer["plugindata"]["data"].get("error").is_some() {
            bail!("janus refuses: {answer}");
        }
        Ok(answer)
    }

    /// Waits until the media of a handle is connected.
    fn until_up(&mut self, handle: &Value) -> anyhow::Result<()> {
        self.until(|event| event["janus"] == "webrtcup" && event["sender"] == *handle).map(|_| ())
    }

    fn until(&mut self, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let (length, _) = recv(&self.api, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            ensure!(length > 0, "janus has ended");
            let message: Value = serde_json::from_slice(&self.buffer[..length])?;
            if is(&message) {
                return Ok(message);
            }
        }
    }
}

impl Drop for Janus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn head(bare: &Bare, mids: &[String]) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-ufrag:bare\r\n\
        a=ice-pwd:{PASSWORD}\r\na=setup:active\r\na=fingerprint:sha-256 {}\r\n",
        mids.join(" "),
        bare.fingerprint
    )
}

fn section(mid: &str, direction: &str, socket: &UdpSocket) -> anyhow::Result<String> {
    let at = socket.local_addr()?;
    Ok(format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtcp-mux\r\na={direction}\r\n\
        a=rtpmap:{OPUS} opus/48000/2\r\na=candidate:1 1 udp 1 {} {} typ host\r\n",
        at.ip(),
        at.port()
    ))
}
