//! The messages about a stream, and the transmitter's metadata: what is read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secevent::Invalid;
use secevent_ssf::{
    AddSubject, CreateStream, ReplaceStream, StreamConfiguration, StreamStatus, Tolerance,
    TransmitterMetadata, UpdateStatus, UpdateStream, VerificationRequest,
};

fuzz_target!(|bytes: &[u8]| {
    for tolerance in [Tolerance::NONE, Tolerance { legacy: true, plain_http: true }] {
        stays(bytes, tolerance, CreateStream::read, CreateStream::to_exposed_json);
        stays(bytes, tolerance, UpdateStream::read, UpdateStream::to_exposed_json);
        stays(bytes, tolerance, ReplaceStream::read, ReplaceStream::to_exposed_json);
        stays(bytes, tolerance, StreamConfiguration::read, StreamConfiguration::to_json);
        stays(bytes, tolerance, StreamConfiguration::read_list, |list| {
            StreamConfiguration::list_to_json(list)
        });
        stays(bytes, tolerance, TransmitterMetadata::read, TransmitterMetadata::to_json);
        stays(bytes, tolerance, StreamStatus::read, StreamStatus::to_json);
        stays(bytes, tolerance, UpdateStatus::read, UpdateStatus::to_json);
        stays(bytes, tolerance, AddSubject::read, AddSubject::to_json);
        stays(bytes, tolerance, VerificationRequest::read, VerificationRequest::to_json);
        if let Ok(metadata) = TransmitterMetadata::read(bytes, tolerance) {
            let _ = (metadata.interop_breaches(), metadata.version());
        }
        if let (Ok(configuration), Ok(create)) =
            (StreamConfiguration::read(bytes, tolerance), CreateStream::read(bytes, tolerance))
        {
            let _ = create.supplied.check_against(&configuration);
        }
    }
});

fn stays<T>(
    bytes: &[u8],
    tolerance: Tolerance,
    read: impl Fn(&[u8], Tolerance) -> Result<T, Invalid>,
    write: impl Fn(&T) -> String,
) {
    let Ok(message) = read(bytes, tolerance) else { return };
    let written = write(&message);
    let again = read(written.as_bytes(), tolerance).expect("what was written can be read");
    assert_eq!(write(&again), written, "what was read is what was written");
}
