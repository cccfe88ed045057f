//! What each event is called elsewhere: one table, held by tests over the whole catalogue.
//!
//! Sources: OCSF 1.8.0 and 1.9.0 (classes by number, activities by class); DICOM PS3.16 CID 400 and 401 (`DCM`), which FHIR's AuditEvent
//! takes over; IHE BALP 1.1 for what a call does; ISO 21089 `disclose` for an export.

use super::facts::{Facts, Operation};
use crate::catalogue::EventName;

/// A class and activity of OCSF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ocsf {
    pub(super) class: u32,
    pub(super) activity: u32,
    /// The activity's caption.
    pub(super) caption: &'static str,
}

/// A code of DICOM's controlled terminology, with its meaning.
pub(super) type Dcm = (&'static str, &'static str);

/// What FHIR calls the kind of event within its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subtype {
    /// The same code as DICOM's event type.
    Dicom,
    /// A RESTful interaction (`http://hl7.org/fhir/restful-interaction`).
    Rest(&'static str),
    /// BALP's permission by role.
    Role,
    /// ISO 21089's lifecycle event.
    Lifecycle(&'static str),
    /// A code of our own.
    Own,
}

/// How DICOM and FHIR call an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Atna {
    pub(super) id: Dcm,
    /// The event type; none where the id says all.
    pub(super) kind: Option<Dcm>,
    /// Create, Read, Update, Delete or Execute.
    pub(super) action: char,
    pub(super) subtype: Subtype,
}

pub(super) const AUTHENTICATION: u32 = 3002;
pub(super) const AUTHORIZE_SESSION: u32 = 3003;
pub(super) const ENTITY_MANAGEMENT: u32 = 3004;
pub(super) const ACCOUNT_CHANGE: u32 = 3001;
pub(super) const USER_ACCESS: u32 = 3005;
pub(super) const USER_MANAGEMENT: u32 = 3007;
pub(super) const WEB_RESOURCES: u32 = 6001;
pub(super) const APPLICATION_LIFECYCLE: u32 = 6002;
pub(super) const API_ACTIVITY: u32 = 6003;
pub(super) const DETECTION_FINDING: u32 = 2004;

/// The caption of a class.
pub(super) fn class_name(class: u32) -> &'static str {
    match class {
        AUTHENTICATION => "Authentication",
        AUTHORIZE_SESSION => "Authorize Session",
        ENTITY_MANAGEMENT => "Entity Management",
        ACCOUNT_CHANGE => "Account Change",
        USER_ACCESS => "User Access Management",
        USER_MANAGEMENT => "User Management",
        WEB_RESOURCES => "Web Resources Activity",
        APPLICATION_LIFECYCLE => "Application Lifecycle",
        API_ACTIVITY => "API Activity",
        _ => "Detection Finding",
    }
}

/// OCSF's name of the event; `modern`: 1.9, which has classes of its own for the management of users.
pub(super) fn ocsf(facts: &Facts<'_>, modern: bool) -> Ocsf {
    use EventName as E;
    let of = |class, activity, caption| Ocsf {
        class,
        activity,
        caption,
    };
    let either = |new: (u32, &'static str), old: (u32, u32, &'static str)| match modern {
        true => of(USER_MANAGEMENT, new.0, new.1),
        false => of(old.0, old.1, old.2),
    };
    match facts.name() {
        E::UserLogin | E::FailedLoginAttempt | E::NodeAuthenticationFailed => {
            of(AUTHENTICATION, 1, "Logon")
        }
        E::UserLogout | E::SessionTerminated => of(AUTHENTICATION, 2, "Logoff"),
        E::MfaChallenge => of(AUTHENTICATION, 99, "MFA Challenge"),
        E::TokenRevoked => of(AUTHENTICATION, 99, "Token Revoked"),
        E::PasswordReset => either((9, "Password Reset"), (ACCOUNT_CHANGE, 4, "Password Reset")),
        E::UserCreated => either((1, "Create"), (ACCOUNT_CHANGE, 1, "Create")),
        E::UserDeleted => either((3, "Delete"), (ACCOUNT_CHANGE, 6, "Delete")),
        E::RoleAssigned => either((16, "Assign Roles"), (USER_ACCESS, 1, "Assign Privileges")),
        E::PermissionChange if facts.of_provider() => either(
            (14, "Assign Privileges"),
            (USER_ACCESS, 1, "Assign Privileges"),
        ),
        E::PermissionChange | E::ConfigurationChange | E::KeyRotated | E::PolicyReloadRejected => {
            of(ENTITY_MANAGEMENT, 3, "Update")
        }
        E::AuditLogAccessed => of(ENTITY_MANAGEMENT, 2, "Read"),
        E::EmergencyAccessStart => of(AUTHORIZE_SESSION, 1, "Assign Privileges"),
        E::EmergencyAccessStop => of(AUTHORIZE_SESSION, 99, "Remove Privileges"),
        E::EmergencyReviewed => of(AUTHORIZE_SESSION, 99, "Emergency Access Reviewed"),
        E::EmergencyReviewOverdue => of(AUTHORIZE_SESSION, 99, "Emergency Access Not Reviewed"),
        E::PhiExport => of(WEB_RESOURCES, 7, "Export"),
        E::PhiAccessGranted
        | E::PhiAccessDenied
        | E::PhiRead
        | E::PhiCreate
        | E::PhiUpdate
        | E::PhiDelete => match facts.operation() {
            Operation::Create => of(API_ACTIVITY, 1, "Create"),
            Operation::Read | Operation::Search => of(API_ACTIVITY, 2, "Read"),
            Operation::Update => of(API_ACTIVITY, 3, "Update"),
            Operation::Delete => of(API_ACTIVITY, 4, "Delete"),
            Operation::Export => of(API_ACTIVITY, 99, "Export"),
            Operation::Other => of(API_ACTIVITY, 99, "Call"),
        },
        E::IntegrityViolation | E::DecryptFailure | E::BulkAccessAlert => {
            of(DETECTION_FINDING, 1, "Create")
        }
        E::AuditStarted => of(APPLICATION_LIFECYCLE, 3, "Start"),
        E::AuditStopped => of(APPLICATION_LIFECYCLE, 4, "Stop"),
        E::AuditCheckpoint => of(APPLICATION_LIFECYCLE, 99, "Audit Checkpoint"),
        E::SinkFailed => of(APPLICATION_LIFECYCLE, 99, "Audit Sink Failed"),
        E::SinkRecovered => of(APPLICATION_LIFECYCLE, 99, "Audit Sink Recovered"),
    }
}

