//! The admin port: plain HTTP, GET only, no PHI. `/metrics`, `/livez`, `/readyz` (`?verbose`).

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::readiness::Readiness;
use crate::sidecar::Sidecar;

/// Serves the admin port.
#[derive(Debug)]
pub struct AdminApp {
    sidecar: Arc<Sidecar>,
}

impl AdminApp {
    /// The admin port of this sidecar.
    pub fn new(sidecar: Arc<Sidecar>) -> Self {
        Self { sidecar }
    }

    fn answer(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> (StatusCode, &'static str, Vec<u8>) {
        const TEXT: &str = "text/plain; charset=utf-8";
        if method != Method::GET {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"GET only\n".to_vec());
        }
        match path {
            "/metrics" => {
                self.sidecar.refresh_gauges();
                (
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    self.sidecar.metrics().render(),
                )
            }
            "/livez" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" => {
                let readiness = Readiness::of(&self.sidecar);
                let status = if readiness.ready() {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                let verbose = query.is_some_and(|query| {
                    query
                        .split('&')
                        .any(|part| part == "verbose" || part.starts_with("verbose="))
                });
                let body = if verbose {
                    readiness.verbose()
                } else {
                    readiness.brief()
                };
                (status, TEXT, body.into_bytes())
            }
            _ => (
                StatusCode::NOT_FOUND,
                TEXT,
                b"/metrics /livez /readyz\n".to_vec(),
            ),
        }
    }
}

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, http: &mut ServerSession) -> Response<Vec<u8>> {
        let request = http.req_header();
        let (status, media, body) =
            self.answer(&request.method, request.uri.path(), request.uri.query());
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let length = response.body().len();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media));
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            http::HeaderValue::from_static("no-store"),
        );
        response
    }
}
