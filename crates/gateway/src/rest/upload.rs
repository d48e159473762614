//! What a client sends behind its headers: kept as far as an operation needs it, and read to its end in any case.
//!
//! A connection serves the next request only when nothing of the last one is left on it. A client that is still sending
//! when the connection closes loses the answer, and its next request with it.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;

/// Most bytes that are read only to be thrown away.
const DISCARDED: u64 = 64 << 20;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Upload {
    /// What has not been read; nothing once there is no point in reading on.
    rest: Option<Body>,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        Self { rest: Some(body) }
    }

    /// The whole body, if it is of up to `most` bytes and comes in time.
    pub(super) async fn read(&mut self, most: usize, within: Duration) -> Result<Bytes, Refusal> {
        let Some(mut body) = self.rest.take() else { return Err(Refusal::BROKEN_OFF) };
        // Copied, because a piece holds on to all that was received along with it.
        let mut kept = Vec::new();
        let pouring = pour(&mut body, most as u64, |piece| kept.extend_from_slice(piece));
        let poured = timeout(within, pouring).await.unwrap_or(Err(Refusal::BODY_TOO_SLOW));
        let goes_on = poured.as_ref().map_or_else(|refusal| refusal.status == StatusCode::PAYLOAD_TOO_LARGE, |()| true);
        self.rest = goes_on.then_some(body);
        poured.map(|()| kept.into())
    }

    /// Reads what is left and keeps nothing of it. Whether the end was reached, so that the connection can go on.
    pub(super) async fn discard(self, until: Instant) -> bool {
        let Some(mut body) = self.rest else { return false };
        let poured = timeout_at(until, pour(&mut body, DISCARDED, |_| {})).await;
        poured.is_ok_and(|poured| poured.is_ok())
    }
}

/// Reads a body to its end, or until it is clear that it has more than `most` bytes.
async fn pour(body: &mut Body, most: u64, mut take: impl FnMut(&[u8])) -> Result<(), Refusal> {
    if body.size_hint().lower() > most {
        return Err(Refusal::TOO_LARGE);
    }
    let mut left = most;
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(frame) = frame else { return Err(Refusal::BROKEN_OFF) };
        let Some(piece) = frame.data_ref() else { continue };
        left = left.checked_sub(piece.len() as u64).ok_or(Refusal::TOO_LARGE)?;
        take(piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SOON: Duration = Duration::from_secs(5);

    /// A body without a length, of `chunks` chunks of a mebibyte, with a count of those that were taken.
    fn chunked(chunks: usize) -> (Upload, Arc<AtomicUsize>) {
        let (chunk, taken) = (Bytes::from(vec![0; 1 << 20]), Arc::new(AtomicUsize::new(0)));
        let counted = taken.clone();
        let chunks = (0..chunks).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(chunk.clone())
        });
        (Upload::new(Body::from_stream(stream::iter(chunks))), taken)
    }

    #[tokio::test]
    async fn a_body_is_kept_up_to_a_bound_and_read_beyond_it() {
        let mut small = Upload::new(Body::from("small"));
        assert_eq!(small.read(5, SOON).await.expect("a body"), "small");
        assert!(small.discard(Instant::now()).await);
        for mut large in [Upload::new(Body::from("large!")), chunked(9).0] {
            assert_eq!(large.read(5, SOON).await.expect_err("refused").status, 413);
            assert!(large.discard(Instant::now() + SOON).await);
        }
    }

    #[tokio::test]
    async fn nobody_reads_without_end() {
        let (endless, taken) = chunked(usize::MAX);
        assert!(!endless.discard(Instant::now() + SOON).await);
        assert_eq!(taken.load(Ordering::Relaxed) as u64, (DISCARDED >> 20) + 1);
        // Who says beforehand that it will be too much is not listened to at all.
        let announced = Upload::new(Body::from(vec![0; DISCARDED as usize + 1]));
        assert!(!announced.discard(Instant::now() + SOON).await);
    }

    #[tokio::test]
    async fn who_is_slow_is_not_waited_for() {
        let silent = || Upload::new(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()));
        assert!(!silent().discard(Instant::now() + Duration::from_millis(5)).await);
        let mut upload = silent();
        assert_eq!(upload.read(5, Duration::from_millis(5)).await.expect_err("refused").status, 408);
        // Not even after that.
        assert!(!upload.discard(Instant::now() + Duration::from_secs(3_600)).await);
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_body() {
        let broken = || {
            let parts = [Ok(Bytes::from_static(b"par")), Err(std::io::Error::other("gone"))];
            Upload::new(Body::from_stream(stream::iter(parts)))
        };
        let mut upload = broken();
        assert_eq!(upload.read(5, SOON).await.expect_err("refused").status, 400);
        assert!(!upload.discard(Instant::now() + SOON).await);
        assert!(!broken().discard(Instant::now() + SOON).await);
    }
}
