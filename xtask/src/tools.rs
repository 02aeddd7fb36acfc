//! What the chores share: where the workspace is, how a command is run, what has to be installed.

use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The root of the workspace. Cargo says at run time where this crate lies, so a moved checkout is no surprise.
pub(crate) fn root() -> Result<PathBuf> {
    let here = env::var_os("CARGO_MANIFEST_DIR").context("run the chores with `cargo xtask`")?;
    let root = PathBuf::from(here).parent().map(PathBuf::from);
    root.context("the xtask crate lies inside the workspace")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let root = root()?;
    Ok(env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |named| root.join(named)))
}

/// A cargo command in the root of the workspace, with the same cargo that runs this chore and without a terminal
/// to ask questions on.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()?).stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end; anything but success is an error that names it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok(())
}

/// What a command prints, if it succeeds.
pub(crate) fn printed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(
        output.status.success(),
        "{} failed: {}\n{}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{} prints no UTF-8", shown(command)))
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let words: Vec<_> = std::iter::once(name).chain(arguments).collect();
    format!("`{}`", words.join(" "))
}

/// Something outside cargo that a chore needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// For the cryptography and for SQLite.
    CCompiler,
    /// For the allocator.
    Make,
    /// For the fuzzing engine.
    CxxCompiler,
    /// For josekit alone, a second opinion in the tests of signatures.
    OpenSsl,
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::CCompiler => "a C compiler",
            Self::Make => "make",
            Self::CxxCompiler => "a C++ compiler",
            Self::OpenSsl => "the OpenSSL headers and pkg-config (for a test oracle only)",
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::CCompiler => {
                ["cc", "gcc", "clang"].iter().any(|compiler| answers(compiler, &["--version"]))
            }
            Self::CxxCompiler => {
                ["c++", "g++", "clang++"].iter().any(|compiler| answers(compiler, &["--version"]))
            }
            Self::Make => answers("make", &["--version"]),
            Self::OpenSsl => answers("pkg-config", &["--exists", "openssl"]),
        }
    }

    fn debian_packages(self) -> &'static [&'static str] {
        match self {
            Self::CCompiler => &["gcc", "libc6-dev"],
            Self::Make => &["make"],
            Self::CxxCompiler => &["g++"],
            Self::OpenSsl => &["libssl-dev", "pkg-config"],
        }
    }
}

/// Makes sure of what is needed: installs it where that is possible without asking, or says what to install.
pub(crate) fn make_sure_of(needs: &[Need]) -> Result<()> {
    let missing = |needs: &[Need]| needs.iter().copied().filter(|need| !need.is_there()).collect::<Vec<_>>();
    let lacking = missing(needs);
    if lacking.is_empty() {
        return Ok(());
    }
    let names = lacking.iter().map(|need| need.name()).collect::<Vec<_>>().join("; ");
    let packages: Vec<&str> = lacking.iter().flat_map(|need| need.debian_packages()).copied().collect();
    if !(answers("apt-get", &["--version"]) && is_root()) {
        bail!("missing: {names}. On Debian or Ubuntu: sudo apt-get install {}", packages.join(" "));
    }
    println!("Missing: {names}. Installing {} with apt-get.", packages.join(" "));
    succeed(apt_get().args(["-qq", "update"]))?;
    succeed(apt_get().args(["-qq", "install", "--yes", "--no-install-recommends"]).args(&packages))?;
    ensure!(missing(&lacking).is_empty(), "still missing after the installation: {names}");
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn is_root() -> bool {
    printed(Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0")
}

/// Whether a program is installed and answers well.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
