//! `secevent backup`: a copy of a running server's store.

use crate::admin::Common;
use crate::output::{Failure, print, print_json};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Copy the store of a running server.
///
/// The server writes the copy and goes on meanwhile. Whatever it had accepted before the command began is in it. The
/// master key is not: keep that elsewhere, and remember that a copy is of no use without it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent backup copy.db
  secevent backup --config /etc/secevent/secevent.toml \"/var/backups/secevent-$(date +%F).db\"

To restore: stop the server, put the copy in the place of its store, and start it. It never gives
an identifier again that the original has given.

The file must not be there yet. It is written by the server, so it has to be in a place where that
may write; with --admin, it is a path on the server's machine.

JSON: {path}.

Exit codes: 0 the copy is whole and on disk; 1 there is none; 2 misuse.")]
pub(crate) struct Backup {
    /// The file to write
    #[arg(value_name = "TO.db")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// Has it written.
pub(crate) fn run(args: &Backup) -> ExitCode {
    args.common.run(async |server| {
        if args.common.is_elsewhere() && !args.to.is_absolute() {
            return Err(Failure::misuse(
                "with --admin the path must be absolute: it is one of the server's machine",
            ));
        }
        let to = std::path::absolute(&args.to).map_err(|error| Failure::misuse(format!("TO.db: {error}")))?;
        let path = to.to_str().ok_or_else(|| Failure::misuse("TO.db must be a name in UTF-8"))?;
        let told = server.send_patiently(&["backup"], &json!({ "path": path })).await?;
        if args.common.json {
            return print_json(&told);
        }
        print(&format!("the store is copied to {}\n", crate::output::message(path)))
    })
}
