//! The page as HTML: text of ours, with what is a person's escaped, and no script or style within.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use qrcodegen::{QrCode, QrCodeEcc};

use super::{SCRIPT_PATH, STYLE_PATH, hardened};
use crate::auth::FACTOR_PATH;
use crate::factor::FactorSettings;
use crate::factor::proofs::Holder;
use crate::factor::totp::Secret;
use crate::refuse::Reply;

/// Light around a QR code, in modules (ISO/IEC 18004 §9.1).
const QUIET: i32 = 4;

/// Makes pages of one site.
pub(super) struct Page<'a>(&'a FactorSettings);

/// What a page says first.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    /// Something is done.
    Good(&'a str),
    /// Something is not.
    Bad(&'a str),
}

impl<'a> Page<'a> {
    pub(super) fn new(settings: &'a FactorSettings) -> Self {
        Self(settings)
    }

    /// A page with nothing to do on it.
    pub(super) fn end(&self, status: StatusCode, said: Said<'_>) -> Reply {
        self.reply(status, Some(said), "")
    }

    /// The page on which a second factor is proved.
    pub(super) fn prove(
        &self,
        ticket: &str,
        holder: &Holder,
        (codes, keys): (bool, bool),
        said: Option<Said<'_>>,
    ) -> Reply {
        let mut body = format!(
            "<p>Signed in as <b>{}</b>, with the program <b>{}</b> at {}.</p>\
             <p>Go on only if it is you who just started this.</p>",
            escaped(holder.who.subject()),
            escaped(holder.name.as_deref().unwrap_or("without a certificate")),
            holder.source,
        );
        if codes {
            body.push_str(&code_form(
                ticket,
                "code",
                "Code from your authenticator app",
                "Go on",
            ));
        }
        if keys {
            body.push_str(&key_form(ticket, "key", "Use a passkey or security key"));
        }
        let nothing = Said::Bad(
            "You have not enrolled a second factor. Ask your administrator for an invitation.",
        );
        let said = match (codes || keys, said) {
            (false, None) => Some(nothing),
            (_, said) => said,
        };
        self.reply(status_of(said), said, &body)
    }

    /// The page on which one is enrolled.
    pub(super) fn enrol(
        &self,
        ticket: &str,
        subject: &str,
        secret: Option<&Secret>,
        said: Option<Said<'_>>,
    ) -> Reply {
        let mut body = format!("<p>A second factor for <b>{}</b>.</p>", escaped(subject));
        if let Some(secret) = secret {
            let uri = secret.uri(&self.0.site.host, subject);
            let _ = write!(
                body,
                "<h2>Authenticator app</h2><p>Scan this with the app, or type its secret: \
                 <code id=\"secret\">{}</code></p>{}",
                *secret.text(),
                drawn(&uri).unwrap_or_default()
            );
            let label = "The code that the app shows now";
            body.push_str(&code_form(ticket, "code", label, "Enrol the app"));
        }
        if self.0.webauthn {
            body.push_str("<h2>Passkey or security key</h2>");
            body.push_str(&key_form(ticket, "key", "Enrol a key"));
        }
        self.reply(status_of(said), said, &body)
    }

    fn reply(&self, status: StatusCode, said: Option<Said<'_>>, body: &str) -> Reply {
        let said = match said {
            None => String::new(),
            Some(Said::Good(text)) => {
                format!("<p id=\"done\" role=\"status\">{}</p>", escaped(text))
            }
            Some(Said::Bad(text)) => {
                format!("<p id=\"error\" role=\"alert\">{}</p>", escaped(text))
            }
        };
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Second factor</title>\
             <link rel=\"stylesheet\" href=\"{STYLE_PATH}\"><script src=\"{SCRIPT_PATH}\" defer></script></head>\
             <body><main><h1>Second factor</h1>{said}{body}</main></body></html>"
        );
        let mut headers = hardened();
        let media = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, media);
        let origin = &self.0.site.origin;
        let policy = format!(
            "default-src 'none'; script-src {origin}{SCRIPT_PATH}; style-src {origin}{STYLE_PATH}; \
             connect-src {origin}{FACTOR_PATH}; form-action {origin}{FACTOR_PATH}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Reply {
            status,
            headers,
            body: Bytes::from(html),
        }
    }
}

fn status_of(said: Option<Said<'_>>) -> StatusCode {
    match said {
        Some(Said::Bad(_)) => StatusCode::BAD_REQUEST,
        Some(Said::Good(_)) | None => StatusCode::OK,
    }
}

fn code_form(ticket: &str, action: &str, label: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{FACTOR_PATH}\"><input type=\"hidden\" name=\"t\" value=\"{ticket}\">\
         <label>{label}<input id=\"code\" name=\"{action}\" inputmode=\"numeric\" autocomplete=\"one-time-code\" \
         pattern=\"[0-9 ]*\" maxlength=\"8\" required autofocus></label>\
         <button id=\"send\">{button}</button></form>",
        ticket = escaped(ticket)
    )
}

/// A form that the script fills: hidden until it runs.
fn key_form(ticket: &str, action: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{FACTOR_PATH}\" data-key hidden>\
         <input type=\"hidden\" name=\"t\" value=\"{ticket}\"><input type=\"hidden\" name=\"{action}\">\
         <button id=\"use-key\" type=\"button\">{button}</button><p class=\"trouble\" role=\"alert\"></p></form>\
         <noscript><p>Passkeys need JavaScript.</p></noscript>",
        ticket = escaped(ticket)
    )
}

/// Text as it may stand in HTML and in its attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A QR code as SVG; none for what is too long for one.
fn drawn(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let side = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    Some(format!(
        "<svg viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"QR code of the secret\">\
         <path class=\"light\" d=\"M0 0h{side}v{side}h-{side}z\"/><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_persons_is_no_markup() {
        assert_eq!(
            escaped("<b onclick=\"x\">&'"),
            "&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;"
        );
        assert!(!code_form("\"><script>", "code", "x", "y").contains("<script"));
    }

    #[test]
    fn a_secret_is_drawn() {
        let drawn = drawn("otpauth://totp/x?secret=AAAA").unwrap();
        assert!(drawn.starts_with("<svg viewBox=\"0 0 "));
    }
}
