//! `cargo xtask bench`: the product, built for release, measured beside other servers.
//!
//! What measures is a workspace of its own (`bench/`), so that nobody who builds Clarion builds it, too.

use anyhow::bail;

use crate::run::{check, command, has, root, target};
use crate::services::Services;

/// Builds both and measures. The arguments say what.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    if !has("taskset") {
        bail!("taskset is not there: the server and its clients need a processor core each");
    }
    check(&mut command("cargo", &["build", "--quiet", "--release", "--package", "clarion"]))?;
    let (mut missing, apart) = (Vec::new(), arguments.first() == Some(&"apart"));
    let services = if apart { Services::start(&mut missing) } else { Services::default() };
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    let mut measure = command("cargo", &["run", "--quiet", "--release", "--locked", "--manifest-path"]);
    measure.arg(root().join("bench/Cargo.toml")).arg("--").args(arguments);
    measure
        .env("CARGO_TARGET_DIR", target().join("bench"))
        .env("CLARION_BENCH_TARGET", target())
        .env("CLARION_BENCH_BINARY", target().join("release/clarion"));
    services.tell(&mut measure);
    check(&mut measure)
}
