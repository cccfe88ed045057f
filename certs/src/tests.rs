//! Handshakes in memory against [`ServerTls`], with certificates from the development CA.

mod client;
mod material;
mod reload;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore,
    ServerConnection,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::dev::{Authority, Issued, Leaf, Role, Validity};
use crate::watch::now_unix;
use crate::{
    KeyPermissions, Mutual, Peer, PeerError, Reason, ServerTls, Suite, TlsError, TlsSettings,
    classify, provider,
};

const WEB: &str = "web.healthcare.example.com";

/// A directory with a server's material, and the CA that made it.
struct Place {
    dir: TempDir,
    ca: Authority,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            ca: Authority::generate().unwrap(),
        };
        place.write("ca.pem", place.ca.certificate());
        place.serve(&place.ca.issue(&server(Validity::Now)).unwrap());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn serve(&self, issued: &Issued) {
        self.write("server.pem", &issued.certificate);
        self.write("server.key", issued.key());
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            cert_file: self.path("server.pem"),
            key_file: self.path("server.key"),
            ca_file: Some(self.path("ca.pem")),
            crl_file: None,
            suites: Suite::ALL.to_vec(),
            mutual: Mutual::Required,
            allowed_dns_names: vec!["*.healthcare.example.com".to_owned()],
            key_permissions: KeyPermissions::Enforce,
        }
    }

    fn with_crl(&self) -> TlsSettings {
        TlsSettings {
            crl_file: Some(self.path("crl.pem")),
            ..self.settings()
        }
    }

    fn tls(&self) -> ServerTls {
        ServerTls::load(self.settings()).unwrap()
    }

    fn client(&self, leaf: &Leaf) -> Issued {
        self.ca.issue(leaf).unwrap()
    }

    fn load_error(&self) -> String {
        ServerTls::load(self.settings()).unwrap_err().to_string()
    }
}

fn server(validity: Validity) -> Leaf {
    Leaf::server(&["mcp.example.com".to_owned()]).valid(validity)
}

fn chain(issued: &Issued) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()]
}

/// A client that trusts every CA of `place`, with or without a certificate.
fn client_config(place: &Place, show: Option<&Issued>, suites: &[Suite]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(place.ca.certificate().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider(suites).unwrap()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    match show {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::from_pem_slice(issued.key().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain(issued), key).unwrap()
        }
    }
}

/// Carries bytes between the two until neither has more to say. The server's error is returned.
fn connect(
    tls: &ServerTls,
    client: Arc<ClientConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(tls.server_config()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().expect("the server is trusted");
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// Connects with `show`; says why it was refused.
fn refusal(place: &Place, tls: &ServerTls, show: Option<&Issued>) -> Option<Reason> {
    let config = Arc::new(client_config(place, show, &Suite::ALL));
    connect(tls, config).err().map(|error| classify(&error))
}

#[test]
fn a_good_client_is_let_in_and_named() {
    let place = Place::new();
    let tls = place.tls();
    let mut leaf = Leaf::client(WEB);
    leaf.uri_names.push("spiffe://example.com/web".to_owned());
    let client = place.client(&leaf);
    let config = Arc::new(client_config(&place, Some(&client), &Suite::ALL));
    let (_, server) = connect(&tls, config).unwrap();
    let shown = server.peer_certificates().unwrap();
    let identity = tls.recheck(shown, now_unix()).unwrap();
    assert_eq!(identity.name, WEB);
    assert_eq!(identity.dns_names, [WEB]);
    assert_eq!(identity.uri_names, ["spiffe://example.com/web"]);
    assert_eq!(identity.subject, format!("CN={WEB}"));
    assert_eq!(identity.serial, client.serial);
    assert_eq!(identity.x5t_s256.len(), 43);
    assert_eq!(identity.trust_epoch, tls.trust_epoch());
    assert_eq!(identity.recheck_after_unix, identity.not_after_unix);
    assert_eq!(tls.identify(shown).unwrap().trust_epoch, 0);
}

#[test]
fn whoever_is_not_trusted_is_refused_with_the_reason() {
    let place = Place::new();
    let tls = place.tls();
    let foreign = Authority::generate()
        .unwrap()
        .issue(&Leaf::client(WEB))
        .unwrap();
    let expired = place.client(&Leaf::client(WEB).valid(Validity::Expired));
    let early = place.client(&Leaf::client(WEB).valid(Validity::Future));
    let other = place.client(&Leaf::client("web.example.org"));
    let deep = place.client(&Leaf::client("a.web.healthcare.example.com"));
    let nameless = place.client(&Leaf {
        dns_names: Vec::new(),
        ..Leaf::client(WEB)
    });
    let usage = place.client(&Leaf {
        role: Role::Server,
        ..Leaf::client(WEB)
    });
    for (show, reason) in [
        (None, Reason::NoCertificate),
        (Some(&foreign), Reason::UnknownCa),
        (Some(&expired), Reason::Expired),
        (Some(&early), Reason::NotYetValid),
        (Some(&other), Reason::WrongName),
        (Some(&deep), Reason::WrongName),
        (Some(&nameless), Reason::WrongName),
        (Some(&usage), Reason::WrongUsage),
    ] {
        assert_eq!(refusal(&place, &tls, show), Some(reason));
    }
}

#[test]
fn a_client_of_tls_1_2_is_refused() {
    let place = Place::new();
    let client = place.client(&Leaf::client(WEB));
    let mut config = client_config(&place, Some(&client), &Suite::ALL);
    let roots = RootCertStore::empty();
    let old = rustls::crypto::aws_lc_rs::default_provider();
    config = ClientConfig::builder_with_provider(Arc::new(old))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&config.client_auth_cert_resolver));
    let error = connect(&place.tls(), Arc::new(config)).unwrap_err();
    assert_eq!(classify(&error), Reason::TlsVersion, "{error:?}");
}

