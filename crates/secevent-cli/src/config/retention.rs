//! `[retention]`: how long traces are kept that are no events.

use anyhow::ensure;
use secevent_transmitter::TransmitterConfig;
use serde::Deserialize;
use std::time::Duration;

/// How long what is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// How many days the log of changes is kept. Default: 365.
    audit_days: Option<u64>,
}

impl Retention {
    /// Ten years and a bit: what somebody may have to show.
    const AUDIT_DAYS_MAX: u64 = 4_000;

    pub(crate) fn settle(&self, config: &mut TransmitterConfig) -> anyhow::Result<()> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        if let Some(days) = self.audit_days {
            let max = Self::AUDIT_DAYS_MAX;
            ensure!((1..=max).contains(&days), "retention.audit_days is {days}: it must be 1 to {max} days");
            config.audit_kept = DAY * u32::try_from(days).unwrap_or(u32::MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_bounds() {
        let settle = |days: u64| {
            let mut config = TransmitterConfig::new(Vec::new());
            let retention: Retention = toml::from_str(&format!("audit_days = {days}")).unwrap();
            retention.settle(&mut config).map(|()| config.audit_kept.as_secs() / 86_400)
        };
        assert_eq!((settle(1).unwrap(), settle(4_000).unwrap()), (1, 4_000));
        for wrong in [0, 4_001] {
            let refused = settle(wrong).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("retention.audit_days is {wrong}: it must be 1 to 4000")));
        }
        let mut config = TransmitterConfig::new(Vec::new());
        Retention::default().settle(&mut config).unwrap();
        assert_eq!(config.audit_kept, Duration::from_secs(365 * 86_400));
    }
}
