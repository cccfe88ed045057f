//! The configuration as written, checked and compiled, and the pure decision.
//!
//! Everything here is a function of its arguments: text comes in as [`Source`]s, the environment through the
//! [`Environment`] trait, the clock as a number. Nothing opens a file or a socket, holds a key or waits.
//!
//! Reading order: `document` (YAML with the place of every value, merged, interpolated and held against the one
//! table of known keys), [`settings`] (the typed result), `compile` (cross checks, names resolved to numbers),
//! then [`principal`], [`action`], [`field`] (the facts the engine may see) and [`decide`](mod@decide).
//!
//! `load` reports *all* findings at once, each with file, line, column and what to do about it; a
//! [`Configuration`] exists only if none of them is an error.

pub mod action;
pub mod cases;
pub mod cel;
mod compile;
pub mod decide;
pub mod diff;
pub mod document;
pub mod emergency;
pub mod exceptions;
pub mod explain;
pub mod field;
pub mod finding;
pub mod guess;
mod load;
pub mod method;
pub mod names;
pub mod path;
mod phi;
pub mod place;
pub mod policy;
pub mod principal;
pub mod render;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod template;
pub mod tools;

pub use document::{Environment, Source};
pub use explain::{
    Explanation, FieldExplanation, Surroundings, explain, explain_fields, explain_surroundings,
};
pub use finding::{Finding, Related, Severity, codes};
pub use load::places::{Remark, findings_at};
pub use load::{Loaded, load, load_key_sources};
pub use path::{Path, Root, Step};
pub use place::{Anchor, FieldPlace, PlaceStep, Places};
pub use policy::{FieldClass, FieldId, Phi, Policy};
pub use render::{Colour, render, to_json, to_sarif};
pub use schema::schema;
pub use secret::Secret;
pub use settings::{
    ALWAYS_DELIVERED, Account, Admin, AuditLogging, Authentication, AwsCredentials, AwsKms,
    Binding, BoundTokens, CipherSuite, Configuration, Cors, Enrolment, Identity, IdentityEvents,
    Infisical, InfisicalLogin, Issuer, Jwt, Key, KeyBytes, KeySources, KeyState, Keycloak, Keys,
    Limits, Listen, Mfa, MfaProvider, MutualTls, Output, Pkcs11, Postgresql, PreviousSecret,
    Profile, S3, S3Encryption, S3Lock, SELECTABLE_EVENTS, SessionStore, Sessions, Siem, SiemHec,
    SiemHttp, SiemProtocol, SourceKind, SourceText, Spool, State, Tls, Transit, TransitLogin,
    Upstream, UpstreamPlace, UpstreamTls, UpstreamTransport,
};
