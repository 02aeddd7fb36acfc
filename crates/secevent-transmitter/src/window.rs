//! How many deliveries of one stream may be on their way at once: it grows while the receiver keeps up, and
//! halves when it does not.

/// An adaptive window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    size: usize,
    max: usize,
    /// Deliveries accepted since the window last grew.
    accepted: usize,
}

impl Window {
    const START: usize = 4;

    pub(crate) fn new(max: usize) -> Self {
        Self { size: Self::START.min(max), max, accepted: 0 }
    }

    /// How many may be on their way.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// One was accepted: a window's worth of these doubles it.
    pub(crate) fn accepted(&mut self) {
        self.accepted += 1;
        if self.accepted >= self.size {
            self.accepted = 0;
            self.size = (self.size * 2).min(self.max);
        }
    }

    /// The receiver is in trouble: go on with half of it, and after that with one at a time.
    pub(crate) fn troubled(&mut self) {
        self.accepted = 0;
        self.size = (self.size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_shrinks_to_one() {
        let mut window = Window::new(64);
        for _ in 0..1_000 {
            window.accepted();
        }
        assert_eq!(window.size(), 64);
        for expected in [32, 16, 8, 4, 2, 1, 1] {
            window.troubled();
            assert_eq!(window.size(), expected);
        }
        window.accepted();
        assert_eq!(window.size(), 2);
    }
}
