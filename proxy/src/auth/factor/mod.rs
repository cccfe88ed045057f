//! `/auth/factor`: the page on which a person proves a second factor, or enrols one.
//!
//! It is opened by a link alone (`?t=`, of a session; `?i=`, of an invitation), and every form on it carries a ticket that
//! nobody else has: no cookie, so that a foreign page has nothing to ride on. One-time codes need no script; keys need the
//! one that is served beside it. The person is shown whose session it is, and from where. What is answered never says
//! more than the holder of the ticket may know.

mod enrol;
mod page;
mod prove;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::Asked;
use super::form::Form;
use super::problem::Problem;
use crate::exchange::Exchange;
use crate::factor::links::{For, Link};
use crate::factor::{Factors, Unavailable};
use crate::refuse::{Refusal, Reply};
use page::{Page, Said};

/// The page's script.
pub const SCRIPT_PATH: &str = "/auth/factor.js";
/// The page's looks.
pub const STYLE_PATH: &str = "/auth/factor.css";
const SCRIPT: &str = include_str!("factor.js");
const STYLE: &str = include_str!("factor.css");

/// What the page does not find, or finds used.
const OVER: &str =
    "This page is over, was used already, or never was. Go back to your program and try again.";
const UNAVAILABLE: Problem = Problem::unavailable("second factors can't be verified now");

/// One request of the page's.
struct Visit<'v, 's> {
    exchange: &'v Exchange<'s>,
    factors: &'s Factors,
    ticket: &'v str,
    link: Arc<Link>,
    now: Instant,
    now_unix: i64,
}

/// The page, or what a form on it comes to.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    http: &ServerSession,
    asked: &Asked,
) -> Result<Reply, Refusal> {
    let factors = exchange.sidecar().factors.as_ref();
    let factors = factors.ok_or(Refusal::NotFound)?;
    let request = http.req_header();
    same_origin(&request.headers, &factors.settings().site.origin)?;
    let page = Page::new(factors.settings());
    if request.method == Method::GET {
        let query = Form::parse(request.uri.query().unwrap_or_default().as_bytes())?;
        if let Some(invitation) = query.one("i")? {
            return enrol::opened(exchange, factors, invitation, asked, &page).await;
        }
        let ticket = query.one("t")?.unwrap_or_default();
        let Some(visit) = visit(exchange, factors, ticket, asked) else {
            return Ok(page.end(StatusCode::NOT_FOUND, Said::Bad(OVER)));
        };
        return match visit.link.whose() {
            For::Session(_) => visit.prove(&page, None).await,
            For::Enrolment(_) => visit.enrol(&page, None).await,
        };
    }
    let form = Form::read(&request.headers, &asked.body)?;
    let ticket = form.required("t", "t is missing")?;
    let Some(visit) = visit(exchange, factors, ticket, asked) else {
        return Ok(page.end(StatusCode::NOT_FOUND, Said::Bad(OVER)));
    };
    match visit.link.whose() {
        For::Session(holder) => visit.proved(&page, holder, &form).await,
        For::Enrolment(invitee) => visit.enrolled(&page, invitee, &form).await,
    }
}

/// The script of the page.
pub(super) fn script(exchange: &Exchange<'_>) -> Result<Reply, Refusal> {
    file(exchange, SCRIPT, "text/javascript; charset=utf-8")
}

/// Its looks.
pub(super) fn style(exchange: &Exchange<'_>) -> Result<Reply, Refusal> {
    file(exchange, STYLE, "text/css; charset=utf-8")
}

fn file(
    exchange: &Exchange<'_>,
    text: &'static str,
    media: &'static str,
) -> Result<Reply, Refusal> {
    if exchange.sidecar().factors.is_none() {
        return Err(Refusal::NotFound);
    }
    let mut headers = hardened();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(Reply {
        status: StatusCode::OK,
        headers,
        body: Bytes::from_static(text.as_bytes()),
    })
}

/// Pages of other origins, those of `listen.cors` too, have nothing to ask here.
fn same_origin(headers: &HeaderMap, own: &str) -> Result<(), Refusal> {
    let origin = headers.get(header::ORIGIN);
    let is_own = origin.is_none_or(|origin| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()));
    is_own.then_some(()).ok_or(Refusal::ForeignOrigin)
}

fn visit<'v, 's>(
    exchange: &'v Exchange<'s>,
    factors: &'s Factors,
    ticket: &'v str,
    asked: &Asked,
) -> Option<Visit<'v, 's>> {
    let now = Instant::now();
    Some(Visit {
        exchange,
        factors,
        ticket,
        link: factors.opened(ticket, now)?,
        now,
        now_unix: asked.now_unix,
    })
}

fn unavailable(exchange: &Exchange<'_>, why: &Unavailable) -> Refusal {
    log::error!("second factors: {why}");
    if matches!(why, Unavailable::TooSlow) {
        exchange.sidecar().limit_reached("factor_store_seconds");
    }
    UNAVAILABLE.into()
}

/// What every answer of the page says to the browser.
fn hardened() -> HeaderMap {
    const ROWS: [(&str, &str); 5] = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        // Not `no-referrer`: a form would then be sent without its origin.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in ROWS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

/// What the script asked for.
fn told(text: String) -> Reply {
    let mut headers = hardened();
    let media = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, media);
    Reply {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(text),
    }
}
