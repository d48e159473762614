//! The edge: requests become commands and reads, answers and failures become what travels.
//!
//! The one place that knows gRPC's status. A refusal goes along in its details, encoded as `Refusal`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod request;
mod status;
mod stream;

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Key;
use clarion_model::limits::HISTORY_PAGE;
use clarion_model::user::TokenHash;
use clarion_observability::{Instrument, Remote, Span, span};
use clarion_proto::convert::user_state;
use clarion_proto::v1::channel_server;
use clarion_proto::v1::{self, Done};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::keys::{Failure, Keys};
use crate::owner::{Actor, Answer, Command, Purge, Shared, access};
use crate::read::{Reads, SaidBy};
use crate::refusal::Refusal;
use request::key;
use status::settle;
pub(crate) use stream::Service;

/// The unary calls.
#[derive(Clone)]
struct Api {
    keys: Keys,
    reads: Reads,
}

impl Api {
    fn new(keys: Keys) -> Self {
        Self { reads: Reads::new(keys.stores().clone()), keys }
    }

    /// Opens the span of a request, with what it is about. A request about no channel has its key's id there.
    async fn enter(&self, remote: &Remote, key: Key, channel: Option<u64>) -> Result<(Shared, Span), Status> {
        let channel = ChannelId(channel.unwrap_or(key.parts().1));
        match self.keys.truth(key).await {
            Ok(truth) => {
                let members = truth.read().state.member_count();
                Ok((truth, span::channel_process(remote, channel, members)))
            }
            Err(failure) => settle(&span::channel_process(remote, channel, 0), Err(failure)),
        }
    }

    /// Asks a key, and answers what it comes to.
    async fn command(&self, remote: Remote, key: Key, command: Command) -> Result<Answer, Status> {
        let channel = command.channel().map(|channel| channel.0);
        let (_, span) = self.enter(&remote, key, channel).await?;
        settle(&span, self.keys.ask(key, command, span.clone()).await)
    }

    async fn done(&self, remote: Remote, key: Key, command: Command) -> Result<Response<Done>, Status> {
        self.command(remote, key, command).await?;
        Ok(Response::new(Done {}))
    }

    async fn view(&self, remote: Remote, key: Key, command: Command) -> Result<Response<v1::MessageView>, Status> {
        match self.command(remote, key, command).await? {
            Answer::Message(view) | Answer::Duplicate(view) => Ok(Response::new((&*view).into())),
            Answer::Done | Answer::Guild(_) | Answer::User(_) | Answer::ReadState(_) => {
                Err(Status::internal("not a message"))
            }
        }
    }
}

fn remote<T>(request: &Request<T>) -> Remote {
    request.extensions().get::<Remote>().cloned().unwrap_or_default()
}

#[async_trait]
impl channel_server::Channel for Api {
    type FollowStream = BoxStream<v1::FollowResponse>;

