//! What the yardsticks share. All but the token bench, the engine bench and its receiving side know no product: they post
//! bodies, receive them and measure, all on one machine and so with one clock.

pub mod clock;
pub mod engine;
pub mod latency;
pub mod markers;
pub mod process;
pub mod runtime;
pub mod sequence;
pub mod token;
