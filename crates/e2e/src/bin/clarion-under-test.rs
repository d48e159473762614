//! The product's command line, as a program that the tests of this crate can start and kill.

fn main() -> anyhow::Result<()> {
    clarion::cli::run()
}
