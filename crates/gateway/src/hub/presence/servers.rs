//! The presence servers as the hub has them: which are attended, what is said to which, and which one tells of a user. Pure
//! but for what it puts into the queues of the streams.
//!
//! A user belongs to two servers, which the user's id and the list name. Every word about the user is said to both, so
//! that either can tell of the user; one of them is asked to, and counts the user. That is the first of the two, if it is
//! attended and has been for a lease: until then other gateways may not have said to it yet what they have to say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_model::presence::Presence;
use clarion_model::rendezvous::Places;
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use tokio::sync::mpsc;

/// Users in one message.
const BATCH: usize = 4_096;
/// Words in one message.
const WORDS: usize = 256;

/// All of them.
pub(super) struct Servers {
    places: Places,
    /// Of each, the stream when there is one.
    streams: Vec<Option<Stream>>,
    /// Questions asked; the last one's number.
    asked: u64,
}

struct Stream {
    /// `None`: it took no more and is given up. It ends without its sender, and everything is said again over the next.
    requests: Option<mpsc::Sender<v1::AttendRequest>>,
    lease: Duration,
    /// Whether every gateway has had the time to attend it.
    is_settled: bool,
    /// From then on, whoever it was asked of and has not told of is not there.
    all_told_at: Option<Instant>,
    /// It has answered all questions up to this one.
    answered: u64,
}

/// What was asked: of which servers, and the number of the question there.
#[derive(Debug, Default)]
pub(in crate::hub) struct Question(Vec<(usize, u64)>);

impl Question {
    /// Nobody is there to answer.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Servers {
    /// None of them is attended yet.
    pub(super) fn new(places: Places) -> Self {
        Self { streams: (0..places.len()).map(|_| None).collect(), places, asked: 0 }
    }

    /// How many are attended.
    pub(super) fn attended(&self) -> usize {
        (0..self.streams.len()).filter(|server| self.open(*server).is_some()).count()
    }

    fn open(&self, server: usize) -> Option<&Stream> {
        self.streams.get(server)?.as_ref().filter(|stream| stream.requests.is_some())
    }

    /// Whether users have a choice among servers at all.
    pub(super) fn are_several(&self) -> bool {
        self.places.len() > 1
    }

    /// A server is attended.
    pub(super) fn attend(
        &mut self,
        server: usize,
        requests: mpsc::Sender<v1::AttendRequest>,
        lease: Duration,
        now: Instant,
    ) {
        let requests = Some(requests);
        let stream = Stream { requests, lease, is_settled: false, all_told_at: Some(now + lease), answered: 0 };
        if let Some(place) = self.streams.get_mut(server) {
            *place = Some(stream);
        }
    }

    /// A server is attended no more. `false`: it was not before either.
    pub(super) fn lose(&mut self, server: usize) -> bool {
        self.streams.get_mut(server).and_then(Option::take).is_some()
    }

    /// The two servers of a user, the one it belongs to first.
    pub(super) fn of(&self, user: UserId) -> impl Iterator<Item = usize> + use<> {
        self.places.two(user.0).into_iter().flatten()
    }

    /// The server that is to tell of a user and to count it, if one is attended.
    pub(super) fn best(&self, user: UserId) -> Option<usize> {
        let is_settled = |server: &usize| self.open(*server).is_some_and(|stream| stream.is_settled);
        self.of(user).find(is_settled).or_else(|| self.of(user).find(|server| self.open(*server).is_some()))
    }

    /// Says or asks something. `false`: there is no stream, or it takes no more and is given up.
    pub(super) fn send(&mut self, server: usize, request: Request) -> bool {
        let Some(Some(stream)) = self.streams.get_mut(server) else { return false };
        let Some(requests) = &stream.requests else { return false };
        let sent = requests.try_send(v1::AttendRequest { request: Some(request) }).is_ok();
        if !sent {
            stream.requests = None;
        }
        sent
    }

