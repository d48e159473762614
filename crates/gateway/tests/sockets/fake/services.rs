//! The contract of the services that a world stands for.

use super::*;

type Answer<T> = Result<Response<T>, Status>;

fn not_here<T>() -> Answer<T> {
    Err(Status::unimplemented("not in this fake"))
}

#[tonic::async_trait]
impl Channel for World {
    type FollowStream = UnboundedReceiverStream<Result<v1::FollowResponse, Status>>;

    async fn follow(&self, request: Request<Streaming<v1::FollowRequest>>) -> Answer<Self::FollowStream> {
        if self.lock().refusing {
            return Err(Status::unavailable("refusing"));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let world = self.clone();
        let mut asked = request.into_inner();
        let follower = sender.downgrade();
        self.lock().streams.push(sender);
        tokio::spawn(async move {
            while let Ok(Some(request)) = asked.message().await {
                // The world holds the stream's other end: it is gone when the world has dropped it.
                let (Some(asked), Some(follower)) = (request.request, follower.upgrade()) else { return };
                world.lock().take(asked, &follower);
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }

    async fn authenticate(&self, request: Request<v1::AuthenticateRequest>) -> Answer<v1::User> {
        let request = request.into_inner();
        let inner = self.lock();
        let hash = TokenHash(request.token_hash.as_ref().try_into().expect("32 bytes"));
        let user = inner.users.get(&UserId(request.user_id)).filter(|_| inner.tokens.contains(&hash));
        let refusal = v1::Refusal { status: 401, code: 0, message: "401: Unauthorized".into(), fields: Vec::new() };
        let details = prost::Message::encode_to_vec(&refusal);
        let refused = || Status::with_details(tonic::Code::Unauthenticated, "no", details.into());
        user.map(|u| Response::new((&u.user).into())).ok_or_else(refused)
    }

    async fn create_message(&self, _: Request<v1::CreateMessageRequest>) -> Answer<v1::MessageView> {
        not_here()
    }
    async fn edit_message(&self, _: Request<v1::EditMessageRequest>) -> Answer<v1::MessageView> {
        not_here()
    }
    async fn delete_message(&self, _: Request<v1::DeleteMessageRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn get_message(&self, _: Request<v1::GetMessageRequest>) -> Answer<v1::MessageView> {
        not_here()
    }
    async fn list_messages(&self, _: Request<v1::ListMessagesRequest>) -> Answer<v1::ListMessagesResponse> {
        not_here()
    }
    async fn add_reaction(&self, _: Request<v1::ReactionRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn remove_reaction(&self, _: Request<v1::ReactionRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn read_messages(&self, _: Request<v1::ReadMessagesRequest>) -> Answer<v1::ListMessagesResponse> {
        not_here()
    }
    async fn list_readable(&self, _: Request<v1::ListReadableRequest>) -> Answer<v1::ListReadableResponse> {
        not_here()
    }
    async fn list_reactions(&self, _: Request<v1::ListReactionsRequest>) -> Answer<v1::ListReactionsResponse> {
        not_here()
    }
    async fn start_typing(&self, _: Request<v1::StartTypingRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn set_voice_state(&self, _: Request<v1::SetVoiceStateRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn move_voice(&self, _: Request<v1::MoveVoiceRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn purge_messages(&self, _: Request<v1::PurgeMessagesRequest>) -> Answer<v1::PurgeMessagesResponse> {
        not_here()
    }
    async fn create_guild(&self, _: Request<v1::CreateGuildRequest>) -> Answer<v1::GuildState> {
        not_here()
    }
    async fn get_guild(&self, _: Request<v1::GetGuildRequest>) -> Answer<v1::GuildState> {
        not_here()
    }
    async fn change_guild(&self, _: Request<v1::ChangeGuildRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn create_user(&self, _: Request<v1::CreateUserRequest>) -> Answer<v1::User> {
        not_here()
    }
    async fn get_user(&self, _: Request<v1::GetUserRequest>) -> Answer<v1::UserState> {
        not_here()
    }
    async fn change_user(&self, _: Request<v1::ChangeUserRequest>) -> Answer<v1::Done> {
        not_here()
    }
    async fn put_read_state(&self, _: Request<v1::PutReadStateRequest>) -> Answer<v1::ReadState> {
        not_here()
    }
    async fn count_unread(&self, _: Request<v1::CountUnreadRequest>) -> Answer<v1::CountUnreadResponse> {
        not_here()
    }
}

#[tonic::async_trait]
impl Router for World {
    type FollowSlotsStream = ReceiverStream<Result<v1::SlotsChanged, Status>>;

    async fn follow_slots(&self, _: Request<v1::FollowSlotsRequest>) -> Answer<Self::FollowSlotsStream> {
        not_here()
    }

    type JoinStream = ReceiverStream<Result<v1::JoinResponse, Status>>;

    async fn route(&self, request: Request<v1::RouteRequest>) -> Answer<v1::RouteResponse> {
        let Some(v1::route_request::What::Key(key)) = request.into_inner().what else {
            return Err(Status::not_found("no channels here"));
        };
        let slot = Key::try_from(key).map_err(|_| Status::invalid_argument("no key"))?.slot();
        let address = self.lock().address.clone();
        Ok(Response::new(v1::RouteResponse {
            key: Some(key),
            slot: slot.0.into(),
            epoch: 1,
            server: "channel-0".into(),
            address,
        }))
    }

    async fn place_voice(&self, _: Request<v1::PlaceVoiceRequest>) -> Answer<v1::VoiceServer> {
        not_here()
    }

    async fn list_members(&self, _: Request<v1::ListMembersRequest>) -> Answer<v1::ListMembersResponse> {
        not_here()
    }

    async fn join(&self, request: Request<Streaming<v1::JoinRequest>>) -> Answer<Self::JoinStream> {
        let (sender, receiver) = mpsc::channel(1);
        let world = self.clone();
        let mut said = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = said.message().await {
                if let Some(v1::join_request::Request::Hello(hello)) = request.request {
                    world.lock().gateway = Some(hello.address);
                }
            }
            drop(sender);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl Presences for World {
    type AttendStream = UnboundedReceiverStream<Result<v1::AttendResponse, Status>>;

    async fn attend(&self, request: Request<Streaming<v1::AttendRequest>>) -> Answer<Self::AttendStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let say = |to: &mpsc::UnboundedSender<_>, told| {
            let _ = to.send(Ok(v1::AttendResponse { response: Some(told) }));
        };
        say(&sender, Attended::Welcome(v1::Welcome { lease_ms: 300 }));
        let world = self.clone();
        let mut asked = request.into_inner();
        let weak = sender.downgrade();
        self.lock().attending.push(sender);
        tokio::spawn(async move {
            while let Ok(Some(request)) = asked.message().await {
                let (Some(asked), Some(to)) = (request.request, weak.upgrade()) else { return };
                let mut inner = world.lock();
                match asked {
                    Attends::Words(words) => inner.words.extend(words.words),
                    Attends::Watch(watch) => {
                        let shown = watch.user_ids.iter().filter_map(|user| {
                            let presence = inner.shown.get(&UserId(*user))?.clone();
                            Some(v1::PresenceChange { user_id: *user, presence: Some(presence) })
                        });
                        say(&to, Attended::Changes(v1::PresenceChanges { changes: shown.collect() }));
                        say(&to, Attended::Answered(watch.token));
                    }
                    Attends::Sample(sample) => say(&to, Attended::Answered(sample.token)),
                    Attends::Beat(_) => say(&to, Attended::Beat(true)),
                    Attends::Hello(_) | Attends::AllSaid(_) | Attends::Unwatch(_) => {}
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}
