//! What follows from what happens to a session in voice.

use super::*;

const GUILD: GuildId = GuildId(1);
const ROOM: ChannelId = ChannelId(10);
const OTHER: ChannelId = ChannelId(11);

fn key(session: &str) -> LegKey {
    (GUILD, session.to_owned())
}

fn wanted(channel: ChannelId, speak: bool) -> Wanted {
    Wanted {
        user: UserId(7),
        person: true,
        channel,
        capacity: 0,
        region: String::new(),
        permissions: v1::VoicePermissions { speak, listen: true, ..v1::VoicePermissions::default() },
        traceparent: String::new(),
    }
}

fn server(name: &str, draining: bool) -> v1::VoiceServer {
    v1::VoiceServer { instance: name.into(), address: format!("at-{name}"), draining, ..v1::VoiceServer::default() }
}

fn admitted(key: &LegKey, wanted: &Wanted, name: &str) -> Option<Admitted> {
    let admission = v1::AdmitResponse { token: "t".into(), endpoint: name.into(), url: "u".into() };
    let participant = participant(key, wanted);
    Some(Admitted { server: server(name, false), admission, participant, permissions: wanted.permissions })
}

/// In one word each.
fn words(what: &[Do]) -> Vec<String> {
    let word = |one: &Do| match one {
        Do::Find { wanted, .. } => format!("find {}", wanted.channel),
        Do::Place { wanted, .. } => format!("place {}", wanted.channel),
        Do::Allow { request, .. } => format!("allow {}", request.permissions.is_some_and(|said| said.speak)),
        Do::Dismiss { participant, .. } => format!("dismiss {}", participant.channel_id),
        Do::Push { dispatch, may_be_lost, .. } => {
            let gone = format!("{dispatch:?}").contains("null");
            if *may_be_lost {
                "heard".into()
            } else if gone {
                "nowhere".into()
            } else {
                "server".into()
            }
        }
        Do::Leave { .. } => "leave".into(),
        Do::Attend { server, .. } => format!("attend {server}"),
        Do::Unattend { server } => format!("unattend {server}"),
    };
    what.iter().map(word).collect()
}

fn turn(what: &[Do]) -> u64 {
    let turn = |one: &Do| match one {
        Do::Find { turn, .. } | Do::Place { turn, .. } | Do::Allow { turn, .. } => Some(*turn),
        _ => None,
    };
    what.iter().find_map(turn).expect("something to be answered")
}

/// A session that is on a server.
fn on(book: &mut Book, session: &str, name: &str) {
    let (key, wanted) = (key(session), wanted(ROOM, true));
    let placing = book.want(&key, Some(wanted.clone()));
    assert_eq!(words(&placing), ["place 10"]);
    book.placed(&key, turn(&placing), admitted(&key, &wanted, name), Instant::now());
}

#[test]
fn a_session_is_placed_told_and_let_go() {
    let (mut book, key, wanted) = (Book::default(), key("s"), wanted(ROOM, true));
    let placing = book.want(&key, Some(wanted.clone()));
    let placed = book.placed(&key, turn(&placing), admitted(&key, &wanted, "a"), Instant::now());
    assert_eq!(words(&placed)[1], "attend a");
    assert_eq!(book.rooms(), BTreeSet::from([(ROOM, "a".to_owned())]));
    assert_eq!(words(&book.want(&key, None)), ["dismiss 10", "unattend a"]);
    assert!(book.rooms().is_empty());
}

fn found(key: &LegKey, wanted: &Wanted, name: &str) -> Option<Found> {
    let participant = participant(key, wanted);
    Some(Found { server: server(name, false), participant, permissions: wanted.permissions })
}

#[test]
fn a_session_from_another_gateway_stays_where_it_is_and_goes_on_to_the_next_one() {
    let (mut book, key, wanted) = (Book::default(), key("s"), wanted(ROOM, true));
    let finding = book.keep(&key, wanted.clone());
    assert_eq!(words(&finding), ["find 10"]);
    let there = book.found(&key, turn(&finding), found(&key, &wanted, "a"));
    assert_eq!(words(&there), ["attend a"], "nobody is sent anywhere");
    assert_eq!(book.rooms(), BTreeSet::from([(ROOM, "a".to_owned())]));
    let (media, what) = book.let_go(&key);
    assert_eq!(words(&what), ["unattend a"], "its media does not end");
    assert_eq!(media, Some(("at-a".to_owned(), participant(&key, &wanted))));
    assert!(book.rooms().is_empty() && book.want(&key, None).is_empty());
}

