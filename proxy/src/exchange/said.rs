//! What a client says in the protocol's own messages (lifecycle, `ping`, lists, notifications): they need no rule, and
//! have room for PHI all the same, in `_meta`, in a reason, in members that no revision knows.

use std::sync::Arc;

use bytes::Bytes;
use safeguard_wire::json::Tree;
use safeguard_wire::jsonrpc::Message;

use super::{Caller, Exchange};
use crate::clock;
use crate::metrics::method_label;
use crate::refuse::Refusal;
use crate::rewrite::client;
use crate::rewrite::request::Stamp;

impl Exchange<'_> {
    /// The message as it goes up. Most name no PHI and go as they are; in one that does, it is judged like an argument.
    pub(super) async fn said(
        &mut self,
        caller: &Arc<Caller>,
        (body, tree): (&Bytes, &Tree<'_>),
        message: &Message<'_>,
    ) -> Result<Bytes, Refusal> {
        let (Message::Request { method, .. } | Message::Notification { method, .. }) = message
        else {
            return Ok(body.clone());
        };
        if !self.names_phi(tree) {
            return Ok(body.clone());
        }
        let label = method_label(method);
        // Views need a permit: what every caller may do has the caller's own.
        let permit = match self.still_asked(caller, "ping") {
            Ok(permit) => permit,
            Err(denial) => return Err(self.deny(caller, label, "", None, &denial)),
        };
        let mut call = self.heard(caller, label, permit, None, String::new());
        let stamp = Stamp {
            created_by: caller.authenticated.subject(),
            now_micros: clock::now_micros(),
        };
        let workshop = &self.live.workshop;
        let rewritten = self
            .with_key(None, |key| {
                self.keyed(&call.permit, || {
                    client::request(
                        tree,
                        method,
                        &call.permit,
                        workshop,
                        call.holder(key),
                        stamp,
                    )
                })
            })
            .await;
        let rewritten = rewritten.map_err(|error| self.not_sent(&call, &error))?;
        call.touched = rewritten.touched;
        self.sidecar.recorder.fields(&call.touched, "request");
        Ok(rewritten.body.map_or_else(|| body.clone(), Bytes::from))
    }
}
