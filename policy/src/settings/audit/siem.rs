//! `audit_logging.output[type: siem]`: where the collector listens and how we prove who we are.

use crate::document::Environment;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::settings::transport::{Url, split_url};
use crate::settings::types::{Output, Siem};

/// The registered port of syslog over TLS (RFC 5425 §4.1).
const PORT: u16 = 6514;

/// What an event in another's words has room in, in bytes: what RFC 5425 §4.3.1 asks of collectors as well.
const RENDERED_BYTES_MIN: usize = 8192;

pub(super) fn siem(
    section: Section<'_>,
    env: &dyn Environment,
    report: &mut Report<'_>,
) -> Option<Output> {
    let _ = (section.text("type"), section.text("protocol"));
    let from = |key: &'static str, variable: &str| {
        let variable = || env.var(variable).filter(|v| !v.is_empty());
        section.owned(key).or_else(variable)
    };
    let cert_file = from("cert_file", "SAFEGUARD_SIEM_CERT");
    let key_file = from("key_file", "SAFEGUARD_SIEM_KEY");
    if cert_file.is_some() != key_file.is_some() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("cert_file"),
                "cert_file and key_file of the sink siem go together",
            )
            .fix("give both, or SAFEGUARD_SIEM_CERT and SAFEGUARD_SIEM_KEY");
    }
    let format = section.owned("format")?;
    let message_bytes_max: usize = section.number("message_bytes_max")?;
    if format != "native" && message_bytes_max < RENDERED_BYTES_MIN {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("message_bytes_max"),
                "`audit_logging.output.message_bytes_max` is too little for events in the formats of others",
            )
            .fix("write 8192 or more, or format: native");
    }
    let url = endpoint(section, report)?;
    Some(Output::Siem(Siem {
        host: url.host.to_owned(),
        port: url.port.unwrap_or(PORT),
        format,
        message_bytes_max,
        ca_file: from("ca_file", "SAFEGUARD_SIEM_CA").map(Into::into),
        cert_file: cert_file.map(Into::into),
        key_file: key_file.map(Into::into),
    }))
}

/// The host, and the port if one is written. `https` is taken for what it can only mean beside `protocol: syslog`: TLS.
fn endpoint<'a>(section: Section<'a>, report: &mut Report<'_>) -> Option<Url<'a>> {
    const FIX: &str = "write it as syslog+tls://siem.example.com:6514 (RFC 5425)";
    let place = section.place_of("endpoint");
    let Some(url) = split_url(section.text("endpoint")?).filter(|url| matches!(url.path, "" | "/"))
    else {
        let what = "`audit_logging.output.endpoint` is no URL of a host";
        report.error(codes::BAD_VALUE, place, what).fix(FIX);
        return None;
    };
    match url.scheme {
        "syslog+tls" => Some(url),
        "https" => {
            let port = url.port.unwrap_or(PORT);
            let what = format!(
                "an https endpoint with protocol syslog: syslog is not spoken over https, its events go over TLS to port {port}"
            );
            report.warning(codes::WEAK_TRANSPORT, place, what).fix(FIX);
            Some(url)
        }
        _ => {
            let what = "`audit_logging.output.endpoint` is no syslog over TLS";
            report.error(codes::WEAK_TRANSPORT, place, what).fix(FIX);
            None
        }
    }
}
