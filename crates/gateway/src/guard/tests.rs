use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn guarded() -> (DuplexStream, Guard<DuplexStream>, Rc<Exchange>) {
    let (client, server) = duplex(1 << 16);
    let exchange = Rc::new(Exchange::default());
    let guard = Guard::new(server, FramingLimits::default(), GuardTimes::default(), exchange.clone());
    (client, guard, exchange)
}

async fn read_some(guard: &mut Guard<DuplexStream>) -> String {
    let mut bytes = vec![0; 8192];
    let n = guard.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_refused_head_becomes_the_substitute_behind_the_good_ones() {
    let (mut client, mut guard, exchange) = guarded();
    client
        .write_all(format!("{GET}{GET}GET /b HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\nsmuggled").as_bytes())
        .await
        .unwrap();
    assert_eq!(read_some(&mut guard).await, format!("{GET}{GET}"));
    assert_eq!(read_some(&mut guard).await.as_bytes(), SUBSTITUTE);
    assert_eq!(
        [1, 2, 3, 4].map(|n| exchange.refusal(n)),
        [None, None, Some(ReasonCode::RequestFramingAmbiguous), None]
    );
    let silent = tokio::time::timeout(Duration::from_millis(1), guard.read(&mut [0; 10])).await;
    assert!(silent.is_err(), "nothing after the substitute");
}

#[tokio::test]
async fn a_head_in_pieces_is_held_until_it_is_judged() {
    let (mut client, mut guard, _) = guarded();
    client.write_all(&GET.as_bytes()[..20]).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(1), guard.read(&mut [0; 10])).await;
    assert!(nothing.is_err());
    client.write_all(&GET.as_bytes()[20..]).await.unwrap();
    let mut first = [0; 10];
    guard.read_exact(&mut first).await.unwrap();
    assert_eq!(format!("{}{}", String::from_utf8_lossy(&first), read_some(&mut guard).await), GET);
}

#[tokio::test(start_paused = true)]
async fn rule_g15_a_slow_head_is_refused_however_it_drips() {
    let (mut client, mut guard, exchange) = guarded();
    let dripping = async {
        for byte in GET.as_bytes() {
            client.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        client
    };
    let (_client, read) = tokio::join!(dripping, read_some(&mut guard));
    assert_eq!(read.as_bytes(), SUBSTITUTE);
    assert_eq!(exchange.refusal(1), Some(ReasonCode::RequestTooSlow));
}

#[tokio::test(start_paused = true)]
async fn rule_g15_an_idle_connection_ends_silently_but_not_while_we_work() {
    let (mut client, mut guard, exchange) = guarded();
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_some(&mut guard).await, GET);
    exchange.call();
    let working = tokio::time::timeout(Duration::from_secs(3600), guard.read(&mut [0; 10])).await;
    assert!(working.is_err(), "the answer is ours to give");
    exchange.answered(Instant::now());
    let began = Instant::now();
    assert_eq!(guard.read(&mut [0; 10]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 75);
}

/// hyper writes an answer and does not read again by itself: the guard was asked while the request was in flight.
#[tokio::test(start_paused = true)]
async fn rule_g15_idleness_is_counted_from_the_answer_and_ends_though_nobody_asks_again() {
    let (mut client, mut guard, exchange) = guarded();
    client.write_all(GET.as_bytes()).await.unwrap();
    read_some(&mut guard).await;
    exchange.call();
    let began = Instant::now();
    let asking_once = async move {
        let asked = tokio::task::spawn_local(async move { guard.read(&mut [0; 10]).await.unwrap() });
        tokio::time::sleep(Duration::from_secs(70)).await;
        exchange.answered(Instant::now());
        assert_eq!(asked.await.unwrap(), 0);
    };
    tokio::task::LocalSet::new().run_until(asking_once).await;
    assert_eq!(began.elapsed().as_secs(), 70 + 75);
}

#[tokio::test(start_paused = true)]
async fn rule_g15_a_head_behind_another_has_a_deadline_of_its_own() {
    let (mut client, mut guard, exchange) = guarded();
    let (first, second) = GET.split_at(10);
    client.write_all(first.as_bytes()).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_secs(8), guard.read(&mut [0; 10])).await;
    assert!(nothing.is_err());
    client.write_all(format!("{second}{first}").as_bytes()).await.unwrap();
    assert_eq!(read_some(&mut guard).await, GET);
    let waiting = tokio::time::timeout(Duration::from_secs(9), guard.read(&mut [0; 10])).await;
    assert!(waiting.is_err(), "the second head is 9 s old");
    client.write_all(second.as_bytes()).await.unwrap();
    assert_eq!(read_some(&mut guard).await, GET);
    assert_eq!(exchange.refusal(2), None);
}

