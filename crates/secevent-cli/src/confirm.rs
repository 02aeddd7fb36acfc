//! One rule for what cannot be undone: a person at a terminal is asked, and elsewhere `--yes` is needed.
//!
//! It holds for every command after which something is lost for good: events, deliveries, dead letters, a stream, a
//! client, a key, the data of a person. What can be taken back, or only sends something again, does not ask.

use crate::output::{Failure, message};
use clap::Args;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// The answer to the question, given before it is asked.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do it without asking; required where there is no terminal
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Whether the question was answered already.
    pub(crate) fn is_given(&self) -> bool {
        self.yes
    }

    /// Refuses where the question is not answered and nobody can be asked, before anything is looked up for it.
    pub(crate) fn check(&self, what: &str) -> Result<(), Failure> {
        if self.yes || std::io::stdin().is_terminal() {
            return Ok(());
        }
        let problem = format!("{what}: this cannot be undone, and there is no terminal to confirm on");
        Err(Failure::misuse(problem).fix("pass --yes"))
    }

    /// Goes on if that is meant. `what` says what happens, as in "this deletes the stream x".
    pub(crate) fn ask(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        self.check(what)?;
        let failed = |error: std::io::Error| Failure::failed(format!("the terminal cannot be read: {error}"));
        let mut terminal = std::io::stderr().lock();
        write!(terminal, "{}. This cannot be undone. Continue? [y/N] ", message(what))
            .and_then(|()| terminal.flush())
            .map_err(failed)?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        match is_yes(&answer) {
            true => Ok(()),
            false => Err(Failure::failed("cancelled, nothing was changed")),
        }
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_yes_is_yes() {
        for (answer, yes) in
            [("y\n", true), (" YES\r\n", true), ("", false), ("\n", false), ("n\n", false), ("yup\n", false)]
        {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
