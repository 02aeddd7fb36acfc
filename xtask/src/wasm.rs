//! `cargo xtask wasm`: the vocabulary crate has to build where there is no operating system.

use crate::tools::{cargo, printed, succeed};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

pub(crate) fn run() -> Result<()> {
    if !is_installed()? {
        println!("SKIPPED: the target {TARGET} is not installed. To have it: rustup target add {TARGET}");
        return Ok(());
    }
    succeed(&mut cargo(&["check", "--package", "secevent", "--target", TARGET])?)
}

/// The compiler always names the folder; only where the target is installed does it exist.
fn is_installed() -> Result<bool> {
    let folder = printed(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(folder.trim()).is_dir())
}
