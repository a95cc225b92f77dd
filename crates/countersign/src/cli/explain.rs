//! `countersign explain`: what a reason code means, and what to do.

use super::console::Console;
use crate::failure::{Exit, Failure};
use crate::words::similar;
use clap::Args;
use countersign_model::ReasonCode;
use countersign_policy::denial::explain_text;
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The reason code, as `token_certificate_mismatch`; without one all are listed
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        match &self.code {
            Some(code) => explain(code, console),
            None => list(console),
        }
    }
}

fn explain(text: &str, console: Console) -> Result<(), Failure> {
    let code: ReasonCode = text.parse().map_err(|_| {
        let failure =
            Failure::new(Exit::NotFound, format!("there is no reason code `{}`", text.escape_debug()));
        let names = ReasonCode::ALL.iter().map(|code| code.as_str());
        failure.action(match similar(text, names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "countersign explain lists them all".to_owned(),
        })
    })?;
    let reason = code.reason();
    let document = json!({
        "code": reason.code, "status": reason.status, "public_code": code.public(), "title": reason.title,
        "detail": reason.detail, "action": reason.action, "operator": reason.operator,
        "incident": reason.incident, "standard": reason.standard,
    });
    console.answer(&document, || explain_text(code))
}

fn list(console: Console) -> Result<(), Failure> {
    let all = || ReasonCode::ALL.iter().map(|code| code.reason());
    let document: Vec<_> = all()
        .map(|reason| json!({ "code": reason.code, "status": reason.status, "title": reason.title }))
        .collect();
    console.answer(&document, || {
        let rows: Vec<[String; 3]> = all()
            .map(|reason| [reason.code.to_owned(), reason.status.to_string(), reason.title.to_owned()])
            .collect();
        super::console::table(["CODE", "STATUS", "MEANING"], &rows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        for code in ReasonCode::ALL {
            let reason = code.reason();
            for text in [reason.title, reason.detail, reason.action, reason.operator, reason.standard] {
                assert!(!text.is_empty(), "{code}");
            }
            assert!(explain_text(*code).contains(reason.operator), "{code}");
        }
    }
}
