//! A process starts its services in order, stops them in reverse, and does not outlive a failure.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clarion_observability::capture::Capture;
use clarion_runtime::{Host, Process};

type Order = Arc<Mutex<Vec<String>>>;

fn process(drain: Duration) -> (Capture, Process) {
    let capture = Capture::new().expect("telemetry");
    let process = Process::new(capture.process().clone(), drain);
    (capture, process)
}

/// A service that notes its start and, once drained, its end.
fn start(process: &mut Process, instance: &'static str, order: &Order) {
    let order = order.clone();
    let noted = process.start("test", instance, 1, move |host: Host| async move {
        let note = move |what: &str| order.lock().expect("not poisoned").push(format!("{instance} {what}"));
        note("bound");
        let run = async move {
            host.draining().cancelled().await;
            note("drained");
            Ok(())
        };
        Ok((value_of(instance), run))
    });
    assert_eq!(noted.expect("started"), value_of(instance));
}

fn value_of(instance: &str) -> String {
    format!("value of {instance}")
}

#[test]
fn services_stop_in_reverse() {
    let (_capture, mut process) = process(Duration::from_secs(5));
    let order = Order::default();
    start(&mut process, "a", &order);
    start(&mut process, "b", &order);
    assert!(!process.probes().is_ready());
    process.ready();
    assert!(process.probes().is_ready());
    let probes = process.probes().clone();
    let report = process.stop();
    assert!(report.cut_off.is_empty() && report.failed.is_empty());
    assert!(!probes.is_ready() && probes.is_shutting_down());
    assert_eq!(*order.lock().expect("not poisoned"), ["a bound", "b bound", "b drained", "a drained"]);
}

#[test]
fn a_service_that_does_not_drain_is_cut_off() {
    let (_capture, mut process) = process(Duration::from_millis(50));
    let never = async || Ok(((), std::future::pending::<anyhow::Result<()>>()));
    process.start("stubborn", "stubborn-0", 1, move |_| never()).expect("started");
    assert_eq!(process.stop().cut_off, ["stubborn"]);
}

#[test]
fn a_service_that_cannot_start_says_why() {
    let (_capture, mut process) = process(Duration::from_secs(5));
    let refuse = async |_: Host| -> anyhow::Result<((), std::future::Ready<anyhow::Result<()>>)> {
        anyhow::bail!("the port is taken")
    };
    let error = process.start("test", "test-0", 1, move |host| async move { refuse(host).await }).expect_err("refused");
    let said = format!("{error:#}");
    assert!(said.contains("test did not start") && said.contains("the port is taken"), "{said}");
}

/// Waits until the process is told to end.
fn ends(process: &Process) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let fatal = process.fatal();
    let told = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), fatal.cancelled()).await });
    assert!(told.is_ok(), "the process goes on");
}

#[test]
fn a_task_that_panics_ends_the_process() {
    let (capture, mut process) = process(Duration::from_secs(5));
    process
        .start("test", "test-0", 1, |host| async move {
            host.spawn("doomed", async { panic!("out of luck") });
            let draining = host.draining();
            let run = async move {
                draining.cancelled().await;
                Ok(())
            };
            Ok(((), run))
        })
        .expect("started");
    ends(&process);
    process.stop();
    let lines = capture.lines_of("task.panicked");
    assert_eq!(lines.len(), 1);
    let line = lines[0].to_string();
    assert!(line.contains("doomed") && line.contains("out of luck") && line.contains("CRITICAL"), "{line}");
}

#[test]
fn a_service_that_ends_unasked_ends_the_process() {
    let (capture, mut process) = process(Duration::from_secs(5));
    let run = async { anyhow::bail!("lost its mind") };
    process.start("test", "test-0", 1, |_| async { Ok(((), run)) }).expect("started");
    ends(&process);
    assert_eq!(process.stop().failed, ["test"]);
    assert_eq!(capture.lines_of("service.failed").len(), 1);
}
