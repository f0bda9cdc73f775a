//! One connection from its first byte to its last.
//!
//! Plain questions are answered at once, as long as nothing else is asked; the first thing else takes
//! the connection to the router.
//!
//! A request reaches the router only when it has arrived as a whole, so no handler waits for a
//! client; and while it has not, the connection has no request under way, so it is the first to go
//! where a place is needed.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time;
use tokio_rustls::TlsAcceptor;

use super::Ending;
use super::answer::{Answer, Pages, is_page};
use super::express::{Express, Onward};
use super::names::strange_name;
use super::places::Place;
use super::steady::Steady;
use crate::agent::http::refuse;
use crate::agent::http::shortcut::Shortcut;
use crate::agent::http::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long the head of a request may take, from the connection or the last answer on: so this is
/// also how long a connection may sit there.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long the head of a request may be, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// How long the body of a request may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long the body of a request may be, in bytes: an order with its reason is below 1 KiB.
const BODY_MAX: usize = 64 * 1024;
/// What is kept of requests and answers at a time, in bytes, larger answers apart.
const BUFFER_MAX: usize = 32 * 1024;
/// How long somebody who was refused may go on sending, so that the refusal is read.
const LINGER: Duration = Duration::from_secs(1);

/// A connection that has a place.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) router: Router,
    pub(super) shortcut: Shortcut,
    pub(super) place: Arc<Place>,
    pub(super) pages: Pages,
    /// What the client is to be shown before it may ask.
    pub(super) tls: Option<Arc<Tls>>,
    /// Whether the client came to a loopback address.
    pub(super) is_near: bool,
    pub(super) ending: Ending,
}