    /// Says how users show themselves here, to both servers of each.
    pub(super) fn say(&mut self, words: impl IntoIterator<Item = (UserId, Presence)>, traceparent: &str) {
        let mut by_server: BTreeMap<(usize, bool), Vec<v1::Word>> = BTreeMap::new();
        for (user, presence) in words {
            let best = self.best(user);
            for server in self.of(user) {
                let word = v1::Word { user_id: user.0, presence: Some((&presence).into()) };
                by_server.entry((server, best != Some(server))).or_default().push(word);
            }
        }
        for ((server, spare), words) in by_server {
            for words in words.chunks(WORDS) {
                let words = v1::Words { words: words.to_vec(), traceparent: traceparent.to_owned(), spare };
                self.send(server, Request::Words(words));
            }
        }
    }

    /// Asks servers to tell of users.
    pub(super) fn watch(&mut self, users: impl IntoIterator<Item = (UserId, usize)>) -> Question {
        let mut question = Question::default();
        for (server, users) in by_server(users) {
            for user_ids in users.chunks(BATCH) {
                let ask = |token| Request::Watch(v1::Watch { token, user_ids: user_ids.to_vec() });
                question = question.and(self.ask(server, ask));
            }
        }
        question
    }

    /// Asks servers to tell of users no more.
    pub(super) fn unwatch(&mut self, users: impl IntoIterator<Item = (UserId, usize)>) {
        for (server, users) in by_server(users) {
            for user_ids in users.chunks(BATCH) {
                self.send(server, Request::Unwatch(v1::Unwatch { user_ids: user_ids.to_vec() }));
            }
        }
    }

    /// Asks which of a large guild's members are there; up to `limit` of each server.
    pub(super) fn sample(&mut self, guild_id: u64, users: &[UserId], limit: usize) -> Question {
        let users: Vec<_> = users.iter().filter_map(|user| Some((*user, self.best(*user)?))).collect();
        let mut question = Question::default();
        for (server, user_ids) in by_server(users) {
            let ask = |token| Request::Sample(v1::Sample { token, guild_id, limit: limit as u32, user_ids });
            question = question.and(self.ask(server, ask));
        }
        question
    }

    fn ask(&mut self, server: usize, request: impl FnOnce(u64) -> Request) -> Question {
        self.asked += 1;
        let asked = self.asked;
        Question(if self.send(server, request(asked)) { vec![(server, asked)] } else { Vec::new() })
    }

    /// A server has answered all questions up to one.
    pub(super) fn answered(&mut self, server: usize, token: u64) {
        if let Some(Some(stream)) = self.streams.get_mut(server) {
            stream.answered = stream.answered.max(token);
        }
    }

    /// Whether nobody is going to answer a question any more: all have, or are gone.
    pub(super) fn is_answered(&self, question: &Question) -> bool {
        let waits = |(server, asked): &(usize, u64)| self.open(*server).is_some_and(|stream| stream.answered < *asked);
        !question.0.iter().any(waits)
    }

    /// A server was asked to tell of users from now on, and gets the time to do it.
    pub(super) fn asked_of(&mut self, server: usize, now: Instant) {
        if let Some(Some(stream)) = self.streams.get_mut(server) {
            stream.all_told_at = Some(now + stream.lease);
        }
    }

    /// When the next one has had the time to tell everything.
    pub(super) fn due(&self) -> Option<Instant> {
        self.streams.iter().flatten().filter_map(|stream| stream.all_told_at).min()
    }

    /// The servers that have had that time, and for which of them it was the first time.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(usize, bool)> {
        let due = self.streams.iter_mut().enumerate().filter_map(|(server, place)| {
            let stream = place.as_mut().filter(|stream| stream.all_told_at.is_some_and(|at| at <= now))?;
            stream.all_told_at = None;
            Some((server, !std::mem::replace(&mut stream.is_settled, true)))
        });
        due.collect()
    }
}

