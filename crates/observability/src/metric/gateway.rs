//! What a gateway counts: sockets, frames, deliveries, sends, API requests.

use super::label::label;
use super::{By, Counter, GatewayInstance, Gauge, Histogram, LATENCY, Own, RequestDurations, instruments};

label! {
    /// Where a session was that was gone on with.
    ResumedFrom = "from" { Here = "here", Gateway = "gateway", Left = "left", Checkpoint = "checkpoint" }
}

label! {
    /// What a client sends over its socket.
    EventType = "event_type" {
        Heartbeat = "heartbeat", Identify = "identify", Resume = "resume", PresenceUpdate = "presence_update",
        VoiceStateUpdate = "voice_state_update", RequestGuildMembers = "request_guild_members", Unknown = "unknown",
    }
}

label! {
    /// What a gateway sends over a socket: dispatches by their names, the rest by their opcodes.
    SentType = "event_type" {
        Ready = "READY", Resumed = "RESUMED", GuildCreate = "GUILD_CREATE", GuildUpdate = "GUILD_UPDATE",
        GuildDelete = "GUILD_DELETE", ChannelCreate = "CHANNEL_CREATE", ChannelUpdate = "CHANNEL_UPDATE",
        ChannelDelete = "CHANNEL_DELETE", GuildRoleCreate = "GUILD_ROLE_CREATE", GuildRoleUpdate = "GUILD_ROLE_UPDATE",
        GuildRoleDelete = "GUILD_ROLE_DELETE", GuildMemberAdd = "GUILD_MEMBER_ADD", GuildMemberUpdate = "GUILD_MEMBER_UPDATE",
        GuildMemberRemove = "GUILD_MEMBER_REMOVE", GuildMembersChunk = "GUILD_MEMBERS_CHUNK", MessageCreate = "MESSAGE_CREATE",
        MessageUpdate = "MESSAGE_UPDATE", MessageDelete = "MESSAGE_DELETE", MessageReactionAdd = "MESSAGE_REACTION_ADD",
        MessageReactionRemove = "MESSAGE_REACTION_REMOVE", TypingStart = "TYPING_START", PresenceUpdate = "PRESENCE_UPDATE",
        ReadStateUpdate = "READ_STATE_UPDATE", GuildBanAdd = "GUILD_BAN_ADD", GuildBanRemove = "GUILD_BAN_REMOVE",
        VoiceStateUpdate = "VOICE_STATE_UPDATE", Hello = "hello", HeartbeatAck = "heartbeat_ack", Reconnect = "reconnect",
        InvalidSession = "invalid_session", Close = "close", Other = "other",
    }
}

label! {
    /// Why a socket went wrong.
    SocketError = "error_type" {
        AuthFailed = "auth_failed", Timeout = "timeout", Closed = "closed", Decode = "decode", RateLimited = "rate_limited",
        SlowConsumer = "slow_consumer", Server = "server",
    }
}

label! {
    /// Who can see a channel.
    ChannelType = "channel_type" { Public = "public", Private = "private", Dm = "dm" }
}

label! {
    /// Why an event did not reach a session that should have had it.
    DeliveryError = "error_type" {
        SlowConsumer = "slow_consumer", Closed = "closed", Encode = "encode", Timeout = "timeout", Server = "server",
    }
}

label! {
    /// Why a message was not accepted.
    SendError = "error_type" {
        Invalid = "invalid", Unauthorized = "unauthorized", Forbidden = "forbidden", NotFound = "not_found", RateLimited = "rate_limited",
        Unavailable = "unavailable", Timeout = "timeout", Server = "server",
    }
}

label! {
    /// The status of an answer that is an error.
    Status = "status" {
        BadRequest = "400", Unauthorized = "401", Forbidden = "403", NotFound = "404", MethodNotAllowed = "405", Conflict = "409",
        PayloadTooLarge = "413", TooManyRequests = "429", Internal = "500", NotImplemented = "501", BadGateway = "502",
        Unavailable = "503", GatewayTimeout = "504", Other = "other",
    }
}

label! {
    /// How an authentication ended.
    AuthResult = "result" { Success = "success", Failure = "failure" }
}

label! {
    /// Which limit was hit.
    RateScope = "scope" {
        Global = "global", Route = "route", Channel = "channel", Identify = "identify", Socket = "socket", Address = "address",
    }
}

label! {
    /// How a session is opened.
    Opening = "kind" { Resume = "resume", Identify = "identify" }
}

label! {
    /// Why a client may not open a session just now.
    AdmissionRefusal = "reason" {
        QueueFull = "queue_full", Timeout = "timeout", Concurrency = "concurrency", SessionLimit = "session_limit", Address = "address",
    }
}