const APPLICATION: Dcm = ("110100", "Application Activity");
const LOG_USED: Dcm = ("110101", "Audit Log Used");
const EXPORT: Dcm = ("110106", "Export");
const PATIENT_RECORD: Dcm = ("110110", "Patient Record");
const QUERY: Dcm = ("110112", "Query");
const ALERT: Dcm = ("110113", "Security Alert");
const AUTHENTICATED: Dcm = ("110114", "User Authentication");

/// DICOM's and FHIR's name of the event.
pub(super) fn atna(facts: &Facts<'_>) -> Atna {
    use EventName as E;
    let dicom = |id, kind, action| Atna {
        id,
        kind: Some(kind),
        action,
        subtype: Subtype::Dicom,
    };
    let alert = |kind| dicom(ALERT, kind, 'E');
    let own = |atna: Atna| Atna {
        subtype: Subtype::Own,
        ..atna
    };
    match facts.name() {
        E::UserLogin | E::FailedLoginAttempt => dicom(AUTHENTICATED, ("110122", "Login"), 'E'),
        E::UserLogout | E::SessionTerminated => dicom(AUTHENTICATED, ("110123", "Logout"), 'E'),
        E::MfaChallenge | E::TokenRevoked => own(dicom(AUTHENTICATED, ("110122", "Login"), 'E')),
        E::NodeAuthenticationFailed => alert(("110126", "Node Authentication")),
        E::PasswordReset | E::UserCreated | E::UserDeleted => {
            alert(("110137", "User Security Attributes Changed"))
        }
        E::RoleAssigned => alert(("110136", "Security Roles Changed")),
        E::PermissionChange if facts.of_provider() => {
            alert(("110137", "User Security Attributes Changed"))
        }
        E::PermissionChange => alert(("110136", "Security Roles Changed")),
        E::ConfigurationChange | E::PolicyReloadRejected | E::KeyRotated => {
            alert(("110129", "Security Configuration"))
        }
        E::PhiAccessGranted | E::PhiAccessDenied => Atna {
            subtype: Subtype::Role,
            ..alert(("110132", "Use of Restricted Function"))
        },
        E::IntegrityViolation | E::DecryptFailure | E::BulkAccessAlert => {
            own(alert(("110135", "Object Security Attributes Changed")))
        }
        E::EmergencyAccessStart => alert(("110127", "Emergency Override Started")),
        E::EmergencyAccessStop => alert(("110138", "Emergency Override Stopped")),
        E::EmergencyReviewed | E::EmergencyReviewOverdue => {
            alert(("110132", "Use of Restricted Function"))
        }
        E::AuditStarted => alert(("110134", "Audit Recording Started")),
        E::AuditStopped => alert(("110133", "Audit Recording Stopped")),
        E::AuditLogAccessed => Atna {
            id: LOG_USED,
            kind: None,
            action: 'R',
            subtype: Subtype::Own,
        },
        E::AuditCheckpoint | E::SinkFailed | E::SinkRecovered => Atna {
            id: APPLICATION,
            kind: None,
            action: 'E',
            subtype: Subtype::Own,
        },
        E::PhiRead | E::PhiCreate | E::PhiUpdate | E::PhiDelete | E::PhiExport => {
            of_call(facts.operation())
        }
    }
}

fn of_call(operation: Operation) -> Atna {
    let (id, action, subtype) = match operation {
        Operation::Create => (PATIENT_RECORD, 'C', Subtype::Rest("create")),
        Operation::Update => (PATIENT_RECORD, 'U', Subtype::Rest("update")),
        Operation::Delete => (PATIENT_RECORD, 'D', Subtype::Rest("delete")),
        Operation::Search => (QUERY, 'E', Subtype::Rest("search")),
        Operation::Export => (EXPORT, 'R', Subtype::Lifecycle("disclose")),
        Operation::Read | Operation::Other => (PATIENT_RECORD, 'R', Subtype::Rest("read")),
    };
    Atna {
        id,
        kind: None,
        action,
        subtype,
    }
}
