//! Values that do not print.

use http::HeaderValue;
use std::fmt;

/// A value that does not print and is not serialized: only [`Secret::expose`] gives it.
///
/// ```
/// use secevent_ssf::Secret;
///
/// let secret = Secret::new("Bearer x7");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(*secret.expose(), "Bearer x7");
/// ```
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<HeaderValue> {
    /// The value for a request, marked so that the request's own `Debug` does not print it either.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = self.0.clone();
        value.set_sensitive(true);
        value
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
