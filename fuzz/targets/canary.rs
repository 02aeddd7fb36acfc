//! Fails on one input that blind chance does not find: each right byte opens a branch of its own, so only a fuzzer
//! that sees coverage gets to the end. `cargo xtask fuzz` fails when this target does not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|bytes: &[u8]| {
    assert!(!sings(bytes), "the canary sings: coverage guidance works");
});

/// Five nested branches. `black_box` keeps the compiler from melting them into one comparison of the whole word.
fn sings(bytes: &[u8]) -> bool {
    let at = |index: usize| black_box(bytes.get(index).copied());
    if at(0) == Some(b't') {
        if at(1) == Some(b'w') {
            if at(2) == Some(b'e') {
                if at(3) == Some(b'e') {
                    return at(4) == Some(b't');
                }
                black_box("three");
            }
            black_box("two");
        }
        black_box("one");
    }
    false
}
