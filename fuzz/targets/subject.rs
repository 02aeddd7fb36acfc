//! Subjects of strangers, in today's shapes and in older ones: each reading can be written, read again and compared.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secevent::json::{Limits, check};
use secevent::{Strictness, Subject};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = check(bytes, Limits::TOKEN) else { return };
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let strict = Subject::from_value(value.clone(), Strictness::Strict).ok();
    let lenient = Subject::from_json(text).ok();
    let legacy = Subject::from_legacy_value(value).ok();
    if let Some(strict) = &strict {
        assert_eq!(Some(strict), lenient.as_ref(), "what is strictly right is read alike by everybody");
        assert_eq!(Subject::from_value(strict.to_value(), Strictness::Strict).as_ref(), Ok(strict));
    }
    let subjects: Vec<_> = [strict, lenient, legacy].into_iter().flatten().collect();
    for one in &subjects {
        assert_eq!(Subject::from_value(one.to_value(), Strictness::Lenient).as_ref(), Ok(one));
        assert!(one.matches(one), "a subject is itself");
        assert!(!one.lanes().is_empty(), "order is kept in some lane");
        for another in &subjects {
            assert_eq!(one.matches(another), another.matches(one), "matching is symmetric");
            assert_eq!(one.key() == another.key(), one == another, "equal subjects have equal keys");
        }
    }
});
