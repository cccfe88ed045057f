//! The client's side: whom it believes, what it shows, and the swap of both.

use super::*;
use crate::{ClientTls, ClientTlsSettings};

fn settings(place: &Place) -> ClientTlsSettings {
    ClientTlsSettings {
        ca_file: place.path("ca.pem"),
        identity: Some((place.path("client.pem"), place.path("client.key"))),
        suites: Suite::ALL.to_vec(),
        key_permissions: KeyPermissions::Enforce,
    }
}

fn with_client(place: &Place) -> ClientTls {
    show(place, &place.client(&Leaf::client(WEB)));
    ClientTls::load(settings(place)).unwrap()
}

fn show(place: &Place, issued: &Issued) {
    place.write("client.pem", &issued.certificate);
    place.write("client.key", issued.key());
}

#[test]
fn another_certificate_is_shown_after_a_reload_and_equal_files_are_no_news() {
    let place = Place::new();
    let tls = with_client(&place);
    assert!(!tls.reload().unwrap());
    let before = tls.client_config();
    show(&place, &place.client(&Leaf::client(WEB)));
    assert!(tls.reload().unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.client_config()));
}

#[test]
fn a_bad_reload_keeps_what_was_in_use() {
    let place = Place::new();
    let tls = with_client(&place);
    let before = tls.client_config();
    let other = place.client(&Leaf::client(WEB));
    place.write("client.pem", &other.certificate);
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    assert!(
        error.to_string().starts_with("upstream.tls.key: "),
        "{error}"
    );
    assert!(Arc::ptr_eq(&before, &tls.client_config()));
}

#[test]
fn a_key_that_others_may_read_and_an_authority_that_is_none_are_refused() {
    let place = Place::new();
    show(&place, &place.client(&Leaf::client(WEB)));
    fs::set_permissions(place.path("client.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = ClientTls::load(settings(&place)).unwrap_err().to_string();
    assert!(error.starts_with("upstream.tls.key: "), "{error}");
    let leaf = place.client(&Leaf::client(WEB));
    place.write("ca.pem", &leaf.certificate);
    let error = ClientTls::load(settings(&place)).unwrap_err().to_string();
    assert!(error.contains("of no CA"), "{error}");
}
