//! An offer becomes a leg: what a token opens, whichever way the offer came.

use std::time::Instant;

use clarion_model::id::{ChannelId, UserId};
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{JoinResult, Label, LeaveReason};
use clarion_observability::{TraceContext, span};

use crate::desk::Shut;
use crate::engine::Command;
use crate::front::Front;
use crate::ice::Credentials;
use crate::leg::{Join, Spec, Voice, Who};
use crate::sdp::{self, Local, OfferError, Plan};
use crate::secure::Secure;
use crate::token::{Claims, NotOurs};

/// Longest description, in bytes.
pub(crate) const DESCRIPTION: usize = 64 << 10;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Authorization: Bearer with the token of the admission is missing")]
    NoToken,
    #[error(transparent)]
    Token(#[from] NotOurs),
    #[error("the token is for another session")]
    OtherSession,
    #[error(transparent)]
    Shut(#[from] Shut),
    #[error("Content-Type must be {0}")]
    ContentType(&'static str),
    #[error("the body is longer than 64 KiB or did not arrive")]
    Body,
    #[error("the body is not text in UTF-8")]
    Text,
    #[error("offer: {0}")]
    Offer(#[from] OfferError),
    #[error("If-Match names another ICE session than the present one")]
    Precondition,
    #[error("the server takes nobody just now: come again, or join the channel anew for another server")]
    Busy,
    #[error("the server failed")]
    Failed,
}

/// An offer that was answered.
pub(crate) struct Entered {
    pub(crate) leg: u64,
    /// The answer.
    pub(crate) sdp: String,
}

impl Refusal {
    /// How it counts as an end of a join.
    fn result(&self) -> JoinResult {
        match self {
            Self::NoToken | Self::Token(_) | Self::OtherSession | Self::Shut(_) => JoinResult::BadToken,
            Self::ContentType(_) | Self::Body | Self::Text | Self::Offer(_) | Self::Precondition => {
                JoinResult::BadOffer
            }
            Self::Busy => JoinResult::Full,
            Self::Failed => JoinResult::NotConnected,
        }
    }

    /// For programs.
    pub(crate) fn word(&self) -> &'static str {
        self.result().as_str()
    }
}

/// What a token says, if it is ours and for this session.
pub(crate) fn claims(front: &Front, session: &str, token: &str) -> Result<Claims, Refusal> {
    let claims = front.signer.read(token.trim())?;
    if claims.session == session { Ok(claims) } else { Err(Refusal::OtherSession) }
}

/// An offer that came to nothing is counted and said in the log.
pub(crate) fn told<T>(front: &Front, result: Result<T, Refusal>) -> Result<T, Refusal> {
    result.inspect_err(|refusal| {
        front.metrics.joins.with(refusal.result()).increment(1);
        let error = ErrorInfo { kind: refusal.word(), detail: refusal.to_string() };
        log::VOICE_REFUSED.emit(Fields { error: Some(error), ..Fields::default() });
    })
}

/// Answers an offer: its participant is there from now on. `began`: when it came.
pub(crate) async fn enter(front: &Front, claims: &Claims, offer: &str, began: Instant) -> Result<Entered, Refusal> {
    let admission = TraceContext::parse(&claims.traceparent).unwrap_or_default();
    let (channel, user) = (ChannelId(claims.channel), UserId(claims.user));
    let whole = span::voice_join(&admission, channel, user, &claims.session);
    let stage = span::voice_answer(&whole);
    // A bad offer does not cost the token.
    let offer = sdp::parse(offer).inspect_err(|_| span::fail(&whole, "bad_offer"))?;
    let plan = Plan::of(&offer, random_ssrc);
    let credentials = Credentials::random().map_err(|_| Refusal::Failed)?;
    let secure = Secure::new(&front.identity, offer.fingerprint).map_err(|_| Refusal::Failed)?;
    let shard = front.shard(claims.channel).ok_or(Refusal::Busy)?;
    let entry = {
        let mut state = front.lock();
        if !state.desk.has_room() {
            return Err(Refusal::Busy);
        }
        state.desk.enter(began, claims)?
    };
    let voice = plan.publishes.and_then(|n| Voice::new(began, offer.media.get(n)?, random_ssrc()));
    let local = Local {
        ufrag: &credentials.ufrag,
        pwd: &credentials.pwd,
        fingerprint: &front.identity.fingerprint,
        candidates: &shard.candidates,
        id: entry.leg,
        red: front.config.redundancy,
    };
    let sdp = sdp::answer(&offer, &plan, &local);
    if let Some(replaced) = entry.replaces {
        front.tell(claims.channel, Command::End { leg: replaced, reason: LeaveReason::Left }).await;
    }
    let leg = entry.leg;
    let spec = Spec {
        id: leg,
        who: entry.who.clone(),
        permissions: entry.permissions,
        credentials,
        secure,
        voice,
        streams: plan.streams,
        join: Join { began, whole, stage },
    };
    front.tell(claims.channel, Command::Join(Box::new(spec))).await;
    settle(front, &entry.who, leg).await;
    Ok(Entered { leg, sdp })
}

/// What was decided between the entry and the shard's knowing of it is said again.
async fn settle(front: &Front, who: &Who, leg: u64) {
    let standing = front.lock().desk.standing(leg);
    let command = match standing {
        Some(permissions) => Command::Permit { leg, permissions },
        None => Command::End { leg, reason: LeaveReason::Dismissed },
    };
    front.tell(who.channel, command).await;
}

/// A name of a stream. Zero and one are what some receivers call themselves.
fn random_ssrc() -> u32 {
    getrandom::u32().unwrap_or(0x5EED_0001).max(2)
}
