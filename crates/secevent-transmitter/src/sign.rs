//! Signatures: cheap ones at once, RSA on threads of its own, so that it never holds up the network.

use secevent_jose::{Algorithm, SignError, Signer};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Signs payloads.
#[derive(Debug)]
pub(crate) struct SigningPool {
    work: Sender<Work>,
}

struct Work {
    signer: Arc<Signer>,
    payload: Vec<u8>,
    answer: oneshot::Sender<Result<String, SignError>>,
}

impl SigningPool {
    /// A pool with this many threads. They end with the pool.
    pub(crate) fn new(threads: usize) -> Self {
        let (work, taken) = channel::<Work>();
        let taken = Arc::new(Mutex::new(taken));
        for number in 0..threads.max(1) {
            let taken = Arc::clone(&taken);
            std::thread::Builder::new()
                .name(format!("sign-{number}"))
                .spawn(move || sign_until_closed(&taken))
                .expect("the system gives a thread to a program that starts");
        }
        Self { work }
    }

    /// The compact token over `payload`.
    pub(crate) async fn sign(&self, signer: &Arc<Signer>, payload: Vec<u8>) -> Result<String, SignError> {
        if !is_slow(signer.key().algorithm()) {
            return signer.sign(&payload);
        }
        let (answer, signed) = oneshot::channel();
        let work = Work { signer: Arc::clone(signer), payload, answer };
        self.work.send(work).expect("the threads live as long as the pool");
        signed.await.expect("a thread answers what it took")
    }
}

fn sign_until_closed(work: &Mutex<Receiver<Work>>) {
    loop {
        let taken = work.lock().expect("no thread panics while it waits").recv();
        let Ok(Work { signer, payload, answer }) = taken else { return };
        // Nobody waits any more if the attempt was given up meanwhile.
        let _ = answer.send(signer.sign(&payload));
    }
}

/// Whether this takes long enough to hold others up.
pub(crate) fn is_slow(algorithm: Algorithm) -> bool {
    use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
}
