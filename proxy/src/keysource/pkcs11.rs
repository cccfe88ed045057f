//! Keys wrapped under an AES key in a hardware security module, through its PKCS#11 library (OASIS PKCS#11 v3.1).
//!
//! A wrapped key is `IV 12 ‖ ciphertext 32 ‖ tag 16` of AES-256-GCM (CKM_AES_GCM, §6.13.2) with a fixed text as associated
//! data, decrypted inside the module. The library is the vendor's own code in this process and can't be interrupted: calls
//! run on a thread of their own, one at a time, and are no longer waited for after a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use safeguard_policy::{Pkcs11, SourceText};
use safeguard_vault::{KEY_BYTES, KeyMaterial, decode_base64, random_key};
use zeroize::Zeroizing;

use super::{KeySource, SourceError};

/// How long one call of the library is waited for.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(10);
const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
const WRAPPED_BYTES: usize = IV_BYTES + KEY_BYTES + 16;
/// What a wrapped key is bound to: nothing else that this key sealed opens as one.
const ASSOCIATED: &[u8] = b"safeguard pkcs11 key 1";

/// The libraries that are loaded. PKCS#11 has one state a process and library, so they outlive their settings; the lock
/// keeps a second call from waiting behind one that hangs.
static MODULES: Mutex<Vec<(PathBuf, Module)>> = Mutex::new(Vec::new());

/// The source.
pub(super) struct Pkcs11Source {
    settings: Arc<Pkcs11>,
    /// The PIN was wrong: trying it again would lock the token.
    pin_refused: Arc<AtomicBool>,
}

impl Pkcs11Source {
    pub(super) fn new(settings: &Arc<Pkcs11>) -> Self {
        Self {
            settings: Arc::clone(settings),
            pin_refused: Arc::default(),
        }
    }

    /// Runs a call of the library on a thread of its own: not on the runtime's, whose end waits for its threads.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Session, ObjectHandle) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let settings = Arc::clone(&self.settings);
        let pin_refused = Arc::clone(&self.pin_refused);
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("pkcs11".to_owned())
            .spawn(move || {
                // Nobody listens any more if it took too long.
                let _late = answer.send(alone(&settings, &pin_refused, work));
            })
            .map_err(|_| SourceError::Unavailable("the system gives no thread"))?;
        match tokio::time::timeout(ATTEMPT_DEADLINE, answered).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(SourceError::Unavailable("its call ended early")),
            Err(_) => Err(SourceError::Unavailable("it did not answer in time")),
        }
    }
}

/// One call at a time.
fn alone<T>(
    settings: &Pkcs11,
    pin_refused: &AtomicBool,
    work: impl FnOnce(&Session, ObjectHandle) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let mut modules = MODULES.try_lock().ok_or(SourceError::Unavailable(
        "an earlier call of it has not returned",
    ))?;
    let done = in_session(settings, pin_refused, &mut modules, work);
    if let Err(SourceError::Unavailable(_) | SourceError::Missing) = &done {
        forget(&settings.module, &mut modules);
    }
    done
}

/// A library that lost its token or never saw it looks again only when it begins anew.
fn forget(path: &PathBuf, modules: &mut Vec<(PathBuf, Module)>) {
    if let Some(place) = modules.iter().position(|(known, _)| known == path) {
        let (_, module) = modules.swap_remove(place);
        let kept = module.clone();
        if module.finalize().is_err() {
            // Its threads may still run: it must not be unloaded.
            modules.push((path.clone(), kept));
        }
    }
}

fn in_session<T>(
    settings: &Pkcs11,
    pin_refused: &AtomicBool,
    modules: &mut Vec<(PathBuf, Module)>,
    work: impl FnOnce(&Session, ObjectHandle) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    if pin_refused.load(Ordering::Acquire) {
        return Err(SourceError::Denied);
    }
    let pin = settings
        .pin
        .as_ref()
        .ok_or(SourceError::Credential("pin has no value"))?;
    let pin = AuthPin::new(pin.expose().to_owned().into_boxed_str());
    let module = module(settings, modules)?;
    let slots = module.get_slots_with_token().map_err(|e| fault(&e))?;
    let is_meant = |slot: &cryptoki::slot::Slot| {
        module
            .get_token_info(*slot)
            .is_ok_and(|info| info.label() == settings.token)
    };
    let slot = slots
        .into_iter()
        .find(is_meant)
        .ok_or(SourceError::Unavailable("it has no token with this label"))?;
    let session = module.open_ro_session(slot).map_err(|e| fault(&e))?;
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => {
            let error = fault(&error);
            pin_refused.store(error == SourceError::Denied, Ordering::Release);
            return Err(error);
        }
    }
    let key = wrapping_key(&session, &settings.key)?;
    work(&session, key)
}