#[tokio::test]
async fn a_message_is_whole_when_its_body_is() {
    let (mut client, mut guard, exchange) = guarded();
    client
        .write_all(format!("{GET}POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").as_bytes())
        .await
        .unwrap();
    read_some(&mut guard).await;
    assert_eq!([1, 2].map(|n| exchange.is_whole(n)), [true, false]);
    client.write_all(b"b").await.unwrap();
    read_some(&mut guard).await;
    assert_eq!([1, 2, 3].map(|n| exchange.is_whole(n)), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn rule_g15_a_body_must_make_progress_and_end() {
    let (mut client, mut guard, exchange) = guarded();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    read_some(&mut guard).await;
    let began = Instant::now();
    assert!(guard.read(&mut [0; 10]).await.is_err());
    assert_eq!((began.elapsed().as_secs(), exchange.refusal(1)), (20, Some(ReasonCode::RequestTooSlow)));

    let (mut client, mut guard, exchange) = guarded();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    read_some(&mut guard).await;
    let began = Instant::now();
    let dripping = async {
        while client.write_all(b"a").await.is_ok() && began.elapsed().as_secs() < 400 {
            tokio::time::sleep(Duration::from_secs(19)).await;
        }
    };
    let reading = async {
        while guard.read(&mut [0; 10]).await.is_ok() {}
        began.elapsed().as_secs()
    };
    let (_, seconds) = tokio::join!(dripping, reading);
    assert_eq!((seconds, exchange.refusal(1)), (300, Some(ReasonCode::RequestTooSlow)));
}

#[tokio::test]
async fn a_refused_body_is_an_error_and_names_its_message() {
    let (mut client, mut guard, exchange) = guarded();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    read_some(&mut guard).await;
    client.write_all(b"zz\r\n").await.unwrap();
    assert!(guard.read(&mut [0; 10]).await.is_err());
    assert_eq!(exchange.refusal(1), Some(ReasonCode::RequestFramingAmbiguous));
}

#[tokio::test(start_paused = true)]
async fn rule_g15_a_peer_that_takes_nothing_is_given_up() {
    let (_client, mut guard, _) = guarded();
    let began = Instant::now();
    let error = guard.write_all(&vec![0; 1 << 17]).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
}

/// How long the guard listens to a peer that was refused and sends `bytes` again after each `pause`.
async fn lingers(bytes: usize, pause: Duration, hurried: bool) -> Duration {
    let (mut client, mut guard, exchange) = guarded();
    client.write_all(b"BAD\r\n\r\nmore and more").await.unwrap();
    read_some(&mut guard).await;
    if hurried {
        exchange.hurry();
    }
    let began = Instant::now();
    let sending = async {
        loop {
            tokio::time::sleep(pause).await;
            if client.write_all(&vec![0; bytes]).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ended = guard.shutdown() => ended.unwrap(),
        () = sending => unreachable!(),
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn rule_g18_a_refused_peer_is_read_to_its_end_within_bounds() {
    use super::linger::{HURRIED, LINGER, PAUSE};
    let ms = Duration::from_millis;
    for (bytes, pause, hurried, expected) in [
        (0, PAUSE * 2, false, PAUSE),
        (1, PAUSE - ms(1), false, LINGER),
        (1, PAUSE + ms(1), false, PAUSE),
        // However much there is, and however fast it comes.
        (1 << 20, ms(1), false, LINGER),
        (1 << 20, ms(1), true, HURRIED),
        (1, ms(100), true, HURRIED),
    ] {
        let lasted = lingers(bytes, pause, hurried).await;
        let shown = format!("{bytes} bytes every {pause:?}, hurried: {hurried}");
        assert!(lasted >= expected && lasted <= expected + ms(2), "{shown}: {lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_g15_a_peer_that_takes_nothing_does_not_hold_up_the_end() {
    /// A TLS stream whose last words cannot be written.
    struct Clogged;
    impl Progress for Clogged {
        fn socket(&mut self) -> Option<&mut crate::socket::Socket> {
            None
        }
    }
    impl AsyncRead for Clogged {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }
    impl AsyncWrite for Clogged {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }
    let mut guard = Guard::new(Clogged, FramingLimits::default(), GuardTimes::default(), Rc::default());
    assert_eq!(guard.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
