//! What a reload changes, for new connections and for open ones.

use std::sync::Arc;

use super::{Place, WEB, chain, client_config, connect, refusal, server};
use crate::dev::{Authority, Leaf, Validity};
use crate::watch::now_unix;
use crate::{Changed, Mutual, Peer, PeerError, Reason, ServerTls, Suite, TlsError, TlsSettings};

#[test]
fn an_open_peer_falls_with_its_ca() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    let peer = Peer::new(&tls, chain(&client), now_unix()).unwrap();
    let before = tls.trust_epoch();
    place.write("ca.pem", Authority::generate().unwrap().certificate());
    let changed = tls.reload().unwrap();
    assert!(changed.ca && changed.trust() && !changed.server_certificate);
    assert_eq!(changed.parts(), ["ca"]);
    assert!(tls.trust_epoch() > before);
    assert_eq!(
        peer.verified(&tls, now_unix()).unwrap_err(),
        PeerError::UnknownCa
    );
    assert_eq!(
        refusal(&place, &tls, Some(&client)),
        Some(Reason::UnknownCa)
    );
}

#[test]
fn an_open_peer_falls_with_its_revocation_and_its_expiry() {
    let place = Place::new();
    let client = place.client(&Leaf::client(WEB).valid(Validity::Seconds(60)));
    place.write("crl.pem", &place.ca.revoke(&[], Validity::Now).unwrap());
    let tls = ServerTls::load(place.with_crl()).unwrap();
    let peer = Peer::new(&tls, chain(&client), now_unix()).unwrap();
    let end = peer.verified(&tls, now_unix()).unwrap().not_after_unix;
    assert_eq!(
        peer.verified(&tls, end + 1).unwrap_err(),
        PeerError::Expired
    );
    place.write(
        "crl.pem",
        &place.ca.revoke(&[&client.serial], Validity::Now).unwrap(),
    );
    assert!(tls.reload().unwrap().crl);
    assert_eq!(
        peer.verified(&tls, now_unix()).unwrap_err(),
        PeerError::Revoked
    );
}

#[test]
fn a_ca_past_its_end_is_trusted_no_longer() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    let end = tls.expiries().ca.unwrap();
    // The leaf is expired by then too; the CA is what is looked at first.
    assert_eq!(
        tls.recheck(&chain(&client), end + 1),
        Err(PeerError::UnknownCa)
    );
}

#[test]
fn narrower_names_reach_open_peers() {
    let place = Place::new();
    let tls = place.tls();
    let peer = Peer::new(&tls, chain(&place.client(&Leaf::client(WEB))), now_unix()).unwrap();
    let names = vec!["agent.healthcare.example.com".to_owned()];
    let new = TlsSettings {
        allowed_dns_names: names,
        ..place.settings()
    };
    assert_eq!(tls.reload_with(new).unwrap().parts(), ["allowed_dns_names"]);
    assert_eq!(
        peer.verified(&tls, now_unix()).unwrap_err(),
        PeerError::WrongName
    );
}

#[test]
fn suites_and_mode_need_a_restart() {
    let place = Place::new();
    let tls = place.tls();
    let off = TlsSettings {
        mutual: Mutual::Off,
        ..place.settings()
    };
    assert!(matches!(
        tls.reload_with(off),
        Err(TlsError::NeedsRestart(_))
    ));
    let few = TlsSettings {
        suites: vec![Suite::Aes128GcmSha256],
        ..place.settings()
    };
    assert!(matches!(
        tls.reload_with(few),
        Err(TlsError::NeedsRestart(_))
    ));
}

#[test]
fn a_bad_file_changes_nothing() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    let (epoch, expiries) = (tls.trust_epoch(), tls.expiries());
    // A new certificate that is good, and a CA file that is not: neither is taken.
    place.serve(&place.ca.issue(&server(Validity::Seconds(5))).unwrap());
    place.write(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n",
    );
    assert!(tls.reload().is_err());
    assert_eq!((tls.trust_epoch(), tls.expiries()), (epoch, expiries));
    assert_eq!(refusal(&place, &tls, Some(&client)), None);
}

#[test]
fn a_renewed_certificate_is_served_without_touching_trust() {
    let place = Place::new();
    let tls = place.tls();
    assert_eq!(tls.reload().unwrap(), Changed::default());
    let client = place.client(&Leaf::client(WEB));
    let renewed = place.ca.issue(&server(Validity::Now)).unwrap();
    place.serve(&renewed);
    let epoch = tls.trust_epoch();
    assert_eq!(tls.reload().unwrap().parts(), ["server_certificate"]);
    assert_eq!(tls.trust_epoch(), epoch);
    let config = Arc::new(client_config(&place, Some(&client), &Suite::ALL));
    let (done, _) = connect(&tls, config).unwrap();
    assert_eq!(done.peer_certificates().unwrap(), chain(&renewed));
}
