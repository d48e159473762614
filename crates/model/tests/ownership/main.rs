//! The rules of ownership, tried out: thousands of random histories over a store and a network that do their worst.
//!
//! Owners in these histories are drivers around the real `Tenure`. Every history ends with all messages arriving and one
//! owner taking the slot; then the log that the store holds is compared with everything that was promised on the way.
//! The same histories run against owners that break one rule each, and have to convict every one of them.

mod checker;
mod fault;
mod owner;
mod store;
mod world;

use std::cell::{Cell, RefCell};

use checker::{Coverage, check};
use fault::Fault;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use world::{World, history};

/// How many histories acquit, and within how many a fault has to be found. `PROPTEST_CASES` can ask for more.
const HISTORIES: u32 = 10_000;

fn config() -> Config {
    let config = Config::default();
    Config { cases: config.cases.max(HISTORIES), failure_persistence: None, max_shrink_iters: 4_000, ..config }
}

/// Tries histories on owners that keep the rules, or break one. Reports the first history that broke the contract, made
/// as short as it gets.
fn try_out(runner: &mut TestRunner, fault: Option<Fault>, coverage: &RefCell<Coverage>) -> Result<(), String> {
    let (tried, found) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&history(), |steps| {
        tried.set(tried.get() + 1);
        let mut world = World::new(fault);
        steps.iter().for_each(|step| world.step(*step));
        let verdict = check(&mut world);
        coverage.borrow_mut().add(&world);
        verdict.map_err(|violation| {
            found.set(if found.get() == 0 { tried.get() } else { found.get() });
            TestCaseError::fail(format!("{violation:#?}"))
        })
    });
    outcome.map_err(|error| match error {
        TestError::Fail(violation, steps) => {
            let steps: String = steps.iter().map(|step| format!("    {step:?}\n")).collect();
            format!("history {}, which comes down to\n{steps}{violation}\n", found.get())
        }
        TestError::Abort(reason) => format!("given up: {reason}"),
    })
}

#[test]
fn no_history_breaks_the_contract() {
    let coverage = RefCell::default();
    let mut runner = TestRunner::new(config());
    if let Err(report) = try_out(&mut runner, None, &coverage) {
        panic!("the contract was broken in {report}");
    }
    // Peace proves nothing if there was no war.
    let coverage = coverage.into_inner();
    println!("{coverage:#?}");
    let histories = config().cases as usize;
    assert!(coverage.acknowledged > histories / 2 && coverage.seals > 2 * histories, "{coverage:?}");
    assert!(coverage.adopted > histories / 20 && coverage.beyond > histories / 10, "{coverage:?}");
    assert!(coverage.passed_by > histories / 100 && coverage.followed > histories / 10, "{coverage:?}");
}

#[test]
fn every_broken_rule_is_found_out() {
    for fault in Fault::ALL {
        // The same histories on every run, so that a fault is either always found or never.
        let mut runner = TestRunner::new_with_rng(config(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        match try_out(&mut runner, Some(fault), &RefCell::default()) {
            Err(report) => println!("{fault:?} was found in {report}"),
            Ok(()) => panic!("{fault:?} was not found in {HISTORIES} histories"),
        }
    }
}
