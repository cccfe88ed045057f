//! A person proves the second factor of a session.

use http::StatusCode;
use safeguard_audit::Outcome;

use super::page::{Page, Said};
use super::{Visit, unavailable};
use crate::auth::form::Form;
use crate::auth::problem::Problem;
use crate::factor::proofs::{Holder, Method};
use crate::factor::record::Refused;
use crate::factor::store::PersonId;
use crate::refuse::{Refusal, Reply};

const DONE: &str =
    "Your second factor is proved. You can close this page and go on in your program.";
const SPENT: &str = "Too many wrong answers on this page. Go back to your program and try again.";
const LATE: Problem = Problem::unavailable("there is no room for another proof");

/// The person behind a session.
fn person(holder: &Holder) -> PersonId {
    PersonId::new(holder.who.login_issuer(), holder.who.subject())
}

impl Visit<'_, '_> {
    /// The page as the person finds it.
    pub(super) async fn prove(
        &self,
        page: &Page<'_>,
        said: Option<Said<'_>>,
    ) -> Result<Reply, Refusal> {
        let crate::factor::links::For::Session(holder) = self.link.whose() else {
            return Err(Refusal::NotFound);
        };
        let now = self.now_unix;
        let looked = self
            .factors
            .with_record(person(holder), move |record| {
                let standing = record.standing(now);
                (record.has_totp(), !record.keys().is_empty(), standing)
            })
            .await;
        let (codes, keys, standing) = looked.map_err(|why| unavailable(self.exchange, &why))?;
        let settings = self.factors.settings();
        let kinds = (codes && settings.totp, keys && settings.webauthn);
        let why = standing.err().map(|why| why.to_string());
        let said = said.or(why.as_deref().map(Said::Bad));
        Ok(page.prove(self.ticket, holder, kinds, said))
    }

    /// What the person sent.
    pub(super) async fn proved(
        &self,
        page: &Page<'_>,
        holder: &Holder,
        form: &Form,
    ) -> Result<Reply, Refusal> {
        let settings = self.factors.settings();
        let site = settings.site.clone();
        let now = self.now_unix;
        if form.one("ask")?.is_some() && settings.webauthn {
            return self.challenge(holder).await;
        }
        let judged = if let Some(code) = form.one("code")?.filter(|_| settings.totp) {
            let code = zeroize::Zeroizing::new(code.to_owned());
            let judge = move |record: &mut crate::factor::record::Record| record.prove(&code, now);
            self.factors.with_record(person(holder), judge).await
        } else if let Some(answer) = form.one("key")?.filter(|_| settings.webauthn) {
            let (ceremony, answer) = (self.link.ceremony(), answer.to_owned());
            let judge = move |record: &mut crate::factor::record::Record| {
                record.prove_by_key(
                    |handle, keys| site.got(ceremony?, answer.as_bytes(), handle, keys),
                    now,
                )
            };
            self.factors.with_record(person(holder), judge).await
        } else {
            return Err(Problem::invalid_request("the form has no answer").into());
        };
        match judged.map_err(|why| unavailable(self.exchange, &why))? {
            Ok(method) => self.done(page, holder, method),
            Err(why) => self.refused(page, holder, why).await,
        }
    }

    fn done(&self, page: &Page<'_>, holder: &Holder, method: Method) -> Result<Reply, Refusal> {
        let sidecar = self.exchange.sidecar();
        if !self
            .factors
            .proved(self.ticket, method, self.now, self.now_unix)
        {
            sidecar.limit_reached("factor_proofs");
            return Err(LATE.into());
        }
        sidecar.recorder.second_factor(
            &self.login(holder),
            Outcome::Success,
            "second_factor_proved",
            Some(method.amr()),
        );
        Ok(page.end(StatusCode::OK, Said::Good(DONE)))
    }

    async fn refused(
        &self,
        page: &Page<'_>,
        holder: &Holder,
        why: Refused,
    ) -> Result<Reply, Refusal> {
        let recorder = &self.exchange.sidecar().recorder;
        recorder.second_factor(&self.login(holder), Outcome::Denied, why.code(), None);
        self.exchange.count_failure(Some(holder.who.subject()));
        if !self.link.failed() {
            return Ok(page.end(StatusCode::BAD_REQUEST, Said::Bad(SPENT)));
        }
        self.prove(page, Some(Said::Bad(&why.to_string()))).await
    }

    /// What the browser needs to ask a key.
    async fn challenge(&self, holder: &Holder) -> Result<Reply, Refusal> {
        let site = self.factors.settings().site.clone();
        let begin = move |record: &mut crate::factor::record::Record| site.get(record.keys());
        let begun = self.factors.with_record(person(holder), begin).await;
        let begun = begun.map_err(|why| unavailable(self.exchange, &why))?;
        let (ceremony, told) = begun.ok_or(Problem::invalid_request("no key is enrolled"))?;
        self.link.begin(ceremony);
        Ok(super::told(told))
    }

    fn login<'l>(&'l self, holder: &'l Holder) -> crate::events::Login<'l> {
        self.exchange.login(&holder.who, holder.name.as_deref())
    }
}
