//! What is unread is counted as it is read: permitted, exact up to a bound, and not looked for where nothing is.

use clarion_model::event::{Event, GuildEvent, ReadStatePut, Unread};
use clarion_model::guild::ChannelKind;
use clarion_model::id::{ChannelId, MessageId};
use clarion_model::limits::UNREAD;
use clarion_model::permission::Permissions;
use clarion_model::user::ReadState;
use clarion_observability::recent::SpanRecord;
use clarion_proto::v1;

use super::bench::*;
use crate::Config;
use crate::owner::tests::{
    ANN, BOSS, CATEGORY, FANS, GUILD, HIDDEN, MODERATOR, STRANGER, TEXT, channel, member, role, user,
};

const SECOND: ChannelId = ChannelId(20);

fn request(read: &[(ChannelId, u64)], only: Option<ChannelId>) -> v1::CountUnreadRequest {
    let read = read.iter().map(|(channel, last)| v1::ReadState {
        channel_id: channel.0,
        last_read_id: *last,
        guild_id: Some(GUILD.0),
    });
    v1::CountUnreadRequest {
        key: Some(KEY.into()),
        actor_id: ANN.0,
        read: read.collect(),
        channel_id: only.map(|channel| channel.0),
    }
}

/// Messages, mentions and the newest, by channel.
async fn count(client: &mut Client, request: v1::CountUnreadRequest) -> Vec<(u64, u32, u32, Option<u64>)> {
    let counted = client.count_unread(request).await.unwrap().into_inner();
    assert_eq!(counted.guild_id, Some(GUILD.0));
    let channels = counted.channels.into_iter().map(|channel| {
        let unread = channel.unread.unwrap();
        (channel.channel_id, unread.messages, unread.mentions, unread.last_message_id)
    });
    channels.collect()
}

async fn change(client: &mut Client, change: GuildEvent) {
    let change = Some((&Event::Guild(change)).into());
    client.change_guild(v1::ChangeGuildRequest { key: Some(KEY.into()), actor_id: 0, change }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_said_since_is_unread() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    change(&mut client, GuildEvent::ChannelPut(channel(SECOND, ChannelKind::Text))).await;
    let mut ann = member(ANN, &[FANS]);
    ann.nick = Some("Ann".into());
    change(&mut client, GuildEvent::MemberPut(ann)).await;
    let first = send(&mut client, BOSS, "one").await;
    send(&mut client, ANN, "my own").await;
    send(&mut client, BOSS, &format!("<@{ANN}> <@&{FANS}>")).await;
    send(&mut client, BOSS, &format!("<@&{FANS}>")).await;
    let everyone = send(&mut client, MODERATOR, "@everyone").await;
    let last = send(&mut client, BOSS, "six").await;
    let gone =
        v1::DeleteMessageRequest { key: Some(KEY.into()), channel_id: TEXT.0, message_id: last.0, actor_id: BOSS.0 };
    client.delete_message(gone).await.unwrap();

    // Never read: since the member joined. What nobody can read any more is not unread. The hidden channel and the
    // category are not there.
    let all = count(&mut client, request(&[], None)).await;
    assert_eq!(all, [(TEXT.0, 4, 3, Some(last.0)), (SECOND.0, 0, 0, None)]);
    let all = count(&mut client, request(&[(TEXT, first.0), (SECOND, 5)], None)).await;
    assert_eq!(all, [(TEXT.0, 3, 3, Some(last.0)), (SECOND.0, 0, 0, None)]);
    let only = |after| request(&[(TEXT, after)], Some(TEXT));
    assert_eq!(count(&mut client, only(everyone.0 - 1)).await, [(TEXT.0, 1, 1, Some(last.0))]);
    assert_eq!(count(&mut client, only(everyone.0)).await, [(TEXT.0, 0, 0, Some(last.0))]);
    assert_eq!(count(&mut client, only(u64::MAX)).await, [(TEXT.0, 0, 0, Some(last.0))]);

    // Where nothing is new, nothing is read.
    for (after, reads) in [(last.0, 0), (everyone.0, 1)] {
        let trace = format!("{after:032x}");
        let mut traced = tonic::Request::new(only(after));
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        traced.metadata_mut().insert("traceparent", parent.parse().unwrap());
        client.count_unread(traced).await.unwrap();
        let of_it = |span: &SpanRecord, name| span.trace_id.to_string() == trace && span.name == name;
        let ended = bench.capture.wait_for(|spans| spans.iter().any(|span| of_it(span, "channel.process"))).await;
        let queries = ended.unwrap().iter().filter(|span| of_it(span, "db.query")).count();
        assert_eq!(queries, reads, "after {after}");
    }

    let counted = client.count_unread(request(&[(ChannelId(77), 1), (TEXT, 1)], None)).await.unwrap().into_inner();
    assert_eq!(counted.gone, [77]);
    for (channel, code) in [(ChannelId(77), 10_003), (HIDDEN, 50_001), (CATEGORY, 50_008)] {
        let status = client.count_unread(request(&[], Some(channel))).await.unwrap_err();
        assert_eq!(super::bench::refusal(&status).code, code, "{channel}");
    }
    let stranger = v1::CountUnreadRequest { actor_id: STRANGER.0, ..request(&[], None) };
    assert_eq!(super::bench::refusal(&client.count_unread(stranger).await.unwrap_err()).code, 50_001);

    // Who may not read history has nothing to read.
    change(&mut client, GuildEvent::RolePut(role(GUILD.everyone(), 0, Permissions::VIEW_CHANNEL))).await;
    assert_eq!(count(&mut client, only(0)).await, [(TEXT.0, 0, 0, Some(last.0))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_ends_at_a_bound() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    send(&mut client, BOSS, &format!("<@{ANN}> too long ago to be counted")).await;
    for _ in 0..UNREAD {
        send(&mut client, BOSS, "more").await;
    }
    let counted = count(&mut client, request(&[], Some(TEXT))).await;
    assert_eq!((counted[0].1, counted[0].2), (UNREAD as u32, 0));
    // What one has said oneself does not fill the count: the page before is read, too.
    for _ in 0..UNREAD + 20 {
        send(&mut client, ANN, "mine").await;
    }
    assert_eq!(count(&mut client, request(&[], Some(TEXT))).await[0].1, UNREAD as u32);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_states_are_kept_with_the_account() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    client.create_user(v1::CreateUserRequest { user: Some((&user(ANN)).into()) }).await.unwrap();
    let put = |last, manual| {
        let state = ReadState { channel_id: TEXT, guild_id: Some(GUILD), last_read_id: MessageId(last) };
        let put = ReadStatePut { state, unread: Unread::default() };
        v1::PutReadStateRequest { user_id: ANN.0, put: Some((&put).into()), manual }
    };
    for (last, manual, kept) in [(5, false, 5), (4, false, 5), (4, true, 4), (7, false, 7)] {
        assert_eq!(client.put_read_state(put(last, manual)).await.unwrap().into_inner().last_read_id, kept);
    }
    let stored = bench.store.stores().users.get(ANN).await.unwrap().unwrap();
    assert_eq!(stored.read_states[&TEXT].last_read_id, MessageId(7));
    let told = client.get_user(v1::GetUserRequest { user_id: ANN.0 }).await.unwrap().into_inner();
    assert_eq!(told.read_states[0].last_read_id, 7);
}
