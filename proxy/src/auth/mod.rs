//! The endpoints below `/auth/`: where tokens are had and given back, and where an identity provider says who left.
//!
//! One table says what is served, with which methods, and whether pages of other origins may read it. A request comes
//! here behind the gate (framing, `Host`, `Origin`), passes the bound on its rate and the client certificate, has its body
//! read within [`BODY_BYTES_MAX`], and is answered by the one file of its endpoint. Nothing of it goes upstream, and every
//! answer says `Cache-Control: no-store` (RFC 6749 §5.1).

mod backchannel;
mod desk;
pub mod factor;
pub mod form;
mod logout;
pub mod problem;
pub mod rate;
mod token;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::protocols::http::ServerSession;
use safeguard_certs::PeerIdentity;

use crate::authn::tokens::Families;
use crate::clock;
use crate::cors;
use crate::downstream::Downstream;
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use problem::Problem;
pub use token::TokenSettings;

/// The body of a request to an endpoint here, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Where people prove and enrol second factors.
pub const FACTOR_PATH: &str = "/auth/factor";

/// What is served below `/auth/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/auth/token`: a login at the identity provider becomes a local token, and a refresh token another one.
    Token,
    /// `/auth/logout`: a person ends the login session of the token in `Authorization`.
    Logout,
    /// `/auth/backchannel-logout`: the identity provider ends a login session.
    BackchannelLogout,
    /// `/auth/factor`: a person proves a second factor, or enrols one.
    Factor,
    /// The script of that page.
    FactorScript,
    /// Its looks.
    FactorStyle,
}

/// Which pages may ask, and read what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    /// Those that may be MCP clients: `listen.cors.origins`.
    Clients,
    /// None: it is for servers.
    Nobody,
}

/// One row of the table.
struct Row {
    endpoint: Endpoint,
    path: &'static str,
    methods: &'static [Method],
    pages: Pages,
    /// Whether it is served to peers without a client certificate, at `listen.account`.
    account: bool,
}

const ROWS: &[Row] = &[
    Row {
        endpoint: Endpoint::Token,
        path: "/auth/token",
        methods: &[Method::POST],
        pages: Pages::Clients,
        account: false,
    },
    Row {
        endpoint: Endpoint::Logout,
        path: "/auth/logout",
        methods: &[Method::POST],
        pages: Pages::Clients,
        account: false,
    },
    Row {
        endpoint: Endpoint::BackchannelLogout,
        path: "/auth/backchannel-logout",
        methods: &[Method::POST],
        pages: Pages::Nobody,
        account: true,
    },
    Row {
        endpoint: Endpoint::Factor,
        path: FACTOR_PATH,
        methods: &[Method::GET, Method::POST],
        pages: Pages::Nobody,
        account: true,
    },
    Row {
        endpoint: Endpoint::FactorScript,
        path: factor::SCRIPT_PATH,
        methods: &[Method::GET],
        pages: Pages::Nobody,
        account: true,
    },
    Row {
        endpoint: Endpoint::FactorStyle,
        path: factor::STYLE_PATH,
        methods: &[Method::GET],
        pages: Pages::Nobody,
        account: true,
    },
];

/// What every endpoint is told of its request beside its head, which stands in the session.
#[derive(Debug)]
pub struct Asked {
    /// The body, whole.
    pub body: Bytes,
    /// The peer's certificate; none where the configuration asks for none.
    pub peer: Option<Arc<PeerIdentity>>,
    /// Unix seconds.
    pub now_unix: i64,
}

/// The endpoint at a path, to the letter.
pub fn endpoint(path: &str) -> Option<Endpoint> {
    ROWS.iter()
        .find(|row| row.path == path)
        .map(|row| row.endpoint)
}

/// The endpoint at a path of `listen.account`: nothing else is served there.
pub fn account_endpoint(path: &str) -> Option<Endpoint> {
    ROWS.iter()
        .find(|row| row.path == path && row.account)
        .map(|row| row.endpoint)
}

impl Endpoint {
    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.endpoint == self)
    }
}

