//! Files and settings that are refused, and what the refusal says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustls_pki_types::pem::PemObject;

use super::{Place, server};
use crate::dev::Validity;
use crate::{KeyPermissions, ServerTls, TlsError, TlsSettings};

#[test]
fn settings_that_let_nobody_in_are_refused() {
    let place = Place::new();
    let nobody = TlsSettings {
        allowed_dns_names: Vec::new(),
        ..place.settings()
    };
    assert!(matches!(
        ServerTls::load(nobody),
        Err(TlsError::NoAllowedName)
    ));
    let no_ca = TlsSettings {
        ca_file: None,
        ..place.settings()
    };
    assert!(matches!(ServerTls::load(no_ca), Err(TlsError::NoCaFile)));
}

#[test]
fn bad_material_is_named_with_its_fix() {
    let place = Place::new();
    let own = place.ca.issue(&server(Validity::Now)).unwrap();
    let other = place.ca.issue(&server(Validity::Now)).unwrap();
    place.write("server.pem", &other.certificate);
    assert!(matches!(
        ServerTls::load(place.settings()),
        Err(TlsError::Mismatch { .. })
    ));
    place.serve(&place.ca.issue(&server(Validity::Expired)).unwrap());
    assert!(
        place.load_error().contains("server.pem expired at"),
        "{}",
        place.load_error()
    );
    place.serve(&own);
    place.write(
        "server.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(
        place.load_error().contains("not encrypted"),
        "{}",
        place.load_error()
    );
    fs::remove_file(place.path("server.key")).unwrap();
    assert!(
        place.load_error().contains("server.key"),
        "{}",
        place.load_error()
    );
    place.serve(&own);
    place.write("ca.pem", &own.certificate);
    assert!(
        place.load_error().contains("no CA certificate"),
        "{}",
        place.load_error()
    );
}

#[test]
fn a_key_that_others_may_read_is_refused_or_warned_of() {
    let place = Place::new();
    let key = place.path("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        place.load_error().contains("chmod 600"),
        "{}",
        place.load_error()
    );
    let settings = TlsSettings {
        key_permissions: KeyPermissions::Warn,
        ..place.settings()
    };
    let tls = ServerTls::load(settings).unwrap();
    assert_eq!(tls.warnings().len(), 1);
}

#[test]
fn a_list_that_the_ca_did_not_sign_is_refused() {
    let place = Place::new();
    let good = place.ca.revoke(&[], Validity::Now).unwrap();
    let der = rustls_pki_types::CertificateRevocationListDer::from_pem_slice(good.as_bytes());
    let mut der = der.unwrap().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let text = base64_simd::STANDARD.encode_to_string(&der);
    place.write(
        "crl.pem",
        &format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n"),
    );
    let error = ServerTls::load(place.with_crl()).unwrap_err().to_string();
    assert!(error.contains("signature"), "{error}");
}

#[test]
fn no_error_and_no_debug_holds_key_material() {
    let place = Place::new();
    let issued = place.ca.issue(&server(Validity::Now)).unwrap();
    let body: String = issued
        .key()
        .lines()
        .nth(1)
        .unwrap()
        .chars()
        .take(24)
        .collect();
    place.serve(&issued);
    let tls = place.tls();
    // A certificate's file that holds the key by mistake, and a broken key.
    place.write("server.pem", issued.key());
    let errors = [
        tls.reload().unwrap_err(),
        ServerTls::load(place.settings()).unwrap_err(),
    ];
    let text = format!("{tls:?} {errors:?} {}", place.load_error());
    assert!(
        !text.contains(&body) && !text.contains("PRIVATE KEY"),
        "{text}"
    );
    place.serve(&issued);
    place.write("server.key", &issued.key().replace('M', "N"));
    assert!(!place.load_error().contains(&body));
}
