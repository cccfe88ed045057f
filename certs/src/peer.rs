//! The peer of one open connection, verified again as often as trust or time asks for it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;

use crate::identity::PeerIdentity;
use crate::reason::PeerError;
use crate::server::ServerTls;

/// A connection's certificate chain and what was last found of it.
///
/// One is made a connection, and [`Peer::verified`] asked a request: two comparisons as long as
/// neither the trust epoch moved nor a date passed, a verification otherwise.
#[derive(Debug)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    last: ArcSwap<PeerIdentity>,
}

impl Peer {
    /// Takes the chain that a handshake brought, leaf first, and verifies it under the trust of
    /// now: between the handshake's check and this one a reload may have come.
    ///
    /// # Errors
    /// As [`ServerTls::recheck`].
    pub fn new(
        tls: &ServerTls,
        chain: Vec<CertificateDer<'static>>,
        now_unix: i64,
    ) -> Result<Peer, PeerError> {
        let identity = tls.recheck(&chain, now_unix)?;
        Ok(Peer {
            chain,
            last: ArcSwap::from_pointee(identity),
        })
    }

    /// Who it is, if that still holds at `now_unix` (seconds since 1970).
    ///
    /// # Errors
    /// Why the peer is no longer trusted. A later call judges anew.
    pub fn verified(&self, tls: &ServerTls, now_unix: i64) -> Result<Arc<PeerIdentity>, PeerError> {
        let last = self.last.load_full();
        if last.trust_epoch == tls.trust_epoch() && now_unix < last.recheck_after_unix {
            return Ok(last);
        }
        let identity = Arc::new(tls.recheck(&self.chain, now_unix)?);
        self.last.store(Arc::clone(&identity));
        Ok(identity)
    }
}
