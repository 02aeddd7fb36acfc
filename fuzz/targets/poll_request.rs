//! Both sides of a poll: what is read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secevent::json::Limits;
use secevent_ssf::poll::{PollLimits, PollRequest, PollResponse, write};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = PollRequest::read(bytes, PollLimits::default()) {
        let again = PollRequest::read(request.to_json().as_bytes(), PollLimits::default());
        assert_eq!(again.as_ref(), Ok(&request));
    }
    if let Ok(response) = PollResponse::read(bytes, Limits::BODY) {
        let sets = response.sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
        let again = PollResponse::read(&write(sets, response.more_available), Limits::BODY);
        assert_eq!(again.as_ref(), Ok(&response));
    }
});
