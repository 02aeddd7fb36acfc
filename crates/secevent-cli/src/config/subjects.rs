//! `[subjects]`: how many subjects streams may have, and where they are held.

use anyhow::{bail, ensure};
use secevent_ssf::DefaultSubjects;
use secevent_transmitter::SubjectLimits;
use serde::Deserialize;
use std::time::Duration;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subjects {
    per_stream_max: Option<u64>,
    in_memory_max: Option<u64>,
    removal_grace_seconds: Option<u64>,
}

impl Subjects {
    pub(super) fn settle(self) -> anyhow::Result<SubjectLimits> {
        let mut limits = SubjectLimits::default();
        let count = |name: &str, value: Option<u64>, default: &mut u64| {
            const MAX: u64 = 1_000_000_000;
            if let Some(value) = value {
                ensure!((1..=MAX).contains(&value), "subjects.{name} is {value}: it must be 1 to {MAX}");
                *default = value;
            }
            Ok(())
        };
        count("per_stream_max", self.per_stream_max, &mut limits.per_stream_max)?;
        count("in_memory_max", self.in_memory_max, &mut limits.in_memory_max)?;
        if let Some(seconds) = self.removal_grace_seconds {
            const MAX: u64 = 365 * 24 * 3_600;
            ensure!(
                seconds <= MAX,
                "subjects.removal_grace_seconds is {seconds}: it must be 0, which is none, to {MAX}"
            );
            limits.removal_grace = Duration::from_secs(seconds);
        }
        Ok(limits)
    }
}

/// What an issuer says of the subjects of a new stream.
pub(super) fn default_subjects(text: &str) -> anyhow::Result<DefaultSubjects> {
    match text {
        "ALL" => Ok(DefaultSubjects::All),
        "NONE" => Ok(DefaultSubjects::None),
        other => bail!("issuer.default_subjects is {other:?}: it must be ALL or NONE"),
    }
}
