//! TCP connections that die the way real ones do: reset instead of an answer, or hung up in the middle of a body.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use axum::{extract::connect_info::Connected, serve};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

const RESET: u8 = 1;
const HANG_UP: u8 = 2;

/// The handle with which a request handler ends the connection that it is answering on.
#[derive(Clone, Default)]
pub(super) struct Cut(Arc<AtomicU8>);

impl Cut {
    /// Instead of the answer, the peer gets a TCP reset.
    pub(super) fn reset(&self) {
        self.0.store(RESET, Ordering::Release);
    }

    /// The connection is closed in an orderly way, once everything written so far has been handed to the kernel.
    pub(super) fn hang_up(&self) {
        self.0.store(HANG_UP, Ordering::Release);
    }

    fn is(&self, order: u8) -> bool {
        self.0.load(Ordering::Acquire) == order
    }
}

impl Connected<serve::IncomingStream<'_, Lines>> for Cut {
    fn connect_info(stream: serve::IncomingStream<'_, Lines>) -> Self {
        stream.io().cut.clone()
    }
}

/// Accepts connections that can be [`Cut`].
pub(super) struct Lines(pub(super) TcpListener);

impl serve::Listener for Lines {
    type Io = Line;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Line, Self::Addr) {
        let (stream, peer) = serve::Listener::accept(&mut self.0).await;
        let cut = Cut::default();
        (Line { stream, cut }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

pub(super) struct Line {
    stream: TcpStream,
    cut: Cut,
}

impl Line {
    fn refuse_when_reset(&self) -> io::Result<()> {
        if self.cut.is(RESET) {
            // A zero linger time makes the close that follows send RST, not FIN.
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.refuse_when_reset()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The HTTP layer flushes only after it has written all that it buffered, so nothing promised is lost here.
        if self.cut.is(HANG_UP) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refuse_when_reset()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
