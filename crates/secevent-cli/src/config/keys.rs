//! `[secrets]`, `[keys]` and what else the file says of keys.

use super::{SecretSource, master_key};
use anyhow::{bail, ensure};
use secevent_jose::{KeyRing, RotationTimes};
use secevent_server::JWKS_MAX_AGE_SECONDS;
use serde::Deserialize;
use std::time::Duration;

/// `[secrets]`: the master keys under which secrets are sealed in the store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    /// The one.
    key: Option<SecretSource>,
    /// Several: the first one seals, all open. `secevent key rewrap` seals everything with the first.
    keys: Option<Vec<SecretSource>>,
}

/// `[keys]`: how long keys that sign are published before and after.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    publish_ahead_seconds: Option<u64>,
    keep_behind_seconds: Option<u64>,
}

impl Secrets {
    /// The keys, the one that seals first.
    pub(super) fn settle(&self) -> anyhow::Result<Vec<[u8; 32]>> {
        let keys = match (&self.key, &self.keys) {
            (Some(key), None) => vec![master_key(&key.read("secrets.key")?)?],
            (None, Some(keys)) => keys
                .iter()
                .map(|key| master_key(&key.read("secrets.keys")?))
                .collect::<anyhow::Result<Vec<_>>>()?,
            (Some(_), Some(_)) => {
                bail!("secrets has both key and keys: put all into keys, the one that seals first")
            }
            (None, None) => Vec::new(),
        };
        ensure!(
            (1..=KEYS_MAX).contains(&keys.len()),
            "secrets.keys has {} keys: it must have 1 to {KEYS_MAX}",
            keys.len()
        );
        Ok(keys)
    }
}

impl Keys {
    pub(super) fn settle(&self) -> anyhow::Result<RotationTimes> {
        const DAY: u64 = 24 * 3600;
        // What was fetched just before a key was published may be kept for so long.
        let ahead_min = JWKS_MAX_AGE_SECONDS + 60;
        let mut times = RotationTimes::default();
        for (name, value, time, min, max) in [
            (
                "publish_ahead_seconds",
                self.publish_ahead_seconds,
                &mut times.publish_ahead,
                ahead_min,
                90 * DAY,
            ),
            ("keep_behind_seconds", self.keep_behind_seconds, &mut times.keep_behind, 3600, 366 * DAY),
        ] {
            if let Some(value) = value {
                ensure!(
                    (min..=max).contains(&value),
                    "keys.{name} is {value}: it must be {min} to {max} seconds"
                );
                *time = Duration::from_secs(value);
            }
        }
        Ok(times)
    }
}

/// How often an issuer's keys rotate by themselves.
pub(super) fn rotate_every(days: Option<u64>, times: RotationTimes) -> anyhow::Result<Option<Duration>> {
    let Some(days) = days else { return Ok(None) };
    ensure!((1..=3650).contains(&days), "issuer.rotate_every_days is {days}: it must be 1 to 3650 days");
    let every = Duration::from_secs(days * 24 * 3600);
    ensure!(
        every > times.publish_ahead,
        "issuer.rotate_every_days is {days}: it must be longer than keys.publish_ahead_seconds"
    );
    let published = times.keep_behind.as_secs() / every.as_secs();
    ensure!(
        usize::try_from(published).is_ok_and(|published| published + 2 < KeyRing::PREVIOUS_MAX),
        "issuer.rotate_every_days is {days}: with keys.keep_behind_seconds {} too many keys would be published at once",
        times.keep_behind.as_secs()
    );
    Ok(Some(every))
}

const KEYS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_would_lose_tokens_are_refused() {
        let keys = |ahead, behind| Keys { publish_ahead_seconds: ahead, keep_behind_seconds: behind };
        assert_eq!(keys(None, None).settle().unwrap(), RotationTimes::default());
        let times = keys(Some(3600), Some(86_400)).settle().unwrap();
        assert_eq!((times.publish_ahead.as_secs(), times.keep_behind.as_secs()), (3600, 86_400));
        for (keys, told) in [
            (keys(Some(300), None), "keys.publish_ahead_seconds is 300: it must be 360 to"),
            (keys(None, Some(60)), "keys.keep_behind_seconds is 60: it must be 3600 to"),
        ] {
            let error = keys.settle().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let times = RotationTimes::default();
        assert_eq!(rotate_every(Some(30), times).unwrap(), Some(Duration::from_secs(30 * 86_400)));
        let long = keys(None, Some(300 * 86_400)).settle().unwrap();
        for (days, times, told) in [
            (0, times, "must be 1 to 3650"),
            (1, times, "longer than keys.publish_ahead_seconds"),
            (2, long, "too many keys"),
        ] {
            let error = rotate_every(Some(days), times).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
