//! Who may have how many pushes on their way: one hard limit for all, and no kind of stream can use it up for the
//! others (SEM-9).

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits to push.
#[derive(Debug)]
pub(crate) struct Shares {
    all: Arc<Semaphore>,
    many: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

/// What kind of push a permit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// To a stream that has few on their way.
    Few,
    /// To a stream that has many: slow receivers collect them.
    Many,
    /// To a receiver that failed when it was last asked: dead ones answer late or never.
    Probe,
}

/// The right to have one push on its way.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) share: Share,
    _all: OwnedSemaphorePermit,
    _of_share: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// How many on their way are few.
    pub(crate) const FEW_MAX: usize = 4;
}

impl Shares {
    /// Shares of so many pushes in all.
    pub(crate) fn new(max: usize) -> Self {
        let probes = (max / 4).max(1);
        let kept = max / 8;
        let many = max.saturating_sub(probes + kept).max(1);
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { all: permits(max.max(1)), many: permits(many), probes: permits(probes) }
    }

    /// A permit, if there is one just now.
    pub(crate) fn try_take(&self, share: Share) -> Option<Permit> {
        let of_share = match self.semaphore(share) {
            Some(semaphore) => Some(Arc::clone(semaphore).try_acquire_owned().ok()?),
            None => None,
        };
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Permit { share, _all: all, _of_share: of_share })
    }

    /// A permit, in the order in which streams ask.
    pub(crate) fn take(&self, share: Share) -> impl Future<Output = Permit> + Send + use<> {
        const OPEN: &str = "the semaphore is never closed";
        let (of_share, all) = (self.semaphore(share).cloned(), Arc::clone(&self.all));
        async move {
            let of_share = match of_share {
                Some(semaphore) => Some(semaphore.acquire_owned().await.expect(OPEN)),
                None => None,
            };
            let all = all.acquire_owned().await.expect(OPEN);
            Permit { share, _all: all, _of_share: of_share }
        }
    }

    /// Whether every push that there may be is on its way.
    pub(crate) fn are_used_up(&self) -> bool {
        self.all.available_permits() == 0
    }

    fn semaphore(&self, share: Share) -> Option<&Arc<Semaphore>> {
        match share {
            Share::Few => None,
            Share::Many => Some(&self.many),
            Share::Probe => Some(&self.probes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_of_stream_uses_up_everything() {
        let shares = Shares::new(512);
        let take_all = |share| std::iter::from_fn(|| shares.try_take(share)).collect::<Vec<_>>();
        let probes = take_all(Share::Probe);
        assert_eq!(probes.len(), 128, "a quarter");
        let many = take_all(Share::Many);
        assert_eq!(many.len(), 320);
        assert!(!shares.are_used_up());
        let few = take_all(Share::Few);
        assert_eq!((few.len(), shares.are_used_up()), (64, true));
        drop(few);
        assert!(!shares.are_used_up());
        drop((probes, many));
        assert_eq!(take_all(Share::Few).len(), 512);
    }

    #[test]
    fn a_small_limit_is_kept_too() {
        for max in 1..9 {
            let shares = Shares::new(max);
            let mut taken = Vec::new();
            for share in [Share::Probe, Share::Many, Share::Few] {
                taken.extend(std::iter::from_fn(|| shares.try_take(share)));
            }
            assert_eq!(taken.len(), max, "{max}");
        }
    }
}
