//! `[internal]`: how the sandbox method `internal` is spoken (rule C11). Routes switch it on.

use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::section;
use crate::config::values::HeaderText;
use countersign_policy::decision::InternalHeaders;
use countersign_policy::header_names::{is_plain, same_name};
use http::HeaderName;

section! {
    /// The headers of the `internal` method. HTTP Basic works beside them. Sandbox routes switch the method on.
    InternalSection = "[internal]" {
        /// The header that names the client.
        client_id_header: HeaderText = Default("\"client_id\"");
        /// The header that proves it.
        client_secret_header: HeaderText = Default("\"client_secret\"");
    }
}

/// The headers of the `internal` method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Internal {
    /// Names the client.
    pub client_id_header: HeaderName,
    /// Proves it.
    pub client_secret_header: HeaderName,
}

impl InternalSection {
    pub(crate) fn check(&self, out: &mut Mistakes) -> Option<Internal> {
        let (id, secret) = (self.client_id_header.get()?, self.client_secret_header.get()?);
        for at in [id, secret] {
            if !is_plain(at.value.0.as_str().as_bytes()) {
                let message = format!("every request with `{}` is refused", at.value.0);
                let reason = "header names have letters, digits, `-` and `_`";
                out.add(Mistake::new(at.entry.clone(), message, reason));
            } else if InternalHeaders::is_reserved(&at.value.0) {
                let message = format!("`{}` cannot carry credentials of our own", at.value.0);
                out.add(Mistake::new(
                    at.entry.clone(),
                    message,
                    "the header has a meaning of its own in HTTP",
                ));
            }
        }
        if same_name(id.value.0.as_str(), secret.value.0.as_str()) {
            let message = "client_id and client_secret have the same header";
            out.add(Mistake::new(secret.entry.clone(), message, "each needs a header of its own"));
        }
        Some(Internal { client_id_header: id.value.0.clone(), client_secret_header: secret.value.0.clone() })
    }
}
