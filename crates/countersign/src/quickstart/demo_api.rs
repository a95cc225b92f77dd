//! The demo API behind the gateway: accounts and payments in memory, with an OpenAPI 3.1 document.
//!
//! It stands for the API of a bank, and trusts what the gateway tells it about the caller.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The OpenAPI document, as it is served at `/openapi.json`.
const OPENAPI: &str = include_str!("openapi.json");

/// How many payments are kept; the oldest go first. It is a demo, and must not fill the memory.
const MAX_PAYMENTS: usize = 1000;

#[derive(Debug, Clone, Serialize)]
struct Account {
    id: &'static str,
    owner: &'static str,
    currency: &'static str,
    balance: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct Transaction {
    id: &'static str,
    date: &'static str,
    amount: &'static str,
    text: &'static str,
}

const ACCOUNTS: [Account; 2] = [
    Account { id: "acc-1", owner: "Ada Example", currency: "EUR", balance: "1250.00" },
    Account { id: "acc-2", owner: "Grace Example", currency: "EUR", balance: "310.50" },
];

const TRANSACTIONS: [(&str, Transaction); 3] = [
    ("acc-1", Transaction { id: "tx-1", date: "2026-11-02", amount: "-42.10", text: "Groceries" }),
    ("acc-1", Transaction { id: "tx-2", date: "2026-11-05", amount: "1800.00", text: "Salary" }),
    ("acc-2", Transaction { id: "tx-3", date: "2026-11-07", amount: "-9.99", text: "Music" }),
];

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPayment {
    from: String,
    to: String,
    amount: String,
    currency: String,
}

#[derive(Debug, Clone, Serialize)]
struct Payment {
    id: String,
    from: String,
    to: String,
    amount: String,
    currency: String,
    status: &'static str,
    /// Who paid, as the gateway says.
    client: String,
}

#[derive(Debug, Default)]
struct Payments {
    last: u64,
    by_number: BTreeMap<u64, Payment>,
}

type Shared = Arc<Mutex<Payments>>;

/// The API.
pub fn router() -> Router {
    Router::new()
        .route("/accounts", get(accounts))
        .route("/accounts/{id}/transactions", get(transactions))
        .route("/payments", post(pay))
        .route("/payments/{id}", get(payment))
        .route("/openapi.json", get(openapi))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is no such resource") })
        .with_state(Shared::default())
}

async fn accounts(headers: HeaderMap) -> Response {
    Json(json!({ "accounts": ACCOUNTS, "client": caller(&headers) })).into_response()
}

async fn transactions(Path(id): Path<String>) -> Response {
    if !ACCOUNTS.iter().any(|account| account.id == id) {
        return problem(StatusCode::NOT_FOUND, "there is no such account");
    }
    let transactions: Vec<_> = TRANSACTIONS
        .iter()
        .filter(|(account, _)| *account == id)
        .map(|(_, transaction)| transaction)
        .collect();
    Json(json!({ "transactions": transactions })).into_response()
}

async fn pay(
    State(payments): State<Shared>,
    headers: HeaderMap,
    payment: Result<Json<NewPayment>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let Ok(Json(new)) = payment else {
        return problem(StatusCode::BAD_REQUEST, "a payment is JSON with from, to, amount and currency");
    };
    if !ACCOUNTS.iter().any(|account| account.id == new.from) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "there is no such account to pay from");
    }
    if !is_amount(&new.amount) || new.currency != "EUR" || !(1..=64).contains(&new.to.len()) {
        return problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "an amount is written 12.34, and the currency is EUR",
        );
    }
    let mut payments = payments.lock().unwrap_or_else(PoisonError::into_inner);
    payments.last += 1;
    let number = payments.last;
    let payment = Payment {
        id: format!("pay-{number}"),
        from: new.from,
        to: new.to,
        amount: new.amount,
        currency: new.currency,
        status: "accepted",
        client: caller(&headers),
    };
    payments.by_number.insert(number, payment.clone());
    if payments.by_number.len() > MAX_PAYMENTS {
        payments.by_number.pop_first();
    }
    let location = [(header::LOCATION, format!("payments/{}", payment.id))];
    (StatusCode::CREATED, location, Json(payment)).into_response()
}

async fn payment(State(payments): State<Shared>, Path(id): Path<String>) -> Response {
    let number = id.strip_prefix("pay-").and_then(|number| number.parse().ok());
    let payments = payments.lock().unwrap_or_else(PoisonError::into_inner);
    match number.and_then(|number: u64| payments.by_number.get(&number)) {
        Some(payment) => Json(payment).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no such payment"),
    }
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// Who calls, as the gateway says; only the gateway can reach this API, and it lets nobody else set the header.
fn caller(headers: &HeaderMap) -> String {
    let client = headers.get("countersign-client-id").and_then(|value| value.to_str().ok());
    client.unwrap_or("unknown").to_owned()
}

/// `12.34`: more than nothing, and at most 999999.99.
fn is_amount(text: &str) -> bool {
    let Some((whole, cents)) = text.split_once('.') else { return false };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let positive = text.bytes().any(|c| (b'1'..=b'9').contains(&c));
    digits(whole) && whole.len() <= 6 && digits(cents) && cents.len() == 2 && positive
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body: Value =
        json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content_type, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn call(router: &Router, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("countersign-client-id", "acme-pay")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn accounts_and_transactions_are_read() {
        let api = router();
        let (status, body) = call(&api, "GET", "/accounts", "").await;
        assert_eq!((status, &body["client"]), (200, &json!("acme-pay")));
        let (status, body) = call(&api, "GET", "/accounts/acc-1/transactions", "").await;
        assert_eq!((status, body["transactions"].as_array().unwrap().len()), (200, 2));
        assert_eq!(call(&api, "GET", "/accounts/acc-9/transactions", "").await.0, 404);
    }

    #[tokio::test]
    async fn a_payment_is_made_and_found_again() {
        let api = router();
        let payment = r#"{"from":"acc-1","to":"DE02120300000000202051","amount":"12.34","currency":"EUR"}"#;
        let (status, body) = call(&api, "POST", "/payments", payment).await;
        assert_eq!((status, &body["client"]), (201, &json!("acme-pay")));
        let path = format!("/payments/{}", body["id"].as_str().unwrap());
        assert_eq!(call(&api, "GET", &path, "").await, (200, body));
        for bad in ["{}", "x", &payment.replace("12.34", "0.00"), &payment.replace("acc-1", "acc-9")] {
            assert!((400..500).contains(&call(&api, "POST", "/payments", bad).await.0), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_document_describes_every_operation() {
        let (status, document) = call(&router(), "GET", "/openapi.json", "").await;
        assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/accounts", "/accounts/{id}/transactions", "/payments", "/payments/{id}"]);
    }
}
