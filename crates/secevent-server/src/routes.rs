//! A router that knows its paths, so that a test can visit every one of them: an endpoint that nobody thought of is
//! the one that is open. Each path comes with what it answers, of which the OpenAPI document is made.

use crate::admin::route::Operation;
use axum::Router;
use axum::routing::MethodRouter;

/// Endpoints, and where they are.
pub(crate) struct Routes<S = ()> {
    router: Router<S>,
    documented: Vec<Documented>,
}

/// A path, and what each of its methods does.
#[derive(Clone)]
pub(crate) struct Documented {
    pub(crate) path: String,
    pub(crate) operations: Vec<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        // The path of an issuer may have any characters that a URL has, a colon at its beginning too.
        Self { router: Router::new().without_v07_checks(), documented: Vec::new() }
    }

    /// What is served at a path, and what each method answers.
    pub(crate) fn route(
        mut self,
        path: &str,
        methods: MethodRouter<S>,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Self {
        let operations = operations.into_iter().collect();
        self.documented.push(Documented { path: path.to_owned(), operations });
        Self { router: self.router.route(path, methods), documented: self.documented }
    }

    /// All of them through something else.
    pub(crate) fn with(self, layer: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        Self { router: layer(self.router), documented: self.documented }
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.documented.extend(other.documented);
        Self { router: self.router.merge(other.router), documented: self.documented }
    }

    pub(crate) fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), documented: self.documented }
    }

    pub(crate) fn documented(&self) -> &[Documented] {
        &self.documented
    }
}

impl Routes {
    pub(crate) fn into_router(self) -> Router {
        self.router
    }

    pub(crate) fn into_paths(self) -> Vec<String> {
        self.documented.into_iter().map(|one| one.path).collect()
    }
}