    /// Answered by [`Service`], which encodes an event once for all followers.
    async fn follow(&self, _: Request<Streaming<v1::FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("answered elsewhere"))
    }

    async fn create_message(
        &self,
        request: Request<v1::CreateMessageRequest>,
    ) -> Result<Response<v1::MessageView>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        self.view(remote, key, request::create_message(request)?).await
    }

    async fn edit_message(
        &self,
        request: Request<v1::EditMessageRequest>,
    ) -> Result<Response<v1::MessageView>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        self.view(remote, key, request::edit_message(request)).await
    }

    async fn delete_message(&self, request: Request<v1::DeleteMessageRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::DeleteMessage {
            channel_id: ChannelId(request.channel_id),
            id: MessageId(request.message_id),
            actor: UserId(request.actor_id),
        };
        self.done(remote, key(request.key)?, command).await
    }

    async fn purge_messages(
        &self,
        request: Request<v1::PurgeMessagesRequest>,
    ) -> Result<Response<v1::PurgeMessagesResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        let (truth, span) = self.enter(&remote, key, Some(request.channel_id)).await?;
        let (channel_id, author) = (ChannelId(request.channel_id), UserId(request.author_id));
        let actor = Actor::from_wire(request.actor_id);
        let permitted = truth.read().state.guild().and_then(|guild| access::purge(guild, actor, author, channel_id));
        settle(&span, permitted.map_err(Failure::Refused))?;
        let (after, before) = (MessageId(request.after), request.before.map(MessageId));
        let read = self.reads.said_by(&truth, author, channel_id, after, before);
        let SaidBy { ids, before } = settle(&span, read.instrument(span.clone()).await)?;
        let deleted = ids.len() as u32;
        if deleted > 0 {
            let command = Command::Purge(Purge { channel_id, actor, author, ids });
            settle(&span, self.keys.ask(key, command, span.clone()).await)?;
        }
        Ok(Response::new(v1::PurgeMessagesResponse { deleted, before: before.map(|id| id.0) }))
    }

    async fn get_message(&self, request: Request<v1::GetMessageRequest>) -> Result<Response<v1::MessageView>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, Some(request.channel_id)).await?;
        let (actor, channel) = (UserId(request.actor_id), ChannelId(request.channel_id));
        let read = self.reads.message(&truth, actor, channel, MessageId(request.message_id));
        let view = settle(&span, read.instrument(span.clone()).await)?;
        Ok(Response::new((&view).into()))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, Some(request.channel_id)).await?;
        let limit = request.limit.clamp(1, HISTORY_PAGE) as usize;
        let (actor, channel) = (UserId(request.actor_id), ChannelId(request.channel_id));
        let read = self.reads.messages(&truth, actor, channel, request::anchor(request.anchor), limit);
        let views = settle(&span, read.instrument(span.clone()).await)?;
        Ok(Response::new(v1::ListMessagesResponse { messages: views.iter().map(Into::into).collect() }))
    }

    async fn read_messages(
        &self,
        request: Request<v1::ReadMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, None).await?;
        let asked = request.messages.iter().take(HISTORY_PAGE as usize);
        let asked: Vec<_> = asked.map(|m| (ChannelId(m.channel_id), MessageId(m.message_id))).collect();
        let read = self.reads.several(&truth, UserId(request.actor_id), &asked);
        let views = settle(&span, read.instrument(span.clone()).await)?;
        Ok(Response::new(v1::ListMessagesResponse { messages: views.iter().map(Into::into).collect() }))
    }

    async fn list_readable(
        &self,
        request: Request<v1::ListReadableRequest>,
    ) -> Result<Response<v1::ListReadableResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, None).await?;
        let truth = truth.read();
        let read = truth.state.guild().and_then(|guild| access::history(guild, UserId(request.actor_id)));
        let read = read.map(|channels| v1::ListReadableResponse { channels: channels.map(|id| id.0).collect() });
        settle(&span, read.map(Response::new).map_err(Failure::Refused))
    }

    async fn add_reaction(&self, request: Request<v1::ReactionRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        self.done(remote, key, request::react(request, true)?).await
    }

    async fn remove_reaction(&self, request: Request<v1::ReactionRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        self.done(remote, key, request::react(request, false)?).await
    }

    async fn list_reactions(
        &self,
        request: Request<v1::ListReactionsRequest>,
    ) -> Result<Response<v1::ListReactionsResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let emoji = request::emoji(request.emoji)?;
        let (truth, span) = self.enter(&remote, key(request.key)?, Some(request.channel_id)).await?;
        let limit = request.limit.clamp(1, HISTORY_PAGE) as usize;
        let message = (ChannelId(request.channel_id), MessageId(request.message_id));
        let (actor, after) = (UserId(request.actor_id), request.after.map(UserId));
        let read = self.reads.reactions(&truth, actor, message, &emoji, after, limit);
        let users = settle(&span, read.instrument(span.clone()).await)?;
        Ok(Response::new(v1::ListReactionsResponse { users: users.iter().map(Into::into).collect() }))
    }

    async fn start_typing(&self, request: Request<v1::StartTypingRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::Type { channel_id: ChannelId(request.channel_id), user: UserId(request.user_id) };
        self.done(remote, key(request.key)?, command).await
    }

    async fn set_voice_state(&self, request: Request<v1::SetVoiceStateRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let key = key(request.key)?;
        self.done(remote, key, request::set_voice(request)).await
    }

    async fn move_voice(&self, request: Request<v1::MoveVoiceRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::MoveVoice {
            actor: Actor::from_wire(request.actor_id),
            user: UserId(request.user_id),
            channel_id: request.channel_id.map(ChannelId),
        };
        self.done(remote, key(request.key)?, command).await
    }

    async fn create_guild(&self, request: Request<v1::CreateGuildRequest>) -> Result<Response<v1::GuildState>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let state = request::guild_state(request.state)?;
        let key = Key::Guild(state.guild.id);
        match self.command(remote, key, Command::CreateGuild(Box::new(state))).await? {
            Answer::Guild(guild) => Ok(Response::new((&*guild).into())),
            _ => Err(Status::internal("not a guild")),
        }
    }

    async fn get_guild(&self, request: Request<v1::GetGuildRequest>) -> Result<Response<v1::GuildState>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, None).await?;
        let truth = truth.read();
        let read = truth.state.guild().and_then(|guild| {
            access::guild_wide(guild, Actor::from_wire(request.actor_id))?;
            Ok(guild.into())
        });
        settle(&span, read.map(Response::new).map_err(Failure::Refused))
    }

    async fn change_guild(&self, request: Request<v1::ChangeGuildRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::ChangeGuild {
            actor: Actor::from_wire(request.actor_id),
            change: request::guild_change(request.change)?,
        };
        self.done(remote, key(request.key)?, command).await
    }

    async fn create_user(&self, request: Request<v1::CreateUserRequest>) -> Result<Response<v1::User>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let user = request::user(request.user)?;
        match self.command(remote, Key::User(user.id), Command::CreateUser(user)).await? {
            Answer::User(user) => Ok(Response::new((&user).into())),
            _ => Err(Status::internal("not a user")),
        }
    }

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Result<Response<v1::UserState>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, Key::User(UserId(request.user_id)), None).await?;
        let truth = truth.read();
        settle(&span, truth.state.user().map(|user| Response::new(user_state(user, false))).map_err(Failure::Refused))
    }

    async fn change_user(&self, request: Request<v1::ChangeUserRequest>) -> Result<Response<Done>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::ChangeUser(request::user_change(request.change)?);
        self.done(remote, Key::User(UserId(request.user_id)), command).await
    }

    async fn put_read_state(
        &self,
        request: Request<v1::PutReadStateRequest>,
    ) -> Result<Response<v1::ReadState>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let command = Command::PutReadState { put: request::read_state_put(request.put)?, manual: request.manual };
        match self.command(remote, Key::User(UserId(request.user_id)), command).await? {
            Answer::ReadState(state) => Ok(Response::new((&state).into())),
            _ => Err(Status::internal("not a read state")),
        }
    }

    async fn count_unread(
        &self,
        request: Request<v1::CountUnreadRequest>,
    ) -> Result<Response<v1::CountUnreadResponse>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, key(request.key)?, request.channel_id).await?;
        let (reader, read) = (UserId(request.actor_id), request::read_states(request.read)?);
        let counting = self.reads.unread(&truth, reader, &read, request.channel_id.map(ChannelId));
        let counted = settle(&span, counting.instrument(span.clone()).await)?;
        let channels = counted
            .channels
            .iter()
            .map(|(channel, unread)| v1::UnreadChannel { channel_id: channel.0, unread: Some(unread.into()) });
        let gone = counted.gone.iter().map(|channel| channel.0).collect();
        let guild_id = Some(counted.guild.0);
        Ok(Response::new(v1::CountUnreadResponse { channels: channels.collect(), gone, guild_id }))
    }

    async fn authenticate(&self, request: Request<v1::AuthenticateRequest>) -> Result<Response<v1::User>, Status> {
        let (remote, request) = (remote(&request), request.into_inner());
        let (truth, span) = self.enter(&remote, Key::User(UserId(request.user_id)), None).await?;
        let hash = <[u8; 32]>::try_from(&*request.token_hash).map(TokenHash);
        let truth = truth.read();
        let found = match (truth.state.user(), hash) {
            (Ok(state), Ok(hash)) if state.tokens.contains_key(&hash) => Ok(Response::new((&state.user).into())),
            _ => Err(Failure::Refused(Refusal::UNAUTHENTICATED)),
        };
        settle(&span, found)
    }
}
