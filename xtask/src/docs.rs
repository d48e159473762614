//! The pages that are written by the code they describe.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::run::root;

fn telemetry_page() -> PathBuf {
    root().join("docs/telemetry.md")
}

/// Writes the pages.
pub(crate) fn write() -> anyhow::Result<()> {
    let page = telemetry_page();
    fs::write(&page, clarion_observability::telemetry_markdown()).with_context(|| format!("{}", page.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_page_is_fresh() {
        let page = fs::read_to_string(telemetry_page()).unwrap_or_default();
        assert!(page == clarion_observability::telemetry_markdown(), "run `cargo xtask docs`");
    }
}
