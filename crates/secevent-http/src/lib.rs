//! The outgoing network: one guarded HTTP client