#[test]
fn plain_http_is_called_so() {
    let mut server = ServerConnection::new(Place::new().tls().server_config()).unwrap();
    server
        .read_tls(&mut b"GET / HTTP/1.1\r\n\r\n".as_slice())
        .unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(classify(&error), Reason::NotTls, "{error:?}");
}

#[test]
fn the_servers_order_of_suites_decides() {
    let place = Place::new();
    let client = place.client(&Leaf::client(WEB));
    let suites = [Suite::Aes256GcmSha384, Suite::Aes128GcmSha256];
    let tls = ServerTls::load(TlsSettings {
        suites: suites.to_vec(),
        ..place.settings()
    })
    .unwrap();
    let wishes = [
        Suite::Chacha20Poly1305Sha256,
        Suite::Aes128GcmSha256,
        Suite::Aes256GcmSha384,
    ];
    let config = Arc::new(client_config(&place, Some(&client), &wishes));
    let (client, _) = connect(&tls, config).unwrap();
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
}

#[test]
fn a_suite_that_is_not_configured_is_not_negotiated() {
    let place = Place::new();
    let suites = vec![Suite::Aes256GcmSha384];
    let tls = ServerTls::load(TlsSettings {
        suites,
        ..place.settings()
    })
    .unwrap();
    let config = Arc::new(client_config(
        &place,
        None,
        &[Suite::Chacha20Poly1305Sha256],
    ));
    let error = connect(&tls, config).unwrap_err();
    assert_eq!(classify(&error), Reason::NoCommonSuite, "{error:?}");
}

#[test]
fn post_quantum_key_exchange_is_preferred_and_p_384_still_works() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    let full = provider(&Suite::ALL).unwrap().kx_groups;
    for group in full {
        let mut narrow = provider(&Suite::ALL).unwrap();
        narrow.kx_groups.retain(|g| g.name() == group.name());
        let roots = client_config(&place, Some(&client), &Suite::ALL);
        let mut store = RootCertStore::empty();
        store
            .add(CertificateDer::from_pem_slice(place.ca.certificate().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(narrow))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(store)
            .with_client_cert_resolver(roots.client_auth_cert_resolver);
        let (done, _) = connect(&tls, Arc::new(config)).unwrap();
        assert_eq!(
            done.negotiated_key_exchange_group().unwrap().name(),
            group.name()
        );
    }
    let config = Arc::new(client_config(&place, Some(&client), &Suite::ALL));
    let (done, _) = connect(&tls, config).unwrap();
    let group = done.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn http_2_is_preferred_and_http_1_1_taken() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    for (offered, expected) in [
        (vec!["http/1.1", "h2"], "h2"),
        (vec!["http/1.1"], "http/1.1"),
    ] {
        let mut config = client_config(&place, Some(&client), &Suite::ALL);
        config.alpn_protocols = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
        let (done, _) = connect(&tls, Arc::new(config)).unwrap();
        assert_eq!(done.alpn_protocol(), Some(expected.as_bytes()));
    }
    let mut config = client_config(&place, Some(&client), &Suite::ALL);
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let error = connect(&tls, Arc::new(config)).unwrap_err();
    assert_eq!(classify(&error), Reason::NoCommonProtocol);
}

