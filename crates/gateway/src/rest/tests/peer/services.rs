//! The contract of the services that the fake stands for: what a call is written down as, and what it answers.

use super::*;

#[async_trait]
impl RouterService for Fake {
    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        let key = match request.into_inner().what {
            Some(What::ChannelId(id)) if id == CHANNEL.0 || id == HIDDEN.0 => Key::Guild(GUILD),
            Some(What::Key(key)) => Key::try_from(key).map_err(|_| Status::invalid_argument("key"))?,
            _ => return Err(Status::not_found("no such channel")),
        };
        self.state().calls.push(format!("route {key}"));
        Ok(Response::new(v1::RouteResponse {
            key: Some(key.into()),
            slot: u32::from(key.slot().0),
            epoch: 1,
            server: "channel-0".into(),
            address: "in-process:peer-0".into(),
        }))
    }

    type FollowSlotsStream = BoxStream<v1::SlotsChanged>;

    async fn follow_slots(
        &self,
        _: Request<v1::FollowSlotsRequest>,
    ) -> Result<Response<Self::FollowSlotsStream>, Status> {
        Err(Status::unimplemented("follow_slots"))
    }

    type JoinStream = BoxStream<v1::JoinResponse>;

    async fn place_voice(&self, _: Request<v1::PlaceVoiceRequest>) -> Result<Response<v1::VoiceServer>, Status> {
        Err(Status::unimplemented("place_voice"))
    }

    async fn list_members(
        &self,
        _: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        Err(Status::unimplemented("list_members"))
    }

    async fn join(&self, _: Request<Streaming<v1::JoinRequest>>) -> Result<Response<Self::JoinStream>, Status> {
        Err(Status::unimplemented("join"))
    }
}

#[async_trait]
impl SearchService for Fake {
    async fn find(&self, r: Request<v1::FindRequest>) -> Result<Response<v1::FindResponse>, Status> {
        let r = r.into_inner();
        let filters = |filters: &[v1::SearchFilter], sign: &str| {
            let each = |f: &v1::SearchFilter| format!(" {sign}{}={}", f.field().as_str_name(), f.values.join("|"));
            filters.iter().map(each).collect::<String>().replace("SEARCH_FIELD_", "").to_lowercase()
        };
        let call = format!(
            "find {:?} {:?} {:?}{}{} {:?}..{:?} {:?} {}+{}",
            r.channels.iter().map(|id| id - CHANNEL.0).collect::<Vec<_>>(),
            r.text,
            r.slop,
            filters(&r.with, ""),
            filters(&r.without, "-"),
            r.after,
            r.before,
            r.sort(),
            r.offset,
            r.limit,
        );
        let hit = v1::MessageRef { channel_id: CHANNEL.0, message_id: MESSAGE.0 };
        // A text of its own has the index not be there yet.
        let ready = r.text.as_deref() != Some("soon");
        self.called(call, v1::FindResponse { ready, refilling: false, total: 31, hits: vec![hit] })
    }
}

#[async_trait]
impl ChannelService for Fake {
    type FollowStream = BoxStream<v1::FollowResponse>;