fn by_server(users: impl IntoIterator<Item = (UserId, usize)>) -> BTreeMap<usize, Vec<u64>> {
    let mut by_server: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (user, server) in users {
        by_server.entry(server).or_default().push(user.0);
    }
    by_server
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::presence::Status;

    const LEASE: Duration = Duration::from_secs(10);

    struct Bench {
        servers: Servers,
        queues: Vec<mpsc::Receiver<v1::AttendRequest>>,
        now: Instant,
    }

    impl Bench {
        fn new(count: usize) -> Self {
            let names: Vec<String> = (0..count).map(|n| format!("in-process:presence-{n}")).collect();
            let servers = Servers::new(Places::new(names.iter().map(String::as_str)));
            let queues = (0..count).map(|_| mpsc::channel(1).1).collect();
            Self { servers, queues, now: Instant::now() }
        }

        fn attend(&mut self, server: usize) {
            let (requests, queue) = mpsc::channel(1_024);
            self.queues[server] = queue;
            self.servers.attend(server, requests, LEASE, self.now);
        }

        /// What was said to a server of a user, and whether as a spare.
        fn said(&mut self, server: usize) -> Vec<(u64, bool)> {
            let mut said = Vec::new();
            while let Ok(request) = self.queues[server].try_recv() {
                if let Some(Request::Words(words)) = request.request {
                    said.extend(words.words.iter().map(|word| (word.user_id, words.spare)));
                }
            }
            said
        }
    }

    fn online(user: u64) -> (UserId, Presence) {
        (UserId(user), Presence { status: Status::Online, ..Presence::default() })
    }

    #[test]
    fn both_servers_of_a_user_hear_every_word_and_one_counts_it() {
        let mut bench = Bench::new(3);
        (0..3).for_each(|server| bench.attend(server));
        bench.servers.say((1..=90).map(online), "");
        let said: Vec<_> = (0..3).map(|server| bench.said(server)).collect();
        for user in 1..=90 {
            let two: Vec<usize> = bench.servers.of(UserId(user)).collect();
            for (server, said) in said.iter().enumerate() {
                let expected = two.iter().position(|at| *at == server).map(|place| (user, place == 1));
                assert_eq!(said.iter().find(|(of, _)| *of == user).copied(), expected);
            }
        }
    }

    #[test]
    fn a_user_goes_over_at_once_and_back_when_everybody_has_had_the_time_to_come() {
        let mut bench = Bench::new(2);
        let user = (1..).map(UserId).find(|user| bench.servers.of(*user).next() == Some(1)).expect("one of them");
        assert_eq!(bench.servers.best(user), None);
        (0..2).for_each(|server| bench.attend(server));
        assert_eq!(bench.servers.best(user), Some(1), "neither has been there for long");
        bench.now += LEASE;
        assert_eq!(bench.servers.take_due(bench.now), [(0, true), (1, true)]);
        assert_eq!(bench.servers.best(user), Some(1));
        assert!(bench.servers.lose(1));
        assert!(!bench.servers.lose(1), "it was gone");
        assert_eq!((bench.servers.best(user), bench.servers.attended()), (Some(0), 1));
        bench.attend(1);
        assert_eq!(bench.servers.best(user), Some(0));
        // What it is asked for meanwhile gives it more time; that is not the first time any more.
        bench.now += LEASE;
        assert_eq!(bench.servers.take_due(bench.now), [(1, true)]);
        assert_eq!(bench.servers.best(user), Some(1));
        bench.servers.asked_of(1, bench.now);
        assert_eq!(bench.servers.due(), Some(bench.now + LEASE));
        assert_eq!(bench.servers.take_due(bench.now + LEASE), [(1, false)]);
    }

    #[test]
    fn a_question_is_answered_when_all_have_answered_or_are_gone() {
        let mut bench = Bench::new(2);
        (0..2).for_each(|server| bench.attend(server));
        let question = bench.servers.watch([(UserId(1), 0), (UserId(2), 1)]);
        let both = question.and(bench.servers.watch([(UserId(3), 0)]));
        bench.servers.answered(0, 1);
        bench.servers.answered(1, 2);
        assert!(!bench.servers.is_answered(&both), "the second question to the first server is open");
        assert!(bench.servers.lose(0));
        assert!(bench.servers.is_answered(&both));
        assert!(bench.servers.watch([(UserId(1), 0)]).is_empty());
    }

    #[test]
    fn a_stream_that_takes_no_more_is_given_up() {
        let mut bench = Bench::new(1);
        bench.attend(0);
        assert!((0..2_000).any(|user| {
            bench.servers.say([online(user + 1)], "");
            bench.servers.attended() == 0
        }));
    }
}
