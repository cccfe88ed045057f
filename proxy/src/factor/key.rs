//! Passkeys and security keys (WebAuthn level 3) as a second factor: the two ceremonies, and what is kept of a key.
//!
//! The state of a ceremony stays here, with its challenge; the browser gets what the standard's JSON forms say. No
//! attestation is asked for: what proves the key is the invitation that it was enrolled by. A key is `hwk` where it says
//! that it can't leave its device, and `swk` where it may be copied (backup eligibility, §6.1.3).

use std::convert::Infallible;
use std::fmt;

use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::{
    AllowedCredential, AllowedCredentials, AuthenticationVerificationOptions,
    CredentialSpecificExtension, NonDiscoverableCredentialRequestOptions,
};
use webauthn_rp::request::register::{
    CoseAlgorithmIdentifiers, Nickname, PublicKeyCredentialCreationOptions,
    PublicKeyCredentialUserEntity, RegistrationVerificationOptions, UserHandle, Username,
};
use webauthn_rp::request::{AsciiDomain, Credentials as _, PublicKeyCredentialDescriptor, RpId};
use webauthn_rp::response::auth::NonDiscoverableAuthentication;
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, Backup, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, NonDiscoverableAuthenticationServerState, Registration,
    RegistrationServerState,
};

use super::proofs::Method;

/// Bytes of the handle that names a person to its keys: random, so that it tells nothing.
pub const HANDLE_BYTES: usize = 16;

/// The handle.
pub type Handle = [u8; HANDLE_BYTES];

/// Where keys are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The origin of the page.
    pub origin: String,
    /// Its host: the RP ID.
    pub host: String,
}

/// A key as it is kept: nothing of it is secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    id: String,
    /// The public key and what its extensions said, as `webauthn_rp` writes them.
    fixed: String,
    /// Its flags and counter of signatures, the same way.
    moving: String,
    /// How browsers reach it, the same way.
    transports: u8,
    /// Unix seconds.
    pub enrolled_at: i64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A ceremony that was begun. It serves once.
#[derive(Debug)]
pub enum Ceremony {
    /// A key is being enrolled.
    Create(RegistrationServerState<HANDLE_BYTES>),
    /// A key is being used.
    Get(NonDiscoverableAuthenticationServerState),
}

impl Site {
    fn rp(&self) -> Option<RpId> {
        AsciiDomain::try_from(self.host.clone())
            .ok()
            .map(RpId::Domain)
    }

    /// Begins the enrolment of a key beside those that a person has; with what the browser is told.
    pub fn create(&self, name: &str, handle: Handle, has: &[Key]) -> Option<(Ceremony, String)> {
        let rp = self.rp()?;
        let handle: UserHandle<HANDLE_BYTES> = Decode::decode(handle).ok()?;
        let shown = Username::try_from(name).or_else(|_| Username::try_from("person"));
        let user = PublicKeyCredentialUserEntity {
            name: shown.ok()?,
            id: &handle,
            display_name: None::<Nickname<'_>>,
        };
        let known = has.iter().filter_map(Key::descriptor).collect();
        let mut options = PublicKeyCredentialCreationOptions::second_factor(&rp, user, known);
        options.pub_key_cred_params = CoseAlgorithmIdentifiers::default();
        let (state, told) = options.start_ceremony().ok()?;
        let told = serde_json::to_string(&told).ok()?;
        Some((Ceremony::Create(state), told))
    }

    /// The key that the browser made; none where the answer is not one to the ceremony.
    pub fn created(&self, ceremony: Ceremony, answer: &[u8], now_unix: i64) -> Option<Key> {
        let Ceremony::Create(state) = ceremony else {
            return None;
        };
        let answer = Registration::from_json_relaxed(answer).ok()?;
        let origins = [self.origin.as_str()];
        let options = RegistrationVerificationOptions::<'_, '_, &str, &str> {
            allowed_origins: &origins,
            ..RegistrationVerificationOptions::default()
        };
        let made = state.verify(&self.rp()?, &answer, &options).ok()?;
        Some(Key {
            id: text(made.id().as_ref()),
            fixed: text(&infallible(made.static_state().encode())),
            moving: text(&infallible(made.dynamic_state().encode())),
            transports: infallible(made.transports().encode()),
            enrolled_at: now_unix,
        })
    }

    /// Begins a proof by any of these keys; none where there are none.
    pub fn get(&self, keys: &[Key]) -> Option<(Ceremony, String)> {
        let rp = self.rp()?;
        let mut allowed = AllowedCredentials::with_capacity(keys.len());
        for credential in keys.iter().filter_map(Key::descriptor) {
            allowed.push(AllowedCredential {
                credential,
                extension: CredentialSpecificExtension { prf: None },
            });
        }
        let options = NonDiscoverableCredentialRequestOptions::second_factor(&rp, allowed);
        let (state, told) = options.ok()?.start_ceremony().ok()?;
        let told = serde_json::to_string(&told).ok()?;
        Some((Ceremony::Get(state), told))
    }

    /// What a proof by one of these keys proves, with the key's counter moved on; none where it proves nothing.
    pub fn got(
        &self,
        ceremony: Ceremony,
        answer: &[u8],
        handle: Handle,
        keys: &mut [Key],
    ) -> Option<Method> {
        let Ceremony::Get(state) = ceremony else {
            return None;
        };
        type Answer = NonDiscoverableAuthentication<HANDLE_BYTES>;
        let answer = Answer::from_json_relaxed(answer).ok()?;
        let id = text(answer.raw_id().as_ref());
        let key = keys.iter_mut().find(|key| key.id == id)?;
        let handle: UserHandle<HANDLE_BYTES> = Decode::decode(handle).ok()?;
        let moving: [u8; 7] = bytes(&key.moving)?.try_into().ok()?;
        let mut credential = AuthenticatedCredential::new(
            answer.raw_id(),
            &handle,
            StaticState::<Public>::decode(&bytes(&key.fixed)?).ok()?,
            DynamicState::decode(moving).ok()?,
        )
        .ok()?;
        let origins = [self.origin.as_str()];
        let options = AuthenticationVerificationOptions::<'_, '_, &str, &str> {
            allowed_origins: &origins,
            ..AuthenticationVerificationOptions::default()
        };
        let verified = state.verify(&self.rp()?, &answer, &mut credential, &options);
        verified.ok()?;
        let now = credential.dynamic_state();
        key.moving = text(&infallible(now.encode()));
        Some(match now.backup {
            Backup::NotEligible => Method::Bound,
            Backup::Eligible | Backup::Exists => Method::Copied,
        })
    }
}

type Public = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

impl Key {
    fn descriptor(&self) -> Option<PublicKeyCredentialDescriptor<Vec<u8>>> {
        Some(PublicKeyCredentialDescriptor {
            id: CredentialId::<Vec<u8>>::decode(bytes(&self.id)?).ok()?,
            transports: AuthTransports::decode(self.transports).ok()?,
        })
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

fn infallible<T>(made: Result<T, Infallible>) -> T {
    match made {
        Ok(made) => made,
        Err(never) => match never {},
    }
}