impl Status {
    /// The label of a status code; those without their own are `other`.
    pub fn of(code: u16) -> Status {
        use super::Label;
        let mut digits = [0; 3];
        let code = code.min(999);
        for (digit, divisor) in digits.iter_mut().zip([100, 10, 1]) {
            *digit = b'0' + (code / divisor % 10) as u8;
        }
        std::str::from_utf8(&digits).ok().and_then(Status::parse).unwrap_or(Status::Other)
    }
}

impl SentType {
    /// The label of a dispatch by its name; one that is not in the table is `other`.
    pub fn of(dispatch: &str) -> SentType {
        use super::Label;
        SentType::parse(dispatch).unwrap_or(SentType::Other)
    }
}

instruments! {
    /// The instruments of a gateway.
    GatewayMetrics:
    /// Open sockets.
    connections_active: Own<GatewayInstance, Gauge> = "websocket.connections.active", Count;
    /// How many sockets this gateway accepts.
    connections_capacity: Gauge = "websocket.connections.capacity", Count;
    /// Frames that wait to be written to a socket.
    sends_pending: Gauge = "websocket.sends.pending", Count;
    /// Frames received from clients.
    messages_received: By<EventType, Counter> = "websocket.messages.received", Count;
    /// Frames sent to clients.
    messages_sent: By<SentType, Counter> = "websocket.messages.sent", Count;
    /// Time from a client's frame to the end of its handling.
    message_latency: By<EventType, Histogram> = "websocket.message.latency", Seconds, LATENCY;
    /// Sockets that went wrong.
    errors: By<SocketError, Counter> = "websocket.errors", Count;
    /// Sessions without a socket that may still be resumed.
    reconnections_pending: Gauge = "websocket.reconnections.pending", Count;
    /// How long sockets stayed open.
    connection_duration: Histogram = "websocket.connection.duration", Seconds, &[1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0];
    /// How long the shutdown of all sockets took, from the first that was asked to reconnect.
    shutdown_time: Histogram = "websocket.shutdown.time", Seconds, &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
    /// Time from a message's acknowledgement to the write to a recipient's socket.
    delivery_latency: By<ChannelType, Histogram> = "message.delivery.latency", Seconds, LATENCY;
    /// Messages written to a recipient's socket.
    deliveries: Counter = "message.delivery", Count;
    /// Messages that a connected recipient did not get.
    delivery_failures: By<DeliveryError, Counter> = "message.delivery.failures", Count;
    /// Messages that clients asked to send.
    sends: Counter = "message.send", Count;
    /// Messages that were not accepted.
    send_failures: By<SendError, Counter> = "message.send.failures", Count;
    /// Time from the request to send a message to its acknowledgement.
    send_latency: Histogram = "message.send.latency", Seconds, LATENCY;
    /// Duration of API requests.
    request_duration: RequestDurations = "http.server.request.duration", Seconds, LATENCY;
    /// API requests answered with an error.
    api_errors: By<Status, Counter> = "api.errors", Count;
    /// 1 while the gateway can serve, else 0.
    health_status: Gauge = "gateway.health.status", Count;
    /// Authentications by how they ended.
    authentications: By<AuthResult, Counter> = "gateway.authentications", Count;
    /// Requests and frames refused because a limit was hit.
    rate_limited: By<RateScope, Counter> = "gateway.rate_limited", Count;
    /// Clients that wait until they may open a session.
    admission_waiting: By<Opening, Gauge> = "gateway.admission.waiting", Count;
    /// Sessions that are being opened.
    admission_active: By<Opening, Gauge> = "gateway.admission.active", Count;
    /// How long clients waited until they might open a session.
    admission_wait: By<Opening, Histogram> = "gateway.admission.wait", Seconds, LATENCY;
    /// Clients that were sent away and may come back later.
    admission_refused: By<AdmissionRefusal, Counter> = "gateway.admission.refused", Count;
    /// Bytes that wait to be written to sockets, as of the last second.
    backlog_bytes: Gauge = "websocket.backlog", Bytes;
    /// Sessions, with a socket or without.
    sessions: Gauge = "gateway.sessions", Count;
    /// Memory held to replay events to sessions that resume.
    replay_bytes: Gauge = "gateway.replay.bytes", Bytes;
    /// Followed logs that had to be followed again.
    follow_restarts: Counter = "gateway.follow.restarts", Count;
    /// Sessions that were gone on with.
    resumed: By<ResumedFrom, Counter> = "gateway.sessions.resumed", Count;
    /// How often it was kept how far sessions had been told.
    checkpoints: Counter = "gateway.checkpoints", Count;
    /// Presence servers that are attended.
    presence_attended: Gauge = "gateway.presence.attended", Count;
    /// Users whose presence is not followed because there are too many.
    presence_refused: Counter = "gateway.presence.refused", Count;
}
