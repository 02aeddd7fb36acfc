//! The `secevent` command.

fn main() {}
