//! The connections of callers, and when one is of no use any more.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Response;
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, body::Body, transport::server::Connected};

/// How long a connection may be of no use.
#[derive(Clone, Copy, Debug)]
pub struct IdleTimes {
    /// From its beginning until it has brought a service key, the handshakes of TLS and HTTP/2 included. Whoever asks for
    /// health and reflection only has this long, too.
    pub without_key: Duration,
    /// From the end of its last call with a key to the next one. A stream is a call until it ends.
    pub without_calls: Duration,
    /// From the word that the connection ends (GOAWAY) until it is cut, if no call with a key is under way.
    pub grace: Duration,
}

impl Default for IdleTimes {
    fn default() -> Self {
        Self {
            without_key: Duration::from_secs(10),
            // Longer than any part is silent in practice: a gateway asks for health every second, and calls are spread.
            without_calls: Duration::from_mins(5),
            grace: Duration::from_secs(5),
        }
    }
}

/// What is known of one connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    usage: Arc<watch::Sender<Usage>>,
    /// Cancelled when nothing more may be read from or written to it.
    cut: CancellationToken,
}

#[derive(Debug)]
struct Usage {
    has_key: bool,
    calls: usize,
    /// When it was opened, or its last call ended.
    since: Instant,
}

impl Connection {
    /// One that was just opened.
    pub(super) fn opened() -> Self {
        let usage = Usage {
            has_key: false,
            calls: 0,
            since: Instant::now(),
        };
        Self {
            usage: Arc::new(watch::Sender::new(usage)),
            cut: CancellationToken::new(),
        }
    }

    /// A call with a key has begun on it, and lasts until what is returned is dropped.
    pub(super) fn begin_call(&self) -> Call {
        self.usage.send_modify(|usage| {
            usage.has_key = true;
            usage.calls += 1;
        });
        Call(self.clone())
    }

    /// Resolves when it was of no use for too long.
    pub(super) async fn unused(&self, times: IdleTimes) {
        self.without_calls_until(|usage| {
            let patience = if usage.has_key {
                times.without_calls
            } else {
                times.without_key
            };
            usage.since + patience
        })
        .await;
    }

    /// Cuts it once no call was under way for `grace` from now.
    pub(super) async fn cut_after(&self, grace: Duration) {
        let now = Instant::now();
        self.without_calls_until(|usage| usage.since.max(now) + grace)
            .await;
        self.cut.cancel();
    }

    /// Resolves when there is no call at the time that `until` says; it is asked anew whenever a call begins or ends.
    async fn without_calls_until(&self, until: impl Fn(&Usage) -> Instant) {
        let mut usage = self.usage.subscribe();
        loop {
            let until = {
                let usage = usage.borrow_and_update();
                (usage.calls == 0).then(|| until(&usage))
            };
            let until = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender is in `self`.
                _ = usage.changed() => {}
                () = until => return,
            }
        }
    }
}

/// A call with a key that is under way.
#[derive(Debug)]
pub(super) struct Call(Connection);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.usage.send_modify(|usage| {
            usage.calls -= 1;
            usage.since = Instant::now();
        });
    }
}

impl Call {
    /// The call lasts as long as its answer does.
    pub(super) fn until_answered(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|body| {
            if body.is_end_stream() {
                body
            } else {
                Body::new(Answer { body, _call: self })
            }
        })
    }
}

struct Answer {
    body: Body,
    _call: Call,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's socket, which can be cut whatever its owner waits for: a handshake, a reader who does not read.
pub(super) struct Socket {
    stream: TcpStream,
    cut: BoxFuture<'static, ()>,
    _gone: DropGuard,
}

impl Socket {
    /// `gone` is cancelled when the socket is closed.
    pub(super) fn new(stream: TcpStream, connection: &Connection, gone: CancellationToken) -> Self {
        Self {
            stream,
            cut: Box::pin(connection.cut.clone().cancelled_owned()),
            _gone: gone.drop_guard(),
        }
    }

    /// The stream, unless it was cut; whoever waits for it is woken when it is.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stream(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_stream(cx)?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_stream(cx)?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stream(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stream(cx)?.poll_shutdown(cx)
    }
}
