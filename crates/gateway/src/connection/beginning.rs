//! How a connection gets its session: a new one, or the one it had.

use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{Label, Opening, ResumedFrom, SentType, SocketError};
use clarion_observability::{Span, span};
use tokio::sync::oneshot;

use super::{ANSWER_WITHIN, Connection, Flow};
use crate::accounts::{Account, AuthError};
use crate::conversation::{Identify, Resume, Violation};
use crate::frame::{CloseCode, INVALID_SESSION};
use crate::hub::{OpenRequest, Seat};
use crate::session::CannotResume;
use crate::session_id::Place;
use crate::shard::Command;

/// How long a session may take to come here.
const BROUGHT_WITHIN: Duration = Duration::from_secs(25);

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
        let (user, person, url) = (account.user.id, !account.user.bot, self.resume_url.clone());
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
        self.begin(opened.seat, opened.session_id, (user, person));
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
        let (user, person) = (account.user.id, !account.user.bot);
        let resumed = self.go_on(&resume, &account).await;
        drop(permit);
        let fields = Fields { session_id: Some(resume.session_id.clone()), user_id: Some(user), ..Fields::default() };
        match resumed {
            Ok((seat, from)) => {
                span::record_session(&span, &resume.session_id);
                self.gate.metrics.resumed.with(from).increment(1);
                log::SESSION_RESUMED.emit(Fields { detail: Some(from.as_str().to_owned()), ..fields });
                self.begin(seat, resume.session_id, (user, person));
                Flow::Continue
            }
            Err(why) => {
                span::fail(&span, "cannot_resume");
                let error = Some(ErrorInfo { kind: "cannot_resume", detail: why.to_string() });
                log::SESSION_INVALIDATED.emit(Fields { error, ..fields });
                self.flow(INVALID_SESSION, SentType::InvalidSession).await
            }
        }
    }

    /// Goes on with a session that is here, or has it come.
    async fn go_on(&self, resume: &Resume, account: &Account) -> Result<(Seat, ResumedFrom), CannotResume> {
        let place = Place::of(&resume.session_id).ok_or(CannotResume::Unknown)?;
        let own = (place.gateway == self.gate.number && usize::from(place.shard) < self.gate.shards.len())
            .then_some(Seat { shard: place.shard, seat: place.seat });
        let here = match self.gate.adopted.seat(&resume.session_id).or(own) {
            // Gone on with from a checkpoint while this gateway seemed dead, it is not the session any more that it was.
            Some(_) if self.gate.elsewhere.is_elsewhere(&resume.session_id).await => Err(CannotResume::Unknown),
            Some(seat) => self.try_resume(seat, resume, account).await.map(|()| seat),
            None => Err(CannotResume::Unknown),
        };
        match here {
            Ok(seat) => Ok((seat, ResumedFrom::Here)),
            Err(CannotResume::Unknown) => {
                let brought = tokio::time::timeout(BROUGHT_WITHIN, Box::pin(self.bring(place, resume, account))).await;
                brought.unwrap_or(Err(CannotResume::Unreachable))
            }
            Err(why) => Err(why),
        }
    }

    async fn try_resume(&self, seat: Seat, resume: &Resume, account: &Account) -> Result<(), CannotResume> {
        let (reply, answer) = oneshot::channel();
        let resume = self.resumption(resume, account.user.id, ResumedFrom::Here);
        let command = Command::Resume { seat: seat.seat, resume, reply };
        let sent = self.gate.shards[usize::from(seat.shard)].send(command).await;
        sent.map_err(|_| CannotResume::Unreachable)?;
        answer.await.map_err(|_| CannotResume::Unreachable)?
    }

    async fn authenticate(&self, token: &str, span: &Span) -> Result<Account, Violation> {
        let account = tokio::time::timeout(ANSWER_WITHIN, self.gate.accounts.authenticate(token)).await;
        match account.unwrap_or(Err(AuthError::Unavailable)) {
            Ok(account) => {
                span::record_user(span, account.user.id);
                Ok(account)
            }
            Err(AuthError::Invalid) => {
                self.gate.api_limits.count_invalid(Instant::now(), Some(self.address)).await;
                span::fail(span, "auth_failed");
                Err(Violation { code: CloseCode::AUTHENTICATION_FAILED, reason: "authentication failed" })
            }
            Err(AuthError::Unavailable) => {
                span::fail(span, "unavailable");
                Err(Violation { code: CloseCode::UNKNOWN_ERROR, reason: "try again later" })
            }
        }
    }

    fn begin(&mut self, seat: Seat, session_id: String, who: (UserId, bool)) {
        self.seat = Some(seat);
        self.who = Some(who);
        self.session_id = Some(session_id);
        self.conversation.begin(Instant::now());
    }
}
