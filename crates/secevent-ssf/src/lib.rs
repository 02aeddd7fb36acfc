//! What two parties of the Shared Signals Framework say to each other
