//! A deadline for requests' bodies: whoever promises a body and does not send it holds a connection.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::STALLED;

/// How long a body may take however slowly it comes, before its pace counts.
const PACE_GRACE: Duration = Duration::from_mins(1);

/// How many bytes a second a body brings at least in the long run. GPRS brings ten times as many.
const PACE: u64 = 256;

/// Why a body does not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing more came for 10 s, or hardly anything over a minute.
    #[error("the body did not arrive in time")]
    Stalled,
    /// The connection broke off, or what came is not HTTP.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
}

/// A body that fails where it makes no progress.
#[derive(Debug)]
pub(super) struct TimedBody {
    inner: Incoming,
    /// Set while somebody waits for more.
    deadline: Option<Pin<Box<Sleep>>>,
    begun: Option<Instant>,
    received: u64,
}

impl TimedBody {
    pub(super) fn new(inner: Incoming) -> Self {
        Self {
            inner,
            deadline: None,
            begun: None,
            received: 0,
        }
    }
}

/// Whether a body that began so long ago and brought that many bytes trickles only to hold its connection.
fn trickles(since: Duration, received: u64) -> bool {
    since > PACE_GRACE + Duration::from_secs(received / PACE)
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let begun = *this.begun.get_or_insert_with(Instant::now);
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.deadline = None;
            let data = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.received += data.map_or(0, |data| data.len() as u64);
            if data.is_some() && trickles(begun.elapsed(), this.received) {
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let deadline = this
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        deadline
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(BodyError::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::trickles;

    #[test]
    fn a_slow_upload_is_no_trickle() {
        let seconds = Duration::from_secs;
        // 64 KiB at 1 KiB a second, and a few bytes of a small body.
        assert!(!trickles(seconds(64), 64 * 1024));
        assert!(!trickles(seconds(59), 6));
        assert!(trickles(seconds(61), 61));
        // A byte just within each deadline.
        assert!(trickles(seconds(63), 7));
    }
}