    async fn follow(&self, _: Request<Streaming<v1::FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("follow"))
    }

    async fn create_message(&self, r: Request<v1::CreateMessageRequest>) -> Result<Response<v1::MessageView>, Status> {
        let r = r.into_inner();
        let call = format!("create {} enforce={} reply={:?}", r.content, r.enforce_nonce, r.reply_to);
        self.called(call, message(&r.content, r.nonce, &r.embeds_json))
    }

    async fn edit_message(&self, r: Request<v1::EditMessageRequest>) -> Result<Response<v1::MessageView>, Status> {
        let r = r.into_inner();
        let content = r.content.unwrap_or_default();
        self.called(format!("edit {content}"), message(&content, None, ""))
    }

    async fn delete_message(&self, r: Request<v1::DeleteMessageRequest>) -> Result<Response<Done>, Status> {
        self.called(format!("delete {}", r.into_inner().message_id), Done {})
    }

    /// Of the first channel there is more to look at.
    async fn purge_messages(
        &self,
        r: Request<v1::PurgeMessagesRequest>,
    ) -> Result<Response<v1::PurgeMessagesResponse>, Status> {
        let r = r.into_inner();
        let before = r.before.is_none().then_some(r.after + 1);
        let call = format!("purge {} {} {} {:?}", r.channel_id, r.author_id, r.after, r.before);
        self.called(call, v1::PurgeMessagesResponse { deleted: 1, before })
    }

    async fn get_message(&self, r: Request<v1::GetMessageRequest>) -> Result<Response<v1::MessageView>, Status> {
        let mut view = message("kept", None, "");
        if let Some(message) = view.message.as_mut().filter(|_| self.state().traced) {
            message.trace_id = Some(vec![0xab; 16].into());
        }
        self.called(format!("get {}", r.into_inner().message_id), view)
    }

    async fn list_messages(
        &self,
        r: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let r = r.into_inner();
        let messages = vec![message("newest", None, ""), message("older", None, "")];
        self.called(format!("list {} {:?}", r.limit, r.anchor), v1::ListMessagesResponse { messages })
    }

    async fn read_messages(
        &self,
        r: Request<v1::ReadMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let asked = r.into_inner().messages;
        let messages = asked.iter().map(|_| message("found", None, "")).collect();
        self.called(format!("read {}", asked.len()), v1::ListMessagesResponse { messages })
    }

    async fn list_readable(
        &self,
        _: Request<v1::ListReadableRequest>,
    ) -> Result<Response<v1::ListReadableResponse>, Status> {
        self.called("readable".into(), v1::ListReadableResponse { channels: vec![CHANNEL.0, CHANNEL.0 + 7] })
    }

    async fn add_reaction(&self, r: Request<v1::ReactionRequest>) -> Result<Response<Done>, Status> {
        let r = r.into_inner();
        self.called(format!("react {} {}", r.user_id, emoji(r.emoji)), Done {})
    }

    async fn remove_reaction(&self, r: Request<v1::ReactionRequest>) -> Result<Response<Done>, Status> {
        let r = r.into_inner();
        self.called(format!("unreact {} {}", r.user_id, emoji(r.emoji)), Done {})
    }

    async fn list_reactions(
        &self,
        r: Request<v1::ListReactionsRequest>,
    ) -> Result<Response<v1::ListReactionsResponse>, Status> {
        let r = r.into_inner();
        let users = vec![v1::User::from(&me())];
        self.called(
            format!("reactions {} {:?} {}", r.limit, r.after, emoji(r.emoji)),
            v1::ListReactionsResponse { users },
        )
    }

    async fn start_typing(&self, r: Request<v1::StartTypingRequest>) -> Result<Response<Done>, Status> {
        self.called(format!("type {}", r.into_inner().user_id), Done {})
    }

    async fn set_voice_state(&self, _: Request<v1::SetVoiceStateRequest>) -> Result<Response<Done>, Status> {
        Err(Status::unimplemented("set_voice_state"))
    }

    async fn move_voice(&self, r: Request<v1::MoveVoiceRequest>) -> Result<Response<Done>, Status> {
        let r = r.into_inner();
        self.called(format!("move {} {:?}", r.user_id, r.channel_id), Done {})
    }

    async fn create_guild(&self, _: Request<v1::CreateGuildRequest>) -> Result<Response<v1::GuildState>, Status> {
        Err(Status::unimplemented("create_guild"))
    }

    async fn get_guild(&self, _: Request<v1::GetGuildRequest>) -> Result<Response<v1::GuildState>, Status> {
        let mut guild = guild();
        if self.state().moderated {
            let may_ban = |role: &mut Role| role.permissions = role.permissions.union(Permissions::BAN_MEMBERS);
            guild.roles.values_mut().for_each(may_ban);
            guild.channels.entry(CHANNEL).and_modify(|channel| channel.last_message_id = Some(MessageId(u64::MAX)));
        }
        self.called("guild".into(), (&guild).into())
    }

    async fn change_guild(&self, r: Request<v1::ChangeGuildRequest>) -> Result<Response<Done>, Status> {
        let change = r.into_inner().change.ok_or_else(|| Status::invalid_argument("change"))?;
        let call = match Event::try_from(change).map_err(|e| Status::invalid_argument(e.to_string()))? {
            Event::Guild(GuildEvent::ChannelPut(c)) => {
                format!("channel {} {:?} {:?} {}", c.name, c.kind, c.topic, c.overwrites.len())
            }
            Event::Guild(GuildEvent::RolePut(r)) => format!("role {} {} {}", r.name, r.color, r.permissions),
            Event::Guild(GuildEvent::MemberPut(m)) => format!("member {} {:?}", m.user.id, m.roles),
            other => format!("{other:?}"),
        };
        self.called(call, Done {})
    }

    async fn create_user(&self, _: Request<v1::CreateUserRequest>) -> Result<Response<v1::User>, Status> {
        Err(Status::unimplemented("create_user"))
    }

    async fn get_user(&self, r: Request<v1::GetUserRequest>) -> Result<Response<v1::UserState>, Status> {
        let user = Some(v1::User { id: r.into_inner().user_id, ..v1::User::from(&self.account()) });
        let read = |channel_id, guild| v1::ReadState { channel_id, last_read_id: 5, guild_id: Some(guild) };
        let read_states = vec![read(CHANNEL.0, GUILD.0), read(GONE.0, GUILD.0), read(ELSEWHERE.0, GUILD.0 + 99)];
        let guilds = vec![GUILD.0];
        self.called("user".into(), v1::UserState { user, tokens: Vec::new(), guilds, read_states })
    }

    async fn change_user(&self, r: Request<v1::ChangeUserRequest>) -> Result<Response<Done>, Status> {
        let change = r.into_inner().change.ok_or_else(|| Status::invalid_argument("change"))?;
        let change = Event::try_from(change).map_err(|e| Status::invalid_argument(e.to_string()))?;
        self.called(format!("{change:?}"), Done {})
    }

    async fn put_read_state(&self, r: Request<v1::PutReadStateRequest>) -> Result<Response<v1::ReadState>, Status> {
        let r = r.into_inner();
        let state = r.put.and_then(|put| put.state).ok_or_else(|| Status::invalid_argument("put"))?;
        let last_read_id = self.state().ahead.take().unwrap_or(state.last_read_id);
        let kept = v1::ReadState { last_read_id, ..state };
        self.called(format!("put {} manual={}", state.last_read_id, r.manual), kept)
    }

    /// The newest message of every channel is 9; each after what is read is unread, and every third mentions.
    async fn count_unread(
        &self,
        r: Request<v1::CountUnreadRequest>,
    ) -> Result<Response<v1::CountUnreadResponse>, Status> {
        let r = r.into_inner();
        let read = r.read.iter().find(|read| read.channel_id == CHANNEL.0).map_or(0, |read| read.last_read_id);
        let messages = 9_u32.saturating_sub(u32::try_from(read).unwrap_or(u32::MAX));
        let unread = v1::Unread { messages, mentions: messages / 3, last_message_id: Some(9) };
        let channels = vec![v1::UnreadChannel { channel_id: CHANNEL.0, unread: Some(unread) }];
        let gone = r.read.iter().map(|read| read.channel_id).filter(|id| *id == GONE.0).collect();
        let asked: Vec<u64> = r.read.iter().map(|read| read.last_read_id).collect();
        let answer = v1::CountUnreadResponse { channels, gone, guild_id: Some(GUILD.0) };
        self.called(format!("count {asked:?} {:?}", r.channel_id.is_some()), answer)
    }

    async fn authenticate(&self, r: Request<v1::AuthenticateRequest>) -> Result<Response<v1::User>, Status> {
        if r.into_inner().token_hash == token::hash(&my_token()).0[..] {
            return Ok(Response::new((&self.account()).into()));
        }
        Err(refusal(401, 0, &[]))
    }
}
