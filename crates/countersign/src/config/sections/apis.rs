//! `[[apis]]`: what tokens are for.

use super::unique_names;
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, section};
use crate::config::values::{Audience, Name, ScopeTable};
use countersign_model::Scope;
use countersign_policy::route::Api;
use std::collections::BTreeMap;
use std::sync::Arc;

section! {
    /// What a token is for: an audience and its scopes.
    ApiSection = "[[apis]]" {
        /// Its name; routes name it.
        name: Name = Required;
        /// The `aud` of its tokens: an absolute URI (RFC 8707).
        audience: Audience = Required;
        /// Its scopes, each with what it allows, for people. A scope belongs to one API.
        scopes: ScopeTable = Required;
    }
}

/// Checks all APIs.
pub(crate) fn check(sections: &[At<ApiSection>], out: &mut Mistakes) -> Vec<Arc<Api>> {
    unique_names("api", sections.iter().map(|section| &section.value.name), out);
    refuse_shared_audiences_and_scopes(sections, out);
    sections.iter().filter_map(|section| section.value.check(out)).map(Arc::new).collect()
}

/// A token names its API by its audience, and a token request without `resource` by its scopes (rule K6): neither may be
/// ambiguous.
fn refuse_shared_audiences_and_scopes(sections: &[At<ApiSection>], out: &mut Mistakes) {
    let mut audiences: BTreeMap<&str, String> = BTreeMap::new();
    let mut scopes: BTreeMap<&Scope, String> = BTreeMap::new();
    for section in sections {
        let name = section.value.name.value().map_or_else(|| "another".to_owned(), Name::to_string);
        if let Some(audience) = section.value.audience.get() {
            if let Some(other) = audiences.get(audience.value.0.as_str()) {
                let message = format!("two APIs have the audience {}", audience.value.0);
                out.add(Mistake::new(
                    audience.entry.clone(),
                    message,
                    format!("API `{other}` has it already"),
                ));
            } else {
                audiences.insert(&audience.value.0, name.clone());
            }
        }
        let Some(table) = section.value.scopes.get() else { continue };
        for (scope, _) in &table.value.0 {
            if let Some(other) = scopes.get(scope) {
                let message = format!("the scope `{scope}` belongs to two APIs");
                out.add(Mistake::new(table.entry.clone(), message, format!("API `{other}` has it already")));
            } else {
                scopes.insert(scope, name.clone());
            }
        }
    }
}

impl ApiSection {
    fn check(&self, out: &mut Mistakes) -> Option<Api> {
        let scopes = self.scopes.get()?;
        if scopes.value.0.is_empty() {
            out.add(Mistake::new(
                scopes.entry.clone(),
                "an API without scopes",
                "no token could be asked for",
            ));
            return None;
        }
        Some(Api {
            name: self.name.value()?.to_string(),
            audience: self.audience.value()?.0.clone(),
            scopes: scopes.value.0.iter().cloned().collect(),
        })
    }
}
