//! How much is to be tested, as `cargo xtask crash` says.

use std::env;

#[derive(Debug)]
pub(crate) struct Scale {
    /// From which everything follows that looks like chance.
    pub(crate) seed: u64,
    /// All of it, not the share for every day.
    pub(crate) long: bool,
    /// This kill point, or one of [`Scale::OTHERS`], alone.
    pub(crate) point: Option<String>,
}

impl Scale {
    pub(crate) fn from_environment() -> Self {
        let seed = env::var("SECEVENT_CRASH_SEED").ok();
        Self {
            seed: seed.map_or(1, |seed| seed.parse().expect("SECEVENT_CRASH_SEED is a number")),
            long: env::var_os("SECEVENT_CRASH_LONG").is_some(),
            point: env::var("SECEVENT_CRASH_POINT").ok(),
        }
    }

    /// What else can be asked for, each a test of its own.
    const OTHERS: [&str; 4] = ["full", "power", "restore", "subjects"];

    pub(crate) fn is_for_another_test(&self) -> bool {
        self.point.as_deref().is_some_and(|point| Self::OTHERS.contains(&point))
    }

    /// What to type to see one point again.
    pub(crate) fn command(&self, point: &str) -> String {
        let long = if self.long { " --long" } else { "" };
        format!("cargo xtask crash{long} --seed {} --point {point}", self.seed)
    }

    pub(crate) fn wants(&self, point: &str) -> bool {
        self.point.as_deref().is_none_or(|wanted| wanted == point)
    }
}
