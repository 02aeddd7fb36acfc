//! A router that knows its paths, so that a test can visit every one of them: an endpoint that nobody thought of is
//! the one that is open.

use axum::Router;
use axum::routing::MethodRouter;

/// Endpoints, and where they are.
pub(crate) struct Routes<S = ()> {
    router: Router<S>,
    paths: Vec<String>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        // The path of an issuer may have any characters that a URL has, a colon at its beginning too.
        Self { router: Router::new().without_v07_checks(), paths: Vec::new() }
    }

    /// What is served at a path.
    pub(crate) fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.paths.push(path.to_owned());
        Self { router: self.router.route(path, methods), paths: self.paths }
    }

    /// All of them through something else.
    pub(crate) fn with(self, layer: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        Self { router: layer(self.router), paths: self.paths }
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        Self { router: self.router.merge(other.router), paths: self.paths }
    }

    pub(crate) fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), paths: self.paths }
    }
}

impl Routes {
    pub(crate) fn into_router(self) -> Router {
        self.router
    }

    pub(crate) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}
