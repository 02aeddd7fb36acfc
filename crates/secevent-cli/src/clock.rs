//! The clock that the commands read.

pub(crate) use secevent_server::SystemClock;
