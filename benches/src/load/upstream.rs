//! The MCP server behind the targets: one thread, no parsing, an answer at once.
//!
//! `/mcp` always gives the same answer in clear, for targets that rewrite nothing. `/sealed` gives answers as a server
//! stores them that was sent sealed values, in turn, so that no two in a row share a derived key. `/last` gives the
//! last body that came to `/sealed`: what the sidecar really sent.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Failure;
use super::arguments::Upstream;

struct Answers {
    clear: Bytes,
    sealed: Vec<Bytes>,
    turn: AtomicUsize,
    last: Mutex<Bytes>,
}

/// Serves until the process is ended.
///
/// # Errors
/// When an answer can't be read or the port can't be bound.
pub fn serve(arguments: &Upstream) -> Result<(), Failure> {
    let sealed = std::fs::read_to_string(&arguments.sealed)?;
    let answers = Answers {
        clear: std::fs::read(&arguments.clear)?.into(),
        sealed: sealed
            .lines()
            .map(|line| Bytes::from(line.to_owned()))
            .collect(),
        turn: AtomicUsize::new(0),
        last: Mutex::new(Bytes::new()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(listen(arguments.port, Arc::new(answers)))
}

async fn listen(port: u16, answers: Arc<Answers>) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&answers)));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A peer that goes away is no matter here.
            let _ended = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Answers>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    Ok(match path.as_str() {
        "/mcp" => json(answers.clear.clone()),
        "/sealed" => {
            *answers.last.lock().unwrap_or_else(PoisonError::into_inner) = body;
            let turn = answers.turn.fetch_add(1, Ordering::Relaxed);
            let turn = turn
                .checked_rem(answers.sealed.len())
                .and_then(|n| answers.sealed.get(n));
            turn.map_or_else(
                || status(StatusCode::INTERNAL_SERVER_ERROR),
                |answer| json(answer.clone()),
            )
        }
        "/last" => json(
            answers
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        ),
        _ => status(StatusCode::NOT_FOUND),
    })
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
