//! The client through its front door, against real servers on loopback.

mod exchange;
mod limits;
mod refused;
mod tls;
mod world;
