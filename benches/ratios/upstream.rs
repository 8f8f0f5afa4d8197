//! The REST upstream of both sides: answers `GET /orders/{id}` with one fixed order of 1 KiB,
//! whatever the id.

use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Result, floors};

const SIZE: usize = 1024;

pub async fn run(listener: TcpListener) -> Result<()> {
    let order = order();
    floors::serve(listener, move |request| {
        let known = request.method() == Method::GET && request.uri().path().starts_with("/orders/");
        let reply = if known { floors::json(order.clone()) } else { not_found() };
        async { Ok(reply) }
    })
    .await
}

fn not_found() -> Response<http_body_util::Full<Bytes>> {
    let mut response = floors::json(Bytes::from_static(b"{}"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn order() -> Bytes {
    let lines: Vec<_> = (1..=8)
        .map(|line| json!({ "sku": format!("SKU-{line:04}"), "name": "Mug, \"blue\"", "qty": line }))
        .collect();
    let with = |notes: String| {
        json!({
            "id": "ORD-1001",
            "status": "open",
            "total": 358.2,
            "customer": { "id": 42, "name": "Zoë Müller", "city": "Zürich" },
            "lines": lines,
            "notes": notes,
        })
        .to_string()
    };
    let room = SIZE.saturating_sub(with(String::new()).len());
    with("n".repeat(room)).into()
}
