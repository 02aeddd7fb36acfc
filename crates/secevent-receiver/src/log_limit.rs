//! How many log lines peers can cause: strangers decide how many tokens there are to reject.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// Bounds the log lines of one kind that peers can cause. In each [`LogLimit::WINDOW`] the first few are logged as they
/// are. The others are counted, and their number is logged once, at the end of the window.
///
/// ```
/// use secevent_receiver::LogLimit;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limit = LogLimit::new(2);
/// let lines = (0..1_000).filter(|_| limit.admits(|count| println!("{count} more tokens rejected")));
/// assert_eq!(lines.count(), 2);
/// # }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    lines_max: u32,
    window: Arc<Mutex<Window>>,
}

#[derive(Debug, Default)]
struct Window {
    ends_at: Option<Instant>,
    logged: u32,
    left_out: u64,
}

impl LogLimit {
    /// How long lines are counted before their number is logged.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// Admits so many lines in each window.
    pub fn new(lines_max: u32) -> Self {
        Self { lines_max, window: Arc::default() }
    }

    /// Whether a line may be logged now. If not, it is counted. At the end of the window `report` is called with the
    /// number of lines that were left out: that of the first of them, for all. Without a tokio runtime nobody reports.
    pub fn admits(&self, report: impl FnOnce(u64) + Send + 'static) -> bool {
        let now = Instant::now();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.left_out == 0 && window.ends_at.is_none_or(|ends_at| now >= ends_at) {
            *window = Window { ends_at: Some(now + Self::WINDOW), logged: 0, left_out: 0 };
        }
        if window.logged < self.lines_max {
            window.logged += 1;
            return true;
        }
        window.left_out += 1;
        if let (1, Some(ends_at), Ok(runtime)) = (window.left_out, window.ends_at, Handle::try_current()) {
            let window = Arc::clone(&self.window);
            runtime.spawn(async move {
                sleep_until(ends_at).await;
                let ended = std::mem::take(&mut *window.lock().unwrap_or_else(PoisonError::into_inner));
                report(ended.left_out);
            });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    // finding: B16
    #[tokio::test(start_paused = true)]
    async fn a_flood_causes_a_few_lines_and_one_sum_in_each_window() {
        let limit = LogLimit::new(3);
        let sums = Arc::new(Mutex::new(Vec::<u64>::new()));
        let flood = |count: u64| {
            let line = |_: &u64| {
                let sums = Arc::clone(&sums);
                limit.admits(move |left_out| sums.lock().unwrap().push(left_out))
            };
            (0..count).filter(line).count()
        };
        assert_eq!(flood(2), 2);
        sleep(LogLimit::WINDOW + Duration::from_secs(1)).await;
        assert_eq!((flood(1_000), flood(1_000)), (3, 0), "an earlier window is over");
        assert!(sums.lock().unwrap().is_empty(), "it is not reported yet");
        sleep(LogLimit::WINDOW + Duration::from_secs(1)).await;
        assert_eq!(*sums.lock().unwrap(), [1_997]);
        assert_eq!(flood(4), 3, "and the next window has room again");
    }
}