impl Visit {
    /// Answers what is asked over a stream, until either side has enough.
    pub(super) async fn attend<I>(mut self, stream: I)
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = Steady::new(stream);
        let Some(tls) = self.tls.take() else {
            return self.converse(stream).await;
        };
        // A strange name would not fit the certificate.
        self.is_near = false;
        let handshake = TlsAcceptor::from(Arc::clone(&tls.0)).accept(stream);
        tokio::select! {
            shaken = time::timeout(HANDSHAKE_WITHIN, handshake) => {
                // Whoever speaks no TLS here, or distrusts us, is left.
                if let Ok(Ok(stream)) = shaken {
                    self.converse(stream).await;
                }
            }
            () = self.place.must_leave() => {}
            () = self.ending.come() => {}
        }
    }

    async fn converse<I>(mut self, stream: I)
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let mut express = Express::new(stream, self.shortcut.clone());
        match self.express(&mut express).await {
            Onward::ToRouter => {
                let left = HEAD_WITHIN.saturating_sub(express.silent_for());
                self.route(express.into_rest(), left).await;
            }
            Onward::Parts => part(express.into_stream(), &self.place).await,
            Onward::Leaves => {}
        }
    }

    /// Answers plain questions, until there is something else to do.
    async fn express<I>(&mut self, express: &mut Express<I>) -> Onward
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let mut patience = pin!(time::sleep(HEAD_WITHIN));
        loop {
            tokio::select! {
                biased;
                onward = express.run(&self.place) => return onward,
                () = self.place.must_leave() => return Onward::Leaves,
                () = &mut patience => match HEAD_WITHIN.checked_sub(express.silent_for()) {
                    Some(left) => patience.set(time::sleep(left)),
                    // How long an answer may take to be read is the stream's matter.
                    None if express.owes() => patience.set(time::sleep(HEAD_WITHIN)),
                    None => return Onward::Parts,
                },
                () = self.ending.come() => match express.owes() {
                    true => {
                        // Whatever comes of it, it is the last.
                        let _ = express.send().await;
                        return Onward::Parts;
                    }
                    false => return Onward::Leaves,
                }
            }
        }
    }

    /// Has the router answer, if the head of the first request comes in time.
    async fn route<I>(mut self, stream: I, head_within: Duration)
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let place = self.place;
        let asked = Arc::default();
        let answers = Answers {
            router: TowerToHyperService::new(self.router),
            place: Arc::clone(&place),
            pages: self.pages,
            asked: Arc::clone(&asked),
            minds_names: self.is_near,
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_header_size(HEAD_MAX)
            .max_buf_size(BUFFER_MAX)
            .serve_connection(TokioIo::new(stream), answers);
        let mut first_head = pin!(time::sleep(head_within));
        let mut parting = false;
        loop {
            tokio::select! {
                done = poll_fn(|context| connection.poll_without_shutdown(context)) => {
                    // Whatever went wrong is the client's matter, and it was told if it listens.
                    drop(done);
                    break;
                }
                // From then on the server behind the router counts.
                () = &mut first_head, if !asked.load(Ordering::Relaxed) => {
                    // It may have been asked since this was waited for.
                    if !asked.load(Ordering::Relaxed) {
                        break;
                    }
                }
                () = place.must_leave() => return,
                () = self.ending.come(), if !parting => {
                    if place.is_idle() {
                        return;
                    }
                    parting = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
        part(connection.into_parts().io.into_inner(), &place).await;
    }
}

/// Closes in order: closing with bytes unread is a reset, which may overtake the answer.
async fn part<I: AsyncRead + AsyncWrite + Unpin>(mut stream: I, place: &Place) {
    let closing = async {
        if stream.shutdown().await.is_ok() {
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    };
    tokio::select! {
        // Who does not close either is left.
        _ = time::timeout(LINGER, closing) => {}
        () = place.must_leave() => {}
    }
}

/// The router, behind the bounds of a request's body.
#[derive(Debug)]
struct Answers {
    router: TowerToHyperService<Router>,
    place: Arc<Place>,
    pages: Pages,
    /// Whether anything has been asked.
    asked: Arc<AtomicBool>,
    /// Whether what the agent tells is kept from who asks for it by a strange name.
    minds_names: bool,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.asked.store(true, Ordering::Relaxed);
        let (router, place) = (self.router.clone(), Arc::clone(&self.place));
        let pages = self.pages.clone();
        let strange = strange_name(request.uri().path(), request.headers());
        if let Some(name) = strange.filter(|_| self.minds_names) {
            let refused = refuse_name(name).map(|body| Answer::short(body, None));
            return Box::pin(async { Ok(refused) });
        }
        Box::pin(async move {
            let request = match whole(request).await {
                Ok(request) => request,
                Err(refused) => return Ok(refused.map(|body| Answer::short(body, None))),
            };
            if !is_page(request.method(), request.uri().path()) {
                let work = place.work();
                let response = router.call(request).await?;
                return Ok(response.map(|body| Answer::short(body, Some(work))));
            }
            let Some(leave) = pages.leave(request.uri().path()).await else {
                let detail = "too much is being read already".to_owned();
                let busy = last_words(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
                return Ok(busy.map(|body| Answer::short(body, None)));
            };
            let work = place.work();
            let (head, body) = router.call(request).await?.into_parts();
            let page = Answer::page(body, leave, work).await;
            Ok(Response::from_parts(head, page))
        })
    }
}

/// A request with all of its body, or why it is not taken.
async fn whole(request: Request<Incoming>) -> Result<Request<Body>, Box<Response<Body>>> {
    if request.body().is_end_stream() {
        return Ok(request.map(|_| Body::empty()));
    }
    let too_long = || {
        let detail = format!("the body of a request may have {BODY_MAX} bytes");
        Err(last_words(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_long",
            detail,
        ))
    };
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > BODY_MAX as u64 {
        return too_long();
    }
    match time::timeout(BODY_WITHIN, to_bytes(Body::new(body), BODY_MAX)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        // Where it was not too long but broke off, nobody reads the answer.
        Ok(Err(_)) => too_long(),
        Err(_) => Err(last_words(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body of the request did not arrive in time".to_owned(),
        )),
    }
}

/// Refuses who asks for a strange name.
fn refuse_name(name: &str) -> Box<Response<Body>> {
    let detail = format!(
        "{name:?} is no name of this machine: ask for 127.0.0.1 or localhost, or have the proxy in between do so"
    );
    last_words(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail)
}

/// A refusal after which the connection is closed: what comes next is the rest of a body, or more
/// of what is too much already.
fn last_words(status: StatusCode, error: &'static str, detail: String) -> Box<Response<Body>> {
    let mut response = refuse(status, error, detail);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    Box::new(response)
}
