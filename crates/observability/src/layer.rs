//! Tower layers that carry a request's trace, id and user between services. They open no spans: the vocabulary has no
//! span for a call, so the callee's first span is a child of the caller's.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use crate::propagation::Remote;

/// For clients: writes what the current span knows into the request's headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientLayer;

/// For servers: puts what the caller knows into the request's extensions, as a [`Remote`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ServerLayer;

/// A client behind [`ClientLayer`].
#[derive(Debug, Clone)]
pub struct Client<S>(S);

/// A server behind [`ServerLayer`].
#[derive(Debug, Clone)]
pub struct Server<S>(S);

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;
    fn layer(&self, inner: S) -> Client<S> {
        Client(inner)
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;
    fn layer(&self, inner: S) -> Server<S> {
        Server(inner)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Client<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        Remote::of_current_span().inject(request.headers_mut());
        self.0.call(request)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Server<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let remote = Remote::from_headers(request.headers());
        request.extensions_mut().insert(remote);
        self.0.call(request)
    }
}
