//! Events in: discover, subscribe, verify, store, hand on, acknowledge
