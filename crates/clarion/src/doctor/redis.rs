//! Redis: whether it answers, what is left of it after a restart, what it does when it is full, and its clock.

use clarion_storage::cache::{RedisConfig, RedisInspection, inspect};

use super::{Finding, other_clock};

/// Asks the server that the settings name.
pub(super) async fn check(config: &RedisConfig) -> Vec<Finding> {
    let at = config.url.to_string();
    match inspect(config).await {
        Ok(seen) => findings(&at, &seen),
        Err(error) => vec![Finding::refused("redis", format!("cache.redis.url: {at}: {error}"))],
    }
}

fn findings(at: &str, seen: &RedisInspection) -> Vec<Finding> {
    let keeps = match (seen.appends, seen.saves) {
        (true, _) => Finding::fine("redis's disk", format!("{at}: appendonly")),
        (false, Some(true)) => Finding::fine("redis's disk", format!("{at}: saved now and then")),
        (false, saves) => {
            let found = if saves.is_none() { "no appendonly, and save is not told" } else { "no appendonly, no save" };
            let lost = "after its restart sessions of gateways that drained or died begin anew, and limits count anew";
            Finding::doubtful("redis's disk", format!("{at}: {found}: {lost}; expected appendonly yes"))
        }
    };
    let room = match (seen.limit, seen.policy.as_str()) {
        (0, _) => Finding::fine("redis's memory", format!("{at}: no limit, nothing is thrown out")),
        (limit, "noeviction") => Finding::fine("redis's memory", format!("{at}: {limit} bytes, nothing is thrown out")),
        (limit, policy) => Finding::doubtful(
            "redis's memory",
            format!("{at}: {limit} bytes, then {policy} throws out what is in use; expected noeviction"),
        ),
    };
    let answers = Finding::fine("redis", format!("{at}: version {}", seen.version));
    vec![answers, keeps, room, other_clock("redis's clock", &at, seen.ahead_ms)]
}

#[cfg(test)]
mod tests {
    use clarion_storage::conformance::RedisServer;

    use super::*;
    use crate::doctor::Verdict;

    async fn verdicts(server: &RedisServer) -> Vec<(&'static str, Verdict)> {
        let config = RedisConfig { url: server.url().into(), ..RedisConfig::default() };
        check(&config).await.into_iter().map(|finding| (finding.what, finding.verdict)).collect()
    }

    #[tokio::test]
    async fn a_server_is_asked_what_it_keeps_and_what_it_throws_out() {
        use Verdict::{Doubtful, Fine, Refused};
        let Some(mut server) = RedisServer::start(&[]) else { return };
        let of = |disk, memory| {
            vec![("redis", Fine), ("redis's disk", disk), ("redis's memory", memory), ("redis's clock", Fine)]
        };
        assert_eq!(verdicts(&server).await, of(Doubtful, Fine), "it keeps nothing and has no limit");
        assert!(server.say("CONFIG SET save \"3600 1\"").expect("an answer").starts_with("+OK"));
        assert!(server.say("CONFIG SET maxmemory 64mb").expect("an answer").starts_with("+OK"));
        assert_eq!(verdicts(&server).await, of(Fine, Fine), "it refuses what does not fit");
        assert!(server.say("CONFIG SET maxmemory-policy allkeys-lru").expect("an answer").starts_with("+OK"));
        assert_eq!(verdicts(&server).await, of(Fine, Doubtful));
        server.stop();
        assert_eq!(verdicts(&server).await, [("redis", Refused)]);
    }

    #[test]
    fn a_clock_that_is_off_is_said() {
        let seen = |ahead_ms| RedisInspection {
            version: "7".into(),
            appends: true,
            saves: None,
            limit: 0,
            policy: "noeviction".into(),
            ahead_ms,
        };
        for (ahead_ms, verdict) in [(-20, Verdict::Fine), (2_000, Verdict::Doubtful), (-60_000, Verdict::Refused)] {
            assert_eq!(findings("redis://r", &seen(ahead_ms)).last().map(|found| found.verdict), Some(verdict));
        }
    }
}
