//! The incoming network: the transmitter's and receiver's HTTP endpoints