fn module(settings: &Pkcs11, modules: &mut Vec<(PathBuf, Module)>) -> Result<Module, SourceError> {
    if let Some((_, module)) = modules.iter().find(|(path, _)| *path == settings.module) {
        return Ok(module.clone());
    }
    let module = Module::new(&settings.module)
        .map_err(|_| SourceError::Unavailable("its library can't be loaded"))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(_) => return Err(SourceError::Unavailable("its library does not begin")),
    }
    modules.push((settings.module.clone(), module.clone()));
    Ok(module)
}

fn wrapping_key(session: &Session, label: &str) -> Result<ObjectHandle, SourceError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&wanted).map_err(|e| fault(&e))?;
    match found.as_slice() {
        [key] => Ok(*key),
        [] => Err(SourceError::Missing),
        _ => Err(SourceError::Answer("several keys have this label")),
    }
}

fn fault(error: &Error) -> SourceError {
    match error {
        Error::Pkcs11(code, _) => match code {
            RvError::PinIncorrect
            | RvError::PinLocked
            | RvError::PinExpired
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::UserPinNotInitialized
            | RvError::KeyFunctionNotPermitted => SourceError::Denied,
            RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => SourceError::Refused,
            _ => SourceError::Unavailable("its library reports a failure"),
        },
        _ => SourceError::Unavailable("its library can't be called"),
    }
}

fn unwrap_key(
    session: &Session,
    key: ObjectHandle,
    wrapped: &[u8],
) -> Result<KeyMaterial, SourceError> {
    let (iv, sealed) = wrapped
        .split_first_chunk::<IV_BYTES>()
        .filter(|_| wrapped.len() == WRAPPED_BYTES)
        .ok_or(SourceError::Refused)?;
    let mut iv = *iv;
    let plain = session
        .decrypt(&gcm(&mut iv)?, key, sealed)
        .map(Zeroizing::new)
        .map_err(|error| match error {
            // What libraries say of a tag that does not fit differs.
            Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _) => {
                SourceError::Refused
            }
            other => fault(&other),
        })?;
    KeyMaterial::from_raw(&plain).map_err(|_| SourceError::NotAKey)
}

fn wrap_key(session: &Session, key: ObjectHandle) -> Result<String, SourceError> {
    let no_entropy = |_| SourceError::Unavailable("the system gives no random bytes");
    let new = random_key().map_err(no_entropy)?;
    let random = random_key().map_err(no_entropy)?;
    let mut iv = [0; IV_BYTES];
    iv.copy_from_slice(
        random
            .expose()
            .first_chunk::<IV_BYTES>()
            .unwrap_or(&[0; IV_BYTES]),
    );
    let sealed = session
        .encrypt(&gcm(&mut iv)?, key, new.expose())
        .map_err(|e| fault(&e))?;
    // A module that insists on an IV of its own has put it in place of ours.
    Ok(base64_simd::STANDARD.encode_to_string([iv.as_slice(), &sealed].concat()))
}

fn gcm(iv: &mut [u8; IV_BYTES]) -> Result<Mechanism<'_>, SourceError> {
    GcmParams::new(iv, ASSOCIATED, TAG_BITS.into())
        .map(Mechanism::AesGcm)
        .map_err(|_| SourceError::Unavailable("its library can't be called"))
}

#[async_trait]
impl KeySource for Pkcs11Source {
    async fn resolve(&self, text: &SourceText) -> Result<KeyMaterial, SourceError> {
        let wrapped = decode_base64(&text.text).map_err(|_| SourceError::Refused)?;
        self.call(move |session, key| unwrap_key(session, key, &wrapped))
            .await
    }

    async fn new_wrapped(&self) -> Result<String, SourceError> {
        self.call(wrap_key).await
    }
}
