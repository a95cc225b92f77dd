//! The document that describes the admin API (OpenAPI 3.1). Operations come from their handlers; what all of them share,
//! who may call and how they refuse, is added here, so that no handler can forget it.

use super::shapes::Problem;
use utoipa::PartialSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    SecurityRequirement,
};

/// Refusals of any operation, with what they say.
const OF_ALL: [(&str, &str); 6] = [
    ("400", "The request cannot be read."),
    ("401", "There is no valid operator token."),
    ("403", "The operator's role is not enough."),
    ("500", "A mistake of ours."),
    ("503", "Storage is not available, or what was changed is not enforced yet."),
    // What the listener refuses, before an operation is looked for.
    ("default", "Any other refusal, such as one of the listener's limits."),
];
/// And of operations that name an object in their path, or send one.
const OF_OBJECTS: [(&str, &str); 2] = [
    ("404", "There is no such object."),
    ("409", "The object stands against it: it exists already, or several are meant."),
];
/// And of operations that send a body.
const OF_BODIES: [(&str, &str); 1] = [("413", "The body is too large.")];

/// What a handler cannot say of itself.
pub(super) fn describe() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Countersign admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Every operation needs an operator's bearer token. Refusals are problem documents (RFC 9457).",
        ));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let refusals = OF_ALL.iter().chain(&OF_OBJECTS).chain(&OF_BODIES);
    let components = refusals.fold(
        ComponentsBuilder::new().security_scheme("operator", bearer).schema("Problem", Problem::schema()),
        |components, (status, description)| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let response = ResponseBuilder::new().description(*description);
            let response = response.content("application/problem+json", content);
            components.response(component(status), response.build())
        },
    );
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("operator", Vec::<String>::new())]))
        .build()
}

/// Adds to every operation how it refuses.
pub(super) fn add_refusals(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let names_an_object = path.contains('{');
        let operations = [(&mut item.get, false), (&mut item.post, true)];
        for (operation, sends) in operations {
            let Some(operation) = operation else { continue };
            add(operation, &OF_ALL);
            if names_an_object || sends {
                add(operation, &OF_OBJECTS);
            }
            if sends {
                add(operation, &OF_BODIES);
            }
        }
    }
}

fn add(operation: &mut Operation, refusals: &[(&str, &str)]) {
    for (status, _) in refusals {
        let response = Ref::from_response_name(component(status));
        operation.responses.responses.insert((*status).to_owned(), response.into());
    }
}

fn component(status: &str) -> String {
    format!("Refusal-{status}")
}
