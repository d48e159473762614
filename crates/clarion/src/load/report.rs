//! What a run tells: a line a second, and a report at the end. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::checker::{Fault, Verdict};
use super::options::Options;
use super::process::Usage;
use super::tally::{Percentiles, Tally};

const MIB: f64 = 1_048_576.0;

/// What happened since the last line.
pub struct Line {
    pub(super) at: Duration,
    pub(super) sockets: usize,
    pub(super) lasted: Duration,
    pub(super) before: Tally,
    pub(super) now: Tally,
    pub(super) ack: Percentiles,
    pub(super) delivery: Percentiles,
    /// CPU seconds that the server used.
    pub(super) cpu: Option<f64>,
    pub(super) usage: Option<Usage>,
    pub(super) faults: u64,
}

/// What was counted while messages were sent, before and after.
pub(super) struct Window {
    pub(super) before: Tally,
    pub(super) after: Tally,
    pub(super) sent_for: Duration,
    pub(super) lasted: Duration,
    pub(super) server: Option<(Usage, Usage)>,
    pub(super) generator: Option<(Usage, Usage)>,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Sockets asked for.
    pub sockets: usize,
    /// Of them, those with a session when the sending began.
    pub ready: u64,
    /// And at the end.
    pub live: u64,
    /// Seconds until all were ready, or given up on.
    pub connected_s: f64,
    /// Connections opened a second until then.
    pub connects_per_s: f64,
    /// Seconds from the start of sending until everything had arrived, or was given up on.
    pub lasted_s: f64,
    /// Sends acknowledged.
    pub sends: u64,
    /// The same a second of the sending.
    pub sends_per_s: f64,
    /// Messages delivered.
    pub deliveries: u64,
    /// The same a second of the sending.
    pub deliveries_per_s: f64,
    /// Of them, those in replays.
    pub replayed: u64,
    /// Bytes on the wire of a delivery.
    pub bytes_per_delivery: f64,
    /// From when a message was due to its acknowledgement.
    pub ack: Percentiles,
    /// From when a message was due to its delivery.
    pub delivery: Percentiles,
    /// Connections that ended before their time.
    pub reconnects: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// Sessions that could not be resumed.
    pub invalidated: u64,
    /// What went wrong and was put right, or not, by kind.
    pub errors: BTreeMap<String, u64>,
    /// The server's CPU seconds while messages were sent and delivered.
    pub server_cpu_s: Option<f64>,
    /// Deliveries for each of them.
    pub deliveries_per_cpu_s: Option<f64>,
    /// The server's resident memory at the end.
    pub server_rss_bytes: Option<u64>,
    /// This program's own CPU seconds in the same time.
    pub generator_cpu_s: Option<f64>,
    /// What the checker says.
    pub verdict: Verdict,
    /// Why the histories were not judged, if they were not.
    pub history_not_read: Option<String>,
    /// The guild that was made for the run.
    pub guild: Option<u64>,
    /// Why its accounts' tokens still hold, if they do.
    pub tokens_not_revoked: Option<String>,
    /// Why the run counts as failed; the first of all reasons.
    pub failure: Option<String>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        window: &Window,
        (ready, connected): (u64, Duration),
        verdict: Verdict,
        history: Result<(), String>,
        guild: Option<u64>,
        revoked: Option<anyhow::Result<()>>,
    ) -> Self {
        let (before, after) = (&window.before, &window.after);
        let (sends, deliveries) = (after.acknowledged - before.acknowledged, after.deliveries - before.deliveries);
        let cpu = |used: Option<(Usage, Usage)>| used.map(|(a, b)| b.cpu_s - a.cpu_s).filter(|cpu| *cpu > 0.0);
        let server_cpu_s = cpu(window.server);
        let seconds = window.sent_for.as_secs_f64().max(1e-9);
        let mut report = Self {
            sockets: options.sockets,
            ready,
            live: after.live,
            connected_s: connected.as_secs_f64(),
            connects_per_s: before.connects as f64 / connected.as_secs_f64().max(1e-9),
            lasted_s: window.lasted.as_secs_f64(),
            sends,
            sends_per_s: sends as f64 / seconds,
            deliveries,
            deliveries_per_s: deliveries as f64 / seconds,
            replayed: after.replayed,
            bytes_per_delivery: after.message_bytes as f64 / after.deliveries.max(1) as f64,
            ack: after.ack.percentiles(),
            delivery: after.delivery.percentiles(),
            reconnects: after.reconnects,
            resumed: after.resumed,
            invalidated: after.invalidated,
            errors: after.errors.clone(),
            server_cpu_s,
            deliveries_per_cpu_s: server_cpu_s.map(|cpu| deliveries as f64 / cpu),
            server_rss_bytes: window.server.map(|(_, at_end)| at_end.rss_bytes),
            generator_cpu_s: cpu(window.generator),
            verdict,
            history_not_read: history.err(),
            guild,
            tokens_not_revoked: revoked.and_then(Result::err).map(|error| format!("{error:#}")),
            failure: None,
        };
        report.failure = report.failure();
        report
    }

    fn failure(&self) -> Option<String> {
        let verdict = &self.verdict;
        let found = verdict.first.as_ref().map(|first| format!("{}: {}", fault(first.fault), first.what));
        let gone = self.sockets as u64 - self.live.min(self.sockets as u64);
        let gone = (gone > 0).then(|| format!("{gone} sockets have no session at the end"));
        let unread = self.history_not_read.clone();
        let refused = self.errors.iter().find(|(kind, _)| kind.starts_with("send: 4") && !kind.ends_with("429"));
        let refused = refused.map(|(kind, count)| format!("{count} sends were refused ({kind})"));
        let given_up = self.errors.get("send: given up").map(|count| format!("{count} sends were given up"));
        found.or(gone).or(unread).or(refused).or(given_up)
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Lost => "lost",
        Fault::Gap => "gap",
        Fault::Twice => "twice",
        Fault::Order => "order",
        Fault::Changed => "changed",
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (&self.before, &self.now);
        let a_second = |count: u64| count as f64 / self.lasted.as_secs_f64().max(1e-3);
        write!(
            f,
            "{:>5.0} s  sockets {}/{}  sends {:.0}/s  deliveries {:.0}/s  ack p50 {:.1} p99 {:.1} ms  \
             delivery p50 {:.1} p99 {:.1} ms",
            self.at.as_secs_f64(),
            b.live,
            self.sockets,
            a_second(b.acknowledged - a.acknowledged),
            a_second(b.deliveries - a.deliveries),
            self.ack.p50_ms,
            self.ack.p99_ms,
            self.delivery.p50_ms,
            self.delivery.p99_ms,
        )?;
        if let (Some(cpu), Some(usage)) = (self.cpu, self.usage) {
            let cores = cpu / self.lasted.as_secs_f64().max(1e-3);
            write!(f, "  server {cores:.2} cores {:.0} MiB", usage.rss_bytes as f64 / MIB)?;
        }
        for (name, count) in
            [("reconnects", b.reconnects), ("errors", b.errors.values().sum()), ("FAULTS", self.faults)]
        {
            if count > 0 {
                write!(f, "  {name} {count}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |p: &Percentiles| {
            format!("p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms", p.p50_ms, p.p99_ms, p.p999_ms, p.max_ms)
        };
        let Self { sockets, ready, live, connected_s, connects_per_s, verdict, .. } = self;
        writeln!(
            f,
            "sockets       {ready} of {sockets} ready after {connected_s:.1} s ({connects_per_s:.0} connects/s); {live} at the end"
        )?;
        writeln!(f, "sends         {} acknowledged, {:.1}/s", self.sends, self.sends_per_s)?;
        let bytes = self.bytes_per_delivery;
        writeln!(
            f,
            "deliveries    {}, {:.0}/s, {bytes:.0} bytes each on the wire",
            self.deliveries, self.deliveries_per_s
        )?;
        writeln!(f, "acknowledged  {} after a message was due", times(&self.ack))?;
        writeln!(f, "delivered     {} after a message was due", times(&self.delivery))?;
        let Self { reconnects, resumed, invalidated, replayed, .. } = self;
        writeln!(
            f,
            "connections   {reconnects} lost, {resumed} resumed ({replayed} messages replayed), {invalidated} sessions refused"
        )?;
        for (kind, count) in &self.errors {
            writeln!(f, "errors        {count} × {kind}")?;
        }
        match (self.server_cpu_s, self.deliveries_per_cpu_s, self.server_rss_bytes) {
            (Some(cpu), Some(each), Some(rss)) => {
                writeln!(
                    f,
                    "server        {cpu:.2} CPU s, {each:.0} deliveries each; {:.0} MiB resident",
                    rss as f64 / MIB
                )?;
            }
            _ => writeln!(f, "server        CPU time not known (--server-pid, or --data of the server)")?,
        }
        if let Some(cpu) = self.generator_cpu_s {
            writeln!(f, "this program  {cpu:.2} CPU s in {:.1} s", self.lasted_s)?;
        }
        writeln!(
            f,
            "verified      {} messages, {} deliveries to {} sessions, {} in histories; {} passed while a session was gone, {} came again after a death, {} unsettled",
            verdict.messages,
            verdict.deliveries,
            verdict.sessions,
            verdict.history,
            verdict.away,
            verdict.repeated,
            verdict.unsettled
        )?;
        for (kind, count) in &verdict.faults {
            writeln!(f, "FAULT         {count} × {}", fault(*kind))?;
        }
        if let Some(guild) = self.guild {
            writeln!(
                f,
                "left behind   guild {guild} with its messages, and accounts that nobody can use: their tokens are revoked"
            )?;
        }
        if let Some(why) = &self.tokens_not_revoked {
            writeln!(f, "left behind   tokens that still hold: {why}")?;
        }
        match &self.failure {
            None => write!(f, "result        nothing lost, nothing twice, in order"),
            Some(why) => write!(f, "result        FAILED: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict, live: u64, errors: &[&str]) -> Report {
        let options = Options::read(["--sockets=2", "--duration=10"]).expect("flags");
        let before = Tally { connects: 2, ..Tally::default() };
        let errors = errors.iter().map(|kind| ((*kind).to_owned(), 1)).collect();
        let after = Tally { acknowledged: 50, deliveries: 100, message_bytes: 60_000, live, errors, ..before.clone() };
        let usage = |cpu_s| Usage { cpu_s, rss_bytes: 1 << 20 };
        let server = Some((usage(1.0), usage(3.0)));
        let (sent_for, lasted) = (Duration::from_secs(10), Duration::from_secs(11));
        let window = Window { before, after, sent_for, lasted, server, generator: None };
        Report::new(&options, &window, (2, Duration::from_secs(1)), verdict, Ok(()), Some(5), Some(Ok(())))
    }

    #[test]
    fn a_report_has_its_rates() {
        let report = report(Verdict::default(), 2, &["send: 429"]);
        assert_eq!((report.sends_per_s, report.deliveries_per_s, report.bytes_per_delivery), (5.0, 10.0, 600.0));
        assert_eq!((report.deliveries_per_cpu_s, report.connects_per_s), (Some(50.0), 2.0));
        assert_eq!(report.failure, None);
        let text = report.to_string();
        assert!(text.contains("50 deliveries each") && text.ends_with("in order"), "{text}");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["errors"]["send: 429"], 1);
    }

    #[test]
    fn what_is_wrong_fails_the_run_and_is_named() {
        let mut checker = super::super::checker::Checker::new(1, 1);
        checker.begin(0, 0, 0);
        checker.acknowledged(0, 77, 0, 0);
        let lost = report(checker.finish(), 2, &[]);
        assert!(
            lost.failure.as_ref().is_some_and(|why| why.contains("lost") && why.contains("77")),
            "{:?}",
            lost.failure
        );
        assert!(lost.to_string().contains("FAILED"));
        assert!(report(Verdict::default(), 1, &[]).failure.is_some_and(|why| why.contains("no session")));
        assert!(report(Verdict::default(), 2, &["send: 403"]).failure.is_some_and(|why| why.contains("403")));
        assert!(report(Verdict::default(), 2, &["send: given up"]).failure.is_some());
    }
}
