//! What is said about a reason code, from one source: the page that `type` links to, docs/reason-codes.md, and
//! `countersign explain`.

use countersign_model::ReasonCode;
use countersign_model::reason::Reason;
use std::fmt::Write as _;

/// The page behind `/problems/CODE`, as HTML without scripts, styles or references, so that it needs no exception from
/// the strictest content security policy.
pub fn problem_page(code: ReasonCode) -> String {
    let reason = code.reason();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{code}</title>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p><code>{code}</code>, HTTP status {status}</p>\n<dl>\n",
        code = escape(reason.code),
        title = escape(reason.title),
        status = reason.status,
    );
    for (term, text) in partners_rows(reason) {
        let _ = writeln!(page, "<dt>{term}</dt>\n<dd>{}</dd>", html(&text));
    }
    page.push_str("</dl>\n</body>\n</html>\n");
    page
}

/// docs/reason-codes.md, whole.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Reason codes\n\n\
         Every refusal carries one code of this closed set: in the problem document, in the log, as the metric label \
         and as the argument of\n`countersign explain`. This page is made from `crates/model/src/reason/table.rs`; \
         change it there.\n\n| code | status | what it says |\n|---|---|---|\n",
    );
    for code in ReasonCode::ALL {
        let reason = code.reason();
        let _ = writeln!(text, "| [{0}](#{0}) | {1} | {2} |", reason.code, reason.status, reason.title);
    }
    for code in ReasonCode::ALL {
        let reason = code.reason();
        let _ = write!(text, "\n## {}\n\n**{}** (status {})\n\n", reason.code, reason.title, reason.status);
        for (term, row) in rows(reason) {
            let _ = writeln!(text, "- {term}: {row}");
        }
    }
    text
}

/// What `countersign explain CODE` prints.
pub fn explain_text(code: ReasonCode) -> String {
    let reason = code.reason();
    let mut text = format!("{}  (HTTP status {})\n{}\n", reason.code, reason.status, reason.title);
    for (term, row) in rows(reason) {
        let _ = write!(text, "\n{term}\n  {row}\n");
    }
    text
}

/// For a page that anybody may read: what an operator looks at and does is not the partner's, and would send him looking for
/// commands that he does not have.
fn partners_rows(reason: &Reason) -> [(&'static str, String); 3] {
    [
        ("What it means", reason.detail.to_owned()),
        ("What to do", reason.action.to_owned()),
        ("Standard", reason.standard.to_owned()),
    ]
}

fn rows(reason: &Reason) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("What it means", reason.detail.to_owned()),
        ("What the partner does", reason.action.to_owned()),
        ("What the operator does", reason.operator.to_owned()),
        ("Incident", if reason.incident { "yes: no honest program does this" } else { "no" }.to_owned()),
        ("Standard", reason.standard.to_owned()),
    ];
    if let Some(public) = reason.public {
        rows.push(("What the caller reads", format!("`{public}`; only the operator sees this code")));
    }
    rows
}

/// Escapes the text and sets what stands between backticks as code.
fn html(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(i, piece)| if i % 2 == 1 { format!("<code>{}</code>", escape(piece)) } else { escape(piece) })
        .collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
