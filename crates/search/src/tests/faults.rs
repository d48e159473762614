//! An index that refuses, is full, is slow or says what is not so: nothing is lost, nothing is there twice, the lag says
//! it, and nobody has to lend a hand.

use std::time::{Duration, Instant};

use super::bench::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_takes_nothing_is_tried_until_it_does() {
    for (mode, error) in [(Mode::Refuse, "unavailable"), (Mode::Full, "full")] {
        let mut bench = Bench::new().await;
        bench.start(|_| {}).await;
        bench.say(TEXT, &["before"]).await;
        bench.until(None, 1).await;
        bench.faults.set(mode);
        bench.say(TEXT, &["during"; 5]).await;
        let counted = format!("search_errors_total{{error_type=\"{error}\"");
        let errors = |bench: &Bench| {
            let metrics = bench.capture.process().render_metrics();
            let of = |line: &&str| line.starts_with("search_errors_total") && line.contains(&format!("\"{error}\""));
            metrics.lines().filter(of).filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
        };
        let deadline = Instant::now() + PATIENCE;
        while errors(&bench) < 2.0 {
            assert!(Instant::now() < deadline, "{counted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.until_metric("search_index_lag_seconds", |lag| lag > 1.0).await;
        bench.until_metric("search_indexing_pending", |pending| pending >= 5.0).await;
        // What is in the index is still found.
        assert_eq!(bench.find(Some("before ")).await.total, 1);
        assert_eq!(bench.capture.lines_of("index.failed").len(), 1, "said once");
        bench.faults.set(Mode::Take);
        bench.until(Some("during "), 5).await;
        bench.until_metric("search_index_lag_seconds", |lag| lag == 0.0).await;
        assert_eq!(bench.capture.lines_of("index.recovered").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_but_not_confirmed_is_there_once() {
    let mut bench = Bench::new().await;
    bench.start(|_| {}).await;
    bench.faults.set(Mode::Lie);
    bench.say(TEXT, &["once"; 5]).await;
    bench.until_metric("search_errors_total", |errors| errors >= 1.0).await;
    bench.faults.set(Mode::Take);
    bench.say(TEXT, &["once"; 5]).await;
    bench.until(Some("once "), 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_index_holds_up_nobody() {
    let mut bench = Bench::new().await;
    bench.start(|_| {}).await;
    bench.say(TEXT, &["before"]).await;
    bench.until(None, 1).await;
    bench.faults.permits.forget_permits(usize::MAX);
    for _ in 0..20 {
        bench.say(TEXT, &["during"; 10]).await;
    }
    bench.until_metric("search_index_lag_seconds", |lag| lag > 1.0).await;
    assert_eq!(bench.find(Some("before ")).await.total, 1, "questions are answered meanwhile");
    assert_eq!(bench.find(Some("during ")).await.total, 0);
    bench.faults.permits.add_permits(1_000_000);
    bench.until(Some("during "), 200).await;
}