/// Answers one request.
///
/// # Errors
/// Whatever refuses it, for the one table of refusals.
pub async fn serve(
    endpoint: Endpoint,
    exchange: &mut Exchange<'_>,
    http: &mut ServerSession,
) -> Result<(), Refusal> {
    let row = endpoint.row().ok_or(Refusal::NotFound)?;
    exchange.named(row.path);
    let request = http.req_header();
    let preflight = cors::preflight(request).filter(|_| row.pages == Pages::Clients);
    if let Some(reply) = preflight {
        return Downstream::new(http).reply(reply).await;
    }
    if !row.methods.contains(&request.method) {
        return Err(Refusal::MethodNotAllowed);
    }
    within_rate(exchange)?;
    let now_unix = clock::now_unix();
    let peer = exchange.peer(now_unix)?;
    let body = match request.method == Method::POST {
        true => {
            let deadline = exchange.sidecar().limits.body;
            let read = Downstream::new(http).body(BODY_BYTES_MAX, deadline).await;
            read.inspect_err(|refusal| note_bound(exchange, refusal))?
        }
        false => Bytes::new(),
    };
    let asked = Asked {
        body,
        peer,
        now_unix,
    };
    let mut reply = match endpoint {
        Endpoint::Token => token::answer(exchange, http, &asked).await?,
        Endpoint::Logout => logout::answer(exchange, http, &asked).await?,
        Endpoint::BackchannelLogout => backchannel::answer(exchange, http, &asked).await?,
        Endpoint::Factor => factor::answer(exchange, http, &asked).await?,
        Endpoint::FactorScript => factor::script(exchange)?,
        Endpoint::FactorStyle => factor::style(exchange)?,
    };
    not_stored(&mut reply.headers);
    Downstream::new(http).reply(reply).await
}

fn within_rate(exchange: &Exchange<'_>) -> Result<(), Refusal> {
    let sidecar = exchange.sidecar();
    let source = exchange.connection().source();
    let over = sidecar.auth.rate.take(source, Instant::now()).err();
    over.map_or(Ok(()), |over| {
        sidecar.limit_reached(over.limit());
        Err(Problem::too_many(over.seconds()).into())
    })
}

fn note_bound(exchange: &Exchange<'_>, refusal: &Refusal) {
    if *refusal == Refusal::TooLarge {
        exchange.sidecar().limit_reached("auth_body_bytes");
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    let mut headers = HeaderMap::new();
    let media = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, media);
    Reply {
        status,
        headers,
        body: Bytes::from(value.to_string()),
    }
}

/// An answer of which the status says all.
pub fn empty(status: StatusCode) -> Reply {
    Reply {
        status,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    }
}

/// Both headers of RFC 6749 §5.1: no cache of any age keeps an answer of these endpoints.
pub(crate) fn not_stored(headers: &mut HeaderMap) {
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// What the endpoints keep between requests.
#[derive(Debug, Default)]
pub struct Auth {
    /// How often each source, and all of them together, may ask.
    pub rate: rate::Rate,
    /// What `/auth/token` gives; none where it is not served.
    pub tokens: Option<TokenSettings>,
    /// The families of refresh tokens.
    pub families: Families,
}

impl Auth {
    /// Nothing has been asked yet.
    pub fn new(tokens: Option<TokenSettings>, families: Families) -> Self {
        Self {
            tokens,
            families,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_served_to_the_letter_or_not_at_all() {
        assert_eq!(endpoint("/auth/logout"), Some(Endpoint::Logout));
        for other in [
            "/auth/",
            "/auth",
            "/auth/logout/",
            "/AUTH/logout",
            "/auth/logout%20",
            "/auth/../auth/logout",
        ] {
            assert_eq!(endpoint(other), None, "{other}");
        }
    }

    #[test]
    fn without_a_client_certificate_no_token_is_had() {
        for path in ["/auth/token", "/auth/logout", "/mcp", "/"] {
            assert_eq!(account_endpoint(path), None, "{path}");
        }
    }

    #[test]
    fn every_endpoint_has_one_row_and_a_label_of_its_own() {
        for row in ROWS {
            assert_eq!(endpoint(row.path), Some(row.endpoint));
            assert_eq!(crate::metrics::method_label(row.path), row.path);
            assert!(!row.methods.is_empty());
        }
    }
}
