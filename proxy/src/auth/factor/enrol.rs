//! A person enrols a second factor, by an administrator's invitation.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use zeroize::Zeroizing;

use super::page::{Page, Said};
use super::{OVER, Visit, unavailable, visit};
use crate::auth::Asked;
use crate::auth::form::Form;
use crate::auth::problem::Problem;
use crate::exchange::Exchange;
use crate::factor::links::{For, Invitee};
use crate::factor::record::{Record, Refused};
use crate::factor::{Factors, Invitation};
use crate::refuse::{Refusal, Reply};

const DONE: &str = "Your second factor is enrolled. You can close this page.";
const SPENT: &str = "Too many wrong answers on this page. Open the invitation again.";
const BUSY: Problem = Problem::unavailable("there is no room for another page");
const RANDOMNESS: Problem = Problem::unavailable("there is no randomness now");

/// Somebody comes with an invitation.
pub(super) async fn opened(
    exchange: &Exchange<'_>,
    factors: &Factors,
    invitation: &str,
    asked: &Asked,
    page: &Page<'_>,
) -> Result<Reply, Refusal> {
    let not_invited = Refused::NotInvited.to_string();
    let refused = || Ok(page.end(StatusCode::NOT_FOUND, Said::Bad(&not_invited)));
    let Some(invitation) = Invitation::parse(invitation) else {
        return refused();
    };
    let (person, secret) = (invitation.person().clone(), invitation.secret().clone());
    let now_unix = asked.now_unix;
    let judged = factors
        .with_record(person.clone(), move |record| {
            record.invited(&secret, now_unix)?;
            Ok::<_, Refused>(record.subject.clone())
        })
        .await;
    let Ok(subject) = judged.map_err(|why| unavailable(exchange, &why))? else {
        failed(exchange, Refused::NotInvited);
        return refused();
    };
    let invitee = Invitee {
        person,
        subject,
        invitation: Arc::new(invitation.secret().clone()),
    };
    let Some(ticket) = factors.enrol(invitee, Instant::now()) else {
        exchange.sidecar().limit_reached("factor_links");
        return Err(BUSY.into());
    };
    match visit(exchange, factors, &ticket, asked) {
        Some(visit) => visit.enrol(page, None).await,
        None => Ok(page.end(StatusCode::NOT_FOUND, Said::Bad(OVER))),
    }
}

/// What nobody in particular tried is recorded within the bounds of such events.
fn failed(exchange: &Exchange<'_>, why: Refused) {
    let recorder = &exchange.sidecar().recorder;
    let (connection, reference) = (exchange.connection(), exchange.reference());
    recorder.failed_login(connection, reference, why.code());
    exchange.count_failure(None);
}

impl Visit<'_, '_> {
    /// The page as the person finds it.
    pub(super) async fn enrol(
        &self,
        page: &Page<'_>,
        said: Option<Said<'_>>,
    ) -> Result<Reply, Refusal> {
        let For::Enrolment(invitee) = self.link.whose() else {
            return Err(Refusal::NotFound);
        };
        let secret = match self.factors.settings().totp {
            true => Some(self.link.secret().ok_or(RANDOMNESS)?),
            false => None,
        };
        Ok(page.enrol(self.ticket, &invitee.subject, secret.as_deref(), said))
    }

    /// What the person sent.
    pub(super) async fn enrolled(
        &self,
        page: &Page<'_>,
        invitee: &Invitee,
        form: &Form,
    ) -> Result<Reply, Refusal> {
        let settings = self.factors.settings();
        if form.one("ask")?.is_some() && settings.webauthn {
            return self.creation(invitee).await;
        }
        let (now, invitation) = (self.now_unix, Arc::clone(&invitee.invitation));
        let person = invitee.person.clone();
        let (method, judged) = if let Some(code) = form.one("code")?.filter(|_| settings.totp) {
            let code = Zeroizing::new(code.to_owned());
            let secret = self.link.secret().ok_or(RANDOMNESS)?;
            let enrol = move |record: &mut Record| {
                record.enrol(&invitation, &secret, &code, now)?;
                Ok::<_, Refused>(record.issuer.clone())
            };
            ("totp", self.factors.with_record(person, enrol).await)
        } else if let Some(answer) = form.one("key")?.filter(|_| settings.webauthn) {
            let made = self
                .link
                .ceremony()
                .and_then(|begun| settings.site.created(begun, answer.as_bytes(), now));
            let enrol = move |record: &mut Record| {
                let key = made.ok_or(Refused::WrongKey)?;
                record.enrol_key(&invitation, key, now)?;
                Ok::<_, Refused>(record.issuer.clone())
            };
            ("webauthn", self.factors.with_record(person, enrol).await)
        } else {
            return Err(Problem::invalid_request("the form has no answer").into());
        };
        match judged.map_err(|why| unavailable(self.exchange, &why))? {
            Ok(issuer) => {
                self.factors.used(self.ticket, self.now);
                let source = self.exchange.connection().source();
                let recorder = &self.exchange.sidecar().recorder;
                recorder.factor_enrolled((&issuer, &invitee.subject), source, method);
                Ok(page.end(StatusCode::OK, Said::Good(DONE)))
            }
            Err(why) => {
                failed(self.exchange, why);
                if !self.link.failed() {
                    return Ok(page.end(StatusCode::BAD_REQUEST, Said::Bad(SPENT)));
                }
                self.enrol(page, Some(Said::Bad(&why.to_string()))).await
            }
        }
    }

    /// What the browser needs to have a key made.
    async fn creation(&self, invitee: &Invitee) -> Result<Reply, Refusal> {
        let site = self.factors.settings().site.clone();
        let subject = invitee.subject.clone();
        let begin = move |record: &mut Record| {
            let handle = record.handle()?;
            site.create(&subject, handle, record.keys())
        };
        let begun = self.factors.with_record(invitee.person.clone(), begin);
        let begun = begun
            .await
            .map_err(|why| unavailable(self.exchange, &why))?;
        let (ceremony, told) = begun.ok_or(RANDOMNESS)?;
        self.link.begin(ceremony);
        Ok(super::told(told))
    }
}
