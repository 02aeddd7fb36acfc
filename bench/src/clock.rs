//! The real clock, in the one place where these tools touch it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch. Sender and receiver run on one machine, so they read one clock.
#[expect(clippy::disallowed_methods, reason = "a yardstick measures real time")]
pub fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_nanos()).expect("the year is before 2554")
}

/// Blocks this thread. It wakes within tens of microseconds, where the runtime's timer would round up to 1 ms.
#[expect(clippy::disallowed_methods, reason = "a load generator keeps real time")]
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}
