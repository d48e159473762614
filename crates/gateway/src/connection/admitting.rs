//! Before a session: its client waits for its turn, or is sent away so that it comes back later.

use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{AdmissionRefusal, Label, Opening, RateScope, SentType};
use clarion_observability::{Span, span};
use futures_util::FutureExt;

use super::{Connection, Flow};
use crate::admission::Permit;
use crate::conversation::Violation;
use crate::frame::{CloseCode, INVALID_SESSION};

/// How long a client is kept that is sent away, at least: most libraries come back at once.
const KEPT: Duration = Duration::from_secs(1);
/// And at most, so that not all come back together.
const KEPT_SPREAD_MS: u64 = 4_000;

impl Connection {
    /// Waits until a session may be opened on this socket. `Err`: it may not, and the client has been told.
    pub(super) async fn admit(&mut self, kind: Opening, token: &str, span: &Span) -> Result<Permit, Flow> {
        let gate = self.gate.clone();
        // An address that guesses keeps nobody waiting but those of it that nobody knows.
        if !gate.api_limits.lets_in(Instant::now(), self.address) && !gate.accounts.knows(token) {
            return Err(self.send_away(kind, AdmissionRefusal::Address, None, span).await);
        }
        self.line_up(kind, span).await
    }

    async fn line_up(&mut self, kind: Opening, span: &Span) -> Result<Permit, Flow> {
        let gate = self.gate.clone();
        let permit = tokio::select! {
            permit = gate.admission.enter(kind) => permit,
            () = gate.closing.cancelled() => return Err(self.restarting().await),
        };
        match permit {
            // Others wait: nothing is done for who has gone meanwhile.
            Ok(_) if self.is_gone() => Err(self.lose().await),
            Ok(permit) => Ok(permit),
            Err(reason) => Err(self.send_away(kind, reason, None, span).await),
        }
    }

    /// Counts a session that an account starts. If it has to wait for its turn, it does so without its permit.
    pub(super) async fn take_turn(
        &mut self,
        permit: Permit,
        user: UserId,
        shard: u32,
        span: &Span,
    ) -> Result<Permit, Flow> {
        let wait = match self.gate.starts.take(Instant::now(), user, shard).await {
            Ok(Duration::ZERO) => return Ok(permit),
            Ok(wait) => wait,
            Err(reason) => {
                drop(permit);
                return Err(self.send_away(Opening::Identify, reason, Some(user), span).await);
            }
        };
        drop(permit);
        if !self.pause(wait).await {
            return Err(self.restarting().await);
        }
        self.line_up(Opening::Identify, span).await
    }

    /// Who wants to go on is closed with a code after which it tries again; who wants to begin is told to, on this socket.
    async fn send_away(&mut self, kind: Opening, reason: AdmissionRefusal, user: Option<UserId>, span: &Span) -> Flow {
        span::fail(span, reason.as_str());
        self.gate.metrics.admission_refused.with(reason).increment(1);
        let scope = match reason {
            AdmissionRefusal::Concurrency | AdmissionRefusal::SessionLimit => Some(RateScope::Identify),
            AdmissionRefusal::Address => Some(RateScope::Address),
            AdmissionRefusal::QueueFull | AdmissionRefusal::Timeout => None,
        };
        if let Some(scope) = scope {
            self.gate.metrics.rate_limited.with(scope).increment(1);
        }
        let error = ErrorInfo { kind: reason.as_str(), detail: kind.as_str().to_owned() };
        log::ADMISSION_REFUSED.emit(Fields { user_id: user, error: Some(error), ..Fields::default() });
        if !self.pause(kept()).await {
            return self.restarting().await;
        }
        let violation = match (reason, kind) {
            (AdmissionRefusal::SessionLimit, _) => {
                Violation { code: CloseCode::RATE_LIMITED, reason: "no more sessions may be started today" }
            }
            (_, Opening::Resume) => Violation { code: CloseCode::UNKNOWN_ERROR, reason: "busy; try again later" },
            (_, Opening::Identify) => {
                self.conversation.begin_anew(Instant::now());
                return self.flow(INVALID_SESSION, SentType::InvalidSession).await;
            }
        };
        self.close(violation).await;
        Flow::End
    }

    /// Waits. False: the gateway stops.
    async fn pause(&self, wait: Duration) -> bool {
        self.gate.closing.run_until_cancelled(tokio::time::sleep(wait)).await.is_some()
    }

    async fn restarting(&mut self) -> Flow {
        self.close(Violation { code: CloseCode::RESTARTING, reason: "restarting" }).await;
        Flow::End
    }

    /// Whether the socket is known to be at its end.
    fn is_gone(&self) -> bool {
        let mut next = [0];
        matches!(self.link.stream().peek(&mut next).now_or_never(), Some(Ok(0) | Err(_)))
    }
}

fn kept() -> Duration {
    let mut chance = [0; 2];
    // Without chance, all are kept equally long.
    let _ = getrandom::fill(&mut chance);
    KEPT + Duration::from_millis(u64::from(u16::from_be_bytes(chance)) * KEPT_SPREAD_MS / (1 << 16))
}
