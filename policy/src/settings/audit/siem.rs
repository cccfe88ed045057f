//! `audit_logging.output[type: siem]`: where the collector listens and how we prove who we are.

use crate::document::Environment;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::secret::Secret;
use crate::settings::SwitchedOff;
use crate::settings::transport::{Url, is_loopback_name, split_url};
use crate::settings::types::{Output, Siem, SiemHec, SiemHttp, SiemProtocol};

/// The registered port of syslog over TLS (RFC 5425 §4.1).
const PORT: u16 = 6514;

/// What an event in another's words has room in, in bytes: what RFC 5425 §4.3.1 asks of collectors as well.
const RENDERED_BYTES_MIN: usize = 8192;

/// What is read of an event by default, in bytes: of syslog what every collector of RFC 5425 should take.
const MESSAGE_BYTES: usize = 8192;
/// The same for those that HTTP reaches: all but a few events whole, with the record in them.
const MESSAGE_BYTES_OF_HTTP: usize = 65_536;
/// A request by default, in bytes: what Splunk's own clients send at most, and far below the 20 MiB of OpenTelemetry's collector.
const REQUEST_BYTES: usize = 1_048_576;
/// Where OTLP and the event collector are, behind the base: an endpoint may be written with it.
const OTLP_PATHS: &[&str] = &["/v1/logs"];
const HEC_PATHS: &[&str] = &["/services/collector/event", "/services/collector"];
/// Keys that only some protocols have.
const KEYS_OF: [(&str, &[&str]); 6] = [
    ("token", &["otlp", "hec"]),
    ("request_bytes_max", &["otlp", "hec"]),
    ("source", &["hec"]),
    ("sourcetype", &["hec"]),
    ("index", &["hec"]),
    ("acknowledge", &["hec"]),
];

pub(super) fn siem(
    section: Section<'_>,
    env: &dyn Environment,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Output> {
    let _ = section.text("type");
    let from = |key: &'static str, variable: &str| {
        let variable = || env.var(variable).filter(|v| !v.is_empty());
        section.owned(key).or_else(variable)
    };
    let word = section.text("protocol")?;
    foreign_keys(section, word, report);
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
    let by_default = match word {
        "syslog" => MESSAGE_BYTES,
        _ => MESSAGE_BYTES_OF_HTTP,
    };
    let message_bytes_max = number_or(section, "message_bytes_max", by_default)?;
    if format != "native" && message_bytes_max < RENDERED_BYTES_MIN {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("message_bytes_max"),
                "`audit_logging.output.message_bytes_max` is too little for events in the formats of others",
            )
            .fix("write 8192 or more, or format: native");
    }
    let token = from("token", "SAFEGUARD_SIEM_TOKEN");
    let protocol = match word {
        "otlp" => SiemProtocol::Otlp(http(section, OTLP_PATHS, token, off, report)?),
        "hec" => {
            if token.is_none() && section.entry_of("token").is_none() {
                let what = "the sink siem has no token for its HTTP event collector";
                report
                    .warning(codes::SINK_CREDENTIAL, section.place_of("protocol"), what)
                    .fix(
                        "set SAFEGUARD_SIEM_TOKEN, or write token: ${file:/run/secrets/hec-token}",
                    );
            }
            let collector = http(section, HEC_PATHS, token, off, report)?;
            SiemProtocol::Hec(collector, hec(section))
        }
        _ => {
            let url = endpoint(section, report)?;
            SiemProtocol::Syslog {
                host: url.host.to_owned(),
                port: url.port.unwrap_or(PORT),
            }
        }
    };
    Some(Output::Siem(Siem {
        protocol,
        format,
        message_bytes_max,
        ca_file: from("ca_file", "SAFEGUARD_SIEM_CA").map(Into::into),
        cert_file: cert_file.map(Into::into),
        key_file: key_file.map(Into::into),
    }))
}

fn number_or(section: Section<'_>, key: &'static str, by_default: usize) -> Option<usize> {
    match section.entry_of(key) {
        Some(_) => section.number(key),
        None => Some(by_default),
    }
}

/// A key that the protocol has no use for was meant for something.
fn foreign_keys(section: Section<'_>, protocol: &str, report: &mut Report<'_>) {
    for (key, protocols) in KEYS_OF {
        if section.entry_of(key).is_some() && !protocols.contains(&protocol) {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of(key),
                    format!("`audit_logging.output.{key}` has no meaning with protocol {protocol}"),
                )
                .fix(format!(
                    "remove it, or write protocol: {}",
                    protocols.join(" or ")
                ));
        }
    }
}

fn hec(section: Section<'_>) -> SiemHec {
    let or = |key: &'static str, by_default: &str| {
        section.owned(key).unwrap_or_else(|| by_default.to_owned())
    };
    SiemHec {
        source: or("source", "safeguard"),
        sourcetype: or("sourcetype", "safeguard:audit"),
        index: section.owned("index"),
        acknowledge: section.entry_of("acknowledge").is_some() && section.flag("acknowledge"),
    }
}

/// Where an HTTP collector is, and by which credential.
fn http(
    section: Section<'_>,
    paths: &[&str],
    token: Option<String>,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<SiemHttp> {
    const FIX: &str = "write it as https://siem.example.com:8088";
    let place = section.place_of("endpoint");
    let text = section.text("endpoint")?;
    let Some(url) = split_url(text).filter(|url| url.path.bytes().all(is_of_path)) else {
        let what = "`audit_logging.output.endpoint` is no URL";
        report.error(codes::BAD_VALUE, place, what).fix(FIX);
        return None;
    };
    match (url.scheme, is_loopback_name(url.host)) {
        ("https", _) => {}
        ("http", true) => off.note(place, "TLS to the log collector is switched off"),
        _ => {
            let what = "`audit_logging.output.endpoint` is not https";
            report.error(codes::WEAK_TRANSPORT, place, what).fix(FIX);
            return None;
        }
    }
    if let Some(token) = &token
        && !token.bytes().all(|letter| letter.is_ascii_graphic())
    {
        let what = "the token of the sink siem can't stand in a header";
        report
            .error(codes::BAD_VALUE, section.place_of("token"), what)
            .fix("give it without spaces, line breaks and letters beyond ASCII");
        return None;
    }
    let base = text.trim_end_matches('/');
    let base = paths
        .iter()
        .find_map(|path| base.strip_suffix(path))
        .unwrap_or(base);
    Some(SiemHttp {
        base: base.to_owned(),
        token: token.map(Secret::new),
        request_bytes_max: number_or(section, "request_bytes_max", REQUEST_BYTES)?,
    })
}

/// What a path may hold as it is (RFC 3986 §3.3), without percent signs.
fn is_of_path(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || b"/-._~".contains(&letter)
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
