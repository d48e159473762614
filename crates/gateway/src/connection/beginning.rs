//! How a connection gets its session: a new one, or the one it had.

use std::time::Instant;

use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{Opening, SentType, SocketError};
use clarion_observability::{Span, span};
use tokio::sync::oneshot;

use super::{ANSWER_WITHIN, Connection, Flow};
use crate::accounts::{Account, AuthError};
use crate::conversation::{Identify, Resume, Violation};
use crate::frame::{CloseCode, Dispatch, INVALID_SESSION};
use crate::hub::{OpenRequest, Seat};
use crate::session_id::Place;
use crate::shard::{Command, Resumption};

impl Connection {
    /// Op 2.
    pub(super) async fn identify(&mut self, identify: Identify, span: Span) -> Flow {
        let permit = match self.admit(Opening::Identify, &identify.token, &span).await {
            Ok(permit) => permit,
            Err(flow) => return flow,
        };
        let account = match self.authenticate(&identify.token, &span).await {
            Ok(account) => account,
            Err(violation) => {
                drop(permit);
                return self.end_with(violation).await;
            }
        };
        let (user, url) = (account.user.id, self.resume_url.clone());
        let permit = match self.take_turn(permit, user, identify.shard.0, &span).await {
            Ok(permit) => permit,
            Err(flow) => return flow,
        };
        let request = OpenRequest {
            user: account.user,
            token: account.token_hash,
            intents: identify.intents,
            shard: identify.shard,
            presence: identify.presence,
            device: identify.device,
            large_threshold: identify.large_threshold,
            link: self.link.clone(),
            resume_url: url,
        };
        let opened = tokio::time::timeout(ANSWER_WITHIN, self.gate.hub.open(request)).await;
        drop(permit);
        let Ok(opened) = opened else {
            // A shard may be about to write to this socket: two must not. The client finds it gone and tries again.
            span::fail(&span, "timeout");
            self.gate.metrics.errors.with(SocketError::Timeout).increment(1);
            return Flow::End;
        };
        let Some(opened) = opened else {
            span::fail(&span, "unavailable");
            self.gate.metrics.errors.with(SocketError::Server).increment(1);
            self.close(Violation { code: CloseCode::UNKNOWN_ERROR, reason: "try again later" }).await;
            return Flow::End;
        };
        span::record_session(&span, &opened.session_id);
        log::SESSION_STARTED.emit(Fields {
            session_id: Some(opened.session_id.clone()),
            user_id: Some(user),
            ..Fields::default()
        });
        self.begin(opened.seat, opened.session_id);
        Flow::Continue
    }

    /// Op 6.
    pub(super) async fn resume(&mut self, resume: Resume, span: Span) -> Flow {
        let permit = match self.admit(Opening::Resume, &resume.token, &span).await {
            Ok(permit) => permit,
            Err(flow) => return flow,
        };
        let account = match self.authenticate(&resume.token, &span).await {
            Ok(account) => account,
            Err(violation) => {
                drop(permit);
                return self.end_with(violation).await;
            }
        };
        let user = account.user.id;
        let seat = Place::of(&resume.session_id)
            .filter(|place| place.gateway == self.gate.number && usize::from(place.shard) < self.gate.shards.len())
            .map(|place| Seat { shard: place.shard, seat: place.seat });
        let resumed = match seat {
            Some(seat) => self.try_resume(seat, &resume, account).await,
            None => Err("unknown session".to_owned()),
        };
        drop(permit);
        let fields = Fields { session_id: Some(resume.session_id.clone()), user_id: Some(user), ..Fields::default() };
        match (resumed, seat) {
            (Ok(()), Some(seat)) => {
                span::record_session(&span, &resume.session_id);
                log::SESSION_RESUMED.emit(fields);
                self.begin(seat, resume.session_id);
                Flow::Continue
            }
            (outcome, _) => {
                span::fail(&span, "cannot_resume");
                let detail = outcome.err().unwrap_or_default();
                let error = Some(ErrorInfo { kind: "cannot_resume", detail });
                log::SESSION_INVALIDATED.emit(Fields { error, ..fields });
                self.flow(INVALID_SESSION, SentType::InvalidSession).await
            }
        }
    }

    async fn try_resume(&self, seat: Seat, resume: &Resume, account: Account) -> Result<(), String> {
        let body = format!(r#""t":"RESUMED","d":{{"_trace":["{}"]}}"#, self.gate.instance);
        let resumption = Resumption {
            id: resume.session_id.clone(),
            user: account.user.id,
            sequence: resume.sequence,
            link: self.link.clone(),
            resumed: Dispatch::new("RESUMED", body.into()),
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Resume { seat: seat.seat, resume: resumption, reply };
        let sent = self.gate.shards[usize::from(seat.shard)].send(command).await;
        sent.map_err(|_| "the gateway is stopping".to_owned())?;
        let answer = answer.await.map_err(|_| "the gateway is stopping".to_owned())?;
        answer.map_err(|e| e.to_string())
    }

    async fn authenticate(&self, token: &str, span: &Span) -> Result<Account, Violation> {
        let account = tokio::time::timeout(ANSWER_WITHIN, self.gate.accounts.authenticate(token)).await;
        match account.unwrap_or(Err(AuthError::Unavailable)) {
            Ok(account) => {
                span::record_user(span, account.user.id);
                Ok(account)
            }
            Err(AuthError::Invalid) => {
                self.gate.api_limits.count_invalid(Instant::now(), Some(self.address));
                span::fail(span, "auth_failed");
                Err(Violation { code: CloseCode::AUTHENTICATION_FAILED, reason: "authentication failed" })
            }
            Err(AuthError::Unavailable) => {
                span::fail(span, "unavailable");
                Err(Violation { code: CloseCode::UNKNOWN_ERROR, reason: "try again later" })
            }
        }
    }

    fn begin(&mut self, seat: Seat, session_id: String) {
        self.seat = Some(seat);
        self.session_id = Some(session_id);
        self.conversation.begin(Instant::now());
    }
}
