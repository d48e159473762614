//! Generates Rust from the contract with protox: no protoc on the machine.

use std::path::PathBuf;

const FILES: [&str; 9] = [
    "clarion/v1/types.proto",
    "clarion/v1/event.proto",
    "clarion/v1/channel.proto",
    "clarion/v1/router.proto",
    "clarion/v1/gateway.proto",
    "clarion/v1/search.proto",
    "clarion/v1/presence.proto",
    "clarion/v1/voice.proto",
    "clarion/v1/process.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = protox::Compiler::new([&root])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(FILES)?
        .file_descriptor_set();
    tonic_prost_build::configure().bytes(".clarion.v1").compile_fds(files)?;
    Ok(())
}
