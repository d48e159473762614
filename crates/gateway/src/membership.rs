//! The gateway's membership: a stream to a router that stays open, so that operators' requests find the way here.

use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::join_request::Request;
use clarion_proto::v1::router_client::RouterClient;
use clarion_runtime::{Address, Host, Peer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::voice::{self, VoiceHandle};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How often a sign of life is given before the router has said how often it wants one.
const BEAT: Duration = Duration::from_millis(500);
/// Signs of life in a lease.
const BEATS: u32 = 3;

/// Joins, and joins again whenever the stream breaks, until the drain.
pub(crate) async fn keep(host: Host, router: Address, address: Address, voice: VoiceHandle) {
    let peer: Peer = host.peer(&router);
    let mut delay = FIRST_DELAY;
    while !host.draining().is_cancelled() {
        let (requests, waiting) = mpsc::channel(4);
        let hello = v1::JoinHello {
            instance: host.instance().to_owned(),
            kind: v1::MemberKind::Gateway.into(),
            address: address.to_string(),
            voice: None,
        };
        // There is room: nothing was sent yet.
        let _ = requests.try_send(v1::JoinRequest { request: Some(Request::Hello(hello)) });
        let joined = RouterClient::new(peer.clone()).join(ReceiverStream::new(waiting)).await;
        let mut why = "the stream ended".to_owned();
        match joined {
            Err(status) => why = status.to_string(),
            Ok(response) => {
                let joined_at = Instant::now();
                let mut stream = response.into_inner();
                let mut rooms = voice.rooms();
                rooms.mark_changed();
                let (beats, mut every) = (requests.clone(), BEAT);
                let broken = async {
                    loop {
                        let heard = async {
                            tokio::select! {
                                heard = stream.message() => Some(heard),
                                Ok(()) = rooms.changed() => None,
                            }
                        };
                        let heard = match tokio::time::timeout(every, heard).await {
                            Ok(Some(heard)) => Ok(heard),
                            Ok(None) => {
                                let rooms = Request::Rooms(rooms.borrow_and_update().clone());
                                // A stream that takes no more is about to say that it is broken.
                                let _ = requests.try_send(v1::JoinRequest { request: Some(rooms) });
                                continue;
                            }
                            Err(late) => Err(late),
                        };
                        match heard {
                            Ok(Ok(Some(answer))) if answer.lease_ms > 0 => {
                                every = Duration::from_millis(answer.lease_ms.into()) / BEATS;
                            }
                            Ok(Ok(Some(told))) => {
                                if let Some(v1::VoiceServers { servers }) = told.voice {
                                    voice.tell(voice::Command::Servers(router.clone(), servers)).await;
                                }
                            }
                            Ok(Ok(None)) => return None,
                            Ok(Err(status)) => return Some(status.to_string()),
                            // A full queue is full of signs of life.
                            Err(_) => drop(beats.try_send(v1::JoinRequest { request: Some(Request::Beat(true)) })),
                        }
                    }
                };
                tokio::select! {
                    status = broken => {
                        why = status.unwrap_or(why);
                        if joined_at.elapsed() > LONGEST_DELAY {
                            delay = FIRST_DELAY;
                        }
                    }
                    () = host.draining().cancelled_owned() => {
                        // The stream ends with this in any case.
                        let _ = requests.send(v1::JoinRequest { request: Some(Request::Leaving(true)) }).await;
                        return;
                    }
                }
            }
        }
        // What it said of voice servers is old from now on.
        voice.tell(voice::Command::Servers(router.clone(), Vec::new())).await;
        log::PEER_UNREACHABLE.emit(Fields::detail(format!("router: {why}")));
        let mut chance = [0; 1];
        // Without chance, everybody waits equally long.
        let _ = getrandom::fill(&mut chance);
        tokio::select! {
            () = tokio::time::sleep(delay / 2 + delay * u32::from(chance[0]) / 256) => {}
            () = host.draining().cancelled_owned() => {}
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}
