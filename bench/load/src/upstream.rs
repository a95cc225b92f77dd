//! The upstream behind the servers under test: kept-alive HTTP/1.1, one fixed answer.

use std::io::Write;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A head that is longer than this ends the connection; the servers under test send a few hundred bytes.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
const BODY_BYTES: usize = 300;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Serves until it is killed. The first line on stdout is the address.
pub(crate) async fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let response: &'static [u8] = Vec::leak(response());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A connection that ends in an error is the other side's business; the load generator counts it.
            let _ = answer(stream, response).await;
        });
    }
}

async fn answer(mut stream: TcpStream, response: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(HEAD_LIMIT_BYTES);
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        while let Some(length) = head_length(&received)? {
            received.drain(..length);
            stream.write_all(response).await?;
        }
    }
}

/// The length of the first request in `received`, once its head is whole. Only requests without a body are answered.
fn head_length(received: &[u8]) -> std::io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(received).map_err(|error| invalid(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else {
        let too_long = received.len() >= HEAD_LIMIT_BYTES;
        return if too_long { Err(invalid("the head is too long".to_owned())) } else { Ok(None) };
    };
    for header in request.headers.iter() {
        let has_body = header.name.eq_ignore_ascii_case("transfer-encoding")
            || (header.name.eq_ignore_ascii_case("content-length") && header.value != b"0");
        if has_body {
            return Err(invalid("this upstream takes no request with a body".to_owned()));
        }
    }
    Ok(Some(length))
}

fn invalid(what: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

fn response() -> Vec<u8> {
    let start = r#"{"accounts":[{"id":"0001","currency":"EUR","balance":"1024.50"},{"id":"0002","currency":"EUR","balance":"12.00"}],"note":""#;
    let end = "\"}";
    let padding = "x".repeat(BODY_BYTES - start.len() - end.len());
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    );
    format!("{head}{start}{padding}{end}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_json_of_the_stated_length() {
        let response = response();
        let body_at = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(response.len() - body_at, BODY_BYTES);
        serde_json::from_slice::<serde_json::Value>(&response[body_at..]).expect("JSON");
    }

    #[test]
    fn heads_are_counted_and_bodies_refused() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(head_length(&head[..10]).expect("partial"), None);
        assert_eq!(head_length(head).expect("whole"), Some(head.len()));
        assert!(head_length(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").is_err());
    }
}