#[test]
fn a_session_that_came_and_is_nowhere_is_placed_anew() {
    let (mut book, key, wanted) = (Book::default(), key("s"), wanted(ROOM, true));
    let finding = book.keep(&key, wanted.clone());
    let placing = book.found(&key, turn(&finding), None);
    assert_eq!(words(&placing), ["place 10"]);
    book.want(&key, None);

    // Its client does not wait.
    let finding = book.keep(&key, wanted.clone());
    assert_eq!(words(&book.rejoin(&key)), ["place 10"]);
    assert!(book.found(&key, turn(&finding), found(&key, &wanted, "a")).is_empty(), "it is on its way there");
    book.want(&key, None);

    // It has left meanwhile.
    let finding = book.keep(&key, wanted.clone());
    book.want(&key, None);
    assert_eq!(words(&book.found(&key, turn(&finding), found(&key, &wanted, "a"))), ["dismiss 10"]);
}

#[test]
fn permissions_are_said_one_after_the_other_and_the_last_one_counts() {
    let (mut book, key) = (Book::default(), key("s"));
    on(&mut book, "s", "a");
    let muted = book.want(&key, Some(wanted(ROOM, false)));
    assert_eq!(words(&muted), ["allow false"]);
    assert!(book.want(&key, Some(wanted(ROOM, true))).is_empty(), "the first is under way");
    let then = book.allowed(&key, turn(&muted), Ok(()));
    assert_eq!(words(&then), ["allow true"]);
    assert!(book.allowed(&key, turn(&then), Ok(())).is_empty());
    let muted = book.want(&key, Some(wanted(ROOM, false)));
    let before = wanted(ROOM, true).permissions;
    assert!(book.allowed(&key, turn(&muted), Err(NotAllowed::Failed(before))).is_empty());
    assert_eq!(words(&book.tick(Instant::now())), ["allow false"], "said again");
}

#[test]
fn an_answer_to_an_earlier_question_lets_nobody_in() {
    let (mut book, key) = (Book::default(), key("s"));
    let first = book.want(&key, Some(wanted(ROOM, true)));
    let second = book.want(&key, Some(wanted(OTHER, true)));
    assert_eq!(words(&second), ["place 11"]);
    let late = book.placed(&key, turn(&first), admitted(&key, &wanted(ROOM, true), "a"), Instant::now());
    assert_eq!(words(&late), ["dismiss 10"]);
    book.want(&key, None);
    let late = book.placed(&key, turn(&second), admitted(&key, &wanted(OTHER, true), "a"), Instant::now());
    assert_eq!(words(&late), ["dismiss 11"]);
}

#[test]
fn what_fails_is_tried_again_and_told_once() {
    let (mut book, key, now) = (Book::default(), key("s"), Instant::now());
    let placing = book.want(&key, Some(wanted(ROOM, true)));
    assert_eq!(words(&book.placed(&key, turn(&placing), None, now)).len(), 1);
    assert!(book.tick(now).is_empty() && book.due().is_some());
    let again = book.tick(now + LONGEST_DELAY);
    assert_eq!(words(&again), ["place 10"]);
    assert!(book.placed(&key, turn(&again), None, now).is_empty());
}

#[test]
fn a_server_is_lost_when_neither_the_router_nor_the_gateway_sees_it() {
    let mut book = Book::default();
    book.servers(vec![server("a", false)]);
    on(&mut book, "s", "a");
    assert!(book.attended("a", true).iter().all(|one| matches!(one, Do::Allow { .. })));
    assert!(book.servers(Vec::new()).is_empty(), "a router that has just begun knows of nobody");
    let lost = book.attended("a", false);
    assert_eq!(words(&lost)[1..], ["place 10", "unattend a"]);
}

#[test]
fn who_is_on_a_server_that_drains_goes_elsewhere_and_is_not_put_out() {
    let (mut book, key) = (Book::default(), key("s"));
    on(&mut book, "s", "a");
    let moving = book.servers(vec![server("a", true), server("b", false)]);
    assert_eq!(words(&moving)[1], "place 10");
    let wanted = wanted(ROOM, true);
    book.placed(&key, turn(&moving), admitted(&key, &wanted, "b"), Instant::now());
    let left =
        |reason: &str| v1::ParticipantLeft { participant: Some(participant(&key, &wanted)), reason: reason.into() };
    assert!(book.left("a", &left("left")).is_empty(), "the client has gone over");
    assert_eq!(words(&book.left("b", &left("vanished")))[0], "leave");
    assert!(book.left("b", &left("vanished")).is_empty());
}
