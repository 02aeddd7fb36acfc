//! The engine bench itself, front to back, on its shortest rows: what it starts works together, and what it tells can be
//! read. Its figures mean nothing here.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The product is no dependency of the bench, which takes it as it ships: so it is built here, if it is not yet.
fn build_the_product() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "secevent-cli"])
        .current_dir(root)
        .status()
        .expect("cargo runs, as it runs this test");
    assert!(built.success());
}

#[test]
fn a_quick_run_measures_its_rows_and_writes_them_down() {
    build_the_product();
    let folder = tempfile::tempdir().unwrap();
    let (json, page) = (folder.path().join("figures.json"), folder.path().join("page.md"));
    let ran = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["--quick", "--rows", "latency,stop,subjects"])
        .arg("--folder")
        .arg(folder.path())
        .arg("--json")
        .arg(&json)
        .arg("--markdown")
        .arg(&page)
        .output()
        .unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{printed}{}", String::from_utf8_lossy(&ran.stderr));

    let figures: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    for (row, count) in [("latency", 3), ("stop", 3), ("subjects", 5)] {
        let lines = figures["rows"][row]["lines"].as_array().unwrap();
        assert_eq!(lines.len(), count, "{printed}");
        assert!(lines.iter().all(|line| line["value"].is_number()), "{printed}");
    }
    assert_eq!(figures["rows"]["stop"]["lines"][2]["value"], 0.0, "nothing is lost by a stop: {printed}");
    let page = std::fs::read_to_string(&page).unwrap();
    let table = page.split("## The figures").nth(1).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 1 + 3 + 3 + 5, "{page}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
}

#[test]
fn a_program_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ran =
        Command::new(env!("CARGO_BIN_EXE_engine")).arg("--programs").arg(folder.path()).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(!ran.status.success() && told.contains("is not built: run `cargo xtask bench engine`"), "{told}");
}

/// A bench that is told to end in the middle of its work leaves nothing behind: no process, no folder.
#[test]
fn a_run_that_is_told_to_end_takes_all_that_it_started_with_it() {
    build_the_product();
    let folder = tempfile::tempdir().unwrap();
    // So many rounds last for more than an hour: however slow this machine is, the bench is at work when it is to end.
    let mut running = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["--quick", "--rows", "latency", "--rounds", "1000"])
        .arg("--folder")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says so when it begins with its first round, and then starts a sink and a floor.
    let mut told = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("round 1 of 1000")));
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(143));
    // The pipe ends when the last process has ended that could write to it.
    assert_eq!(told.map_while(Result::ok).count(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
