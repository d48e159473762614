//! A client that goes on with a session which is at another gateway, or was.

use std::time::Instant;

use clarion_model::id::UserId;
use clarion_observability::metric::ResumedFrom;
use tokio::sync::oneshot;

use super::Connection;
use crate::accounts::Account;
use crate::conversation::Resume;
use crate::frame::Dispatch;
use crate::hub::{Adoption, Seat};
use crate::session::CannotResume;
use crate::session_id::Place;
use crate::shard::Resumption;

impl Connection {
    /// Has a session come here. Answers its seat, and where it was.
    pub(super) async fn bring(
        &self,
        home: Place,
        resume: &Resume,
        account: &Account,
    ) -> Result<(Seat, ResumedFrom), CannotResume> {
        let user = account.user.id;
        let found = self.gate.elsewhere.find(home.gateway, &resume.session_id, user, resume.sequence).await?;
        if found.kept.id != resume.session_id || found.kept.user != user {
            return Err(CannotResume::Unknown);
        }
        // Before it is here: from then on it may be asked for.
        self.gate.elsewhere.note_place(&resume.session_id).await;
        let (reply, seated) = oneshot::channel();
        self.gate
            .hub
            .adopt(Adoption {
                kept: found.kept,
                token: account.token_hash,
                resume: self.resumption(resume, user, found.from),
                reply,
                since: Instant::now(),
            })
            .await;
        let seat = seated.await.map_err(|_| CannotResume::Unreachable)??;
        Ok((seat, found.from))
    }

    /// What a shard needs to go on with a session on this socket.
    pub(super) fn resumption(&self, resume: &Resume, user: UserId, from: ResumedFrom) -> Resumption {
        let replayed = if matches!(from, ResumedFrom::Checkpoint) { r#","replayed":true"# } else { "" };
        let body = format!(r#""t":"RESUMED","d":{{"_trace":["{}"]{replayed}}}"#, self.gate.instance);
        Resumption {
            id: resume.session_id.clone(),
            user,
            sequence: resume.sequence,
            link: self.link.clone(),
            resumed: Dispatch::new("RESUMED", body.into()),
        }
    }
}