#[test]
fn no_ticket_is_issued_so_nothing_is_resumed() {
    let place = Place::new();
    let tls = place.tls();
    let client = place.client(&Leaf::client(WEB));
    let mut config = client_config(&place, Some(&client), &Suite::ALL);
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..3 {
        let (mut done, server) = connect(&tls, Arc::clone(&config)).unwrap();
        assert_eq!(done.tls13_tickets_received(), 0);
        assert_ne!(done.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_ne!(server.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(done.early_data().is_none());
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_another_is_not() {
    let place = Place::new();
    let (good, bad) = (
        place.client(&Leaf::client(WEB)),
        place.client(&Leaf::client(WEB)),
    );
    place.write(
        "crl.pem",
        &place.ca.revoke(&[&bad.serial], Validity::Now).unwrap(),
    );
    let tls = ServerTls::load(place.with_crl()).unwrap();
    assert_eq!(refusal(&place, &tls, Some(&good)), None);
    assert_eq!(refusal(&place, &tls, Some(&bad)), Some(Reason::Revoked));
    assert_eq!(
        tls.recheck(&chain(&bad), now_unix()),
        Err(PeerError::Revoked)
    );
}

#[test]
fn a_list_past_its_end_counts_for_nothing() {
    let place = Place::new();
    let client = place.client(&Leaf::client(WEB));
    place.write("crl.pem", &place.ca.revoke(&[], Validity::Expired).unwrap());
    let error = ServerTls::load(place.with_crl()).unwrap_err().to_string();
    assert!(
        error.contains("crl.pem") && error.contains("renew"),
        "{error}"
    );
    // One that is good at the start ends while a connection is open.
    place.write("crl.pem", &place.ca.revoke(&[], Validity::Now).unwrap());
    let tls = ServerTls::load(place.with_crl()).unwrap();
    let end = tls.expiries().crl.unwrap();
    let peer = Peer::new(&tls, chain(&client), now_unix()).unwrap();
    assert_eq!(
        peer.verified(&tls, now_unix()).unwrap().recheck_after_unix,
        end
    );
    assert_eq!(
        peer.verified(&tls, end + 1).unwrap_err(),
        PeerError::CrlExpired
    );
}

#[test]
fn a_ca_without_a_list_is_warned_of_and_its_clients_refused() {
    let place = Place::new();
    let second = Authority::generate().unwrap();
    place.write(
        "ca.pem",
        &format!("{}{}", place.ca.certificate(), second.certificate()),
    );
    place.write("crl.pem", &place.ca.revoke(&[], Validity::Now).unwrap());
    let tls = ServerTls::load(place.with_crl()).unwrap();
    assert_eq!(tls.warnings().len(), 1);
    let client = second.issue(&Leaf::client(WEB)).unwrap();
    assert_eq!(
        refusal(&place, &tls, Some(&client)),
        Some(Reason::RevocationUnknown)
    );
}

#[test]
fn an_optional_certificate_is_still_judged() {
    let place = Place::new();
    let settings = TlsSettings {
        mutual: Mutual::Optional,
        ..place.settings()
    };
    let tls = ServerTls::load(settings).unwrap();
    let other = place.client(&Leaf::client("web.example.org"));
    assert_eq!(refusal(&place, &tls, None), None);
    assert_eq!(refusal(&place, &tls, Some(&other)), Some(Reason::WrongName));
}

#[test]
fn where_certificates_are_accepted_a_bad_one_is_refused_and_none_is_needed() {
    let place = Place::new();
    let settings = TlsSettings {
        mutual: Mutual::Accepted,
        ..place.settings()
    };
    let tls = ServerTls::load(settings).unwrap();
    let other = place.client(&Leaf::client("web.example.org"));
    assert_eq!(refusal(&place, &tls, None), None);
    assert_eq!(refusal(&place, &tls, Some(&other)), Some(Reason::WrongName));
    assert!(!tls.needs_certificates());
}

#[test]
fn without_client_certificates_nobody_is_named() {
    let place = Place::new();
    let settings = TlsSettings {
        mutual: Mutual::Off,
        ca_file: None,
        ..place.settings()
    };
    let tls = ServerTls::load(settings).unwrap();
    let client = place.client(&Leaf::client(WEB));
    assert_eq!(refusal(&place, &tls, None), None);
    assert_eq!(
        tls.recheck(&chain(&client), now_unix()),
        Err(PeerError::NoCertificate)
    );
    assert_eq!(tls.files().len(), 2);
}
