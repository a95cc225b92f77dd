//! A listener without TLS: signed documents only (rule T1 is the configuration's; here it works at all).

use crate::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn exchange(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.running.local_addr("documents").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn documents_are_served_and_nothing_else() {
    let world = World::start().await;
    let answer = exchange(&world, "GET /pki/crl/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("local /pki/crl/x 0"), "{answer}");
    let answer = exchange(&world, "GET /data/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("route_not_found"), "{answer}");
    let answer = exchange(&world, "GET /pki/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("request_framing_ambiguous"), "{answer}");
}
