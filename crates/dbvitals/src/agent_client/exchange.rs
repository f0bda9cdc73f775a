//! One connection to an agent: requests out, answers in, all before one deadline.

use std::error::Error;
use std::future::Future;
use std::io;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::place::Place;

/// How much an answer may be: the API's word on tens of thousands of backends.
const BODY_MAX: usize = 64 << 20;

/// A connection; requests on it share a deadline.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with this value.
    _driver: JoinSet<()>,
    host: String,
    base: String,
    clock: Clock,
    deadline: Moment,
}

/// What an agent answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// An answer that goes on for as long as somebody listens; the connection ends with it.
#[derive(Debug)]
pub(super) struct Stream {
    body: Incoming,
    _connection: Connection,
}

impl Connection {
    /// Connects before the deadline.
    pub(super) async fn to(place: &Place, clock: Clock, deadline: Moment) -> io::Result<Self> {
        let connecting = async {
            match place {
                Place::Socket(path) => {
                    let stream = UnixStream::connect(path).await?;
                    Self::over(TokioIo::new(stream), "localhost", "", clock, deadline).await
                }
                Place::Http { host, port, base } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    let host = match host.contains(':') {
                        true => format!("[{host}]:{port}"),
                        false => format!("{host}:{port}"),
                    };
                    Self::over(TokioIo::new(stream), &host, base, clock, deadline).await
                }
            }
        };
        let left = deadline.since(clock.now());
        match tokio::time::timeout(left, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
    }

    async fn over(
        stream: impl Read + Write + Unpin + Send + 'static,
        host: &str,
        base: &str,
        clock: Clock,
        deadline: Moment,
    ) -> io::Result<Self> {
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever waits for an answer is told what went wrong.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _driver: driver,
            host: host.to_owned(),
            base: base.to_owned(),
            clock,
            deadline,
        })
    }

    /// Asks, and reads the answer to its end; what goes wrong is a fragment for people.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<String>,
        token: Option<&SecretString>,
    ) -> Result<Answer, String> {
        let request = self.request(method, path, body, token)?;
        let (clock, deadline) = (self.clock, self.deadline);
        let sender = &mut self.sender;
        within(clock, deadline, async {
            read(send(sender, request).await?).await
        })
        .await
    }

    /// Asks for a stream. The deadline holds until it begins.
    pub(super) async fn listen(mut self, path: &str) -> Result<Stream, String> {
        let request = self.request("GET", path, None, None)?;
        let (clock, deadline) = (self.clock, self.deadline);
        let response = within(clock, deadline, send(&mut self.sender, request)).await?;
        match response.status().as_u16() {
            200 => Ok(Stream {
                body: response.into_body(),
                _connection: self,
            }),
            status => Err(format!("it answered {status}")),
        }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
        token: Option<&SecretString>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(HOST, &self.host);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        request.map_err(|error| error.to_string())
    }
}

impl Stream {
    /// The next bytes, until the other side ends it or is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(bytes);
            }
        }
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    sender.ready().await.map_err(|error| told(&error))?;
    let response = sender.send_request(request).await;
    response.map_err(|error| told(&error))
}

async fn read(response: Response<Incoming>) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => format!("the answer is larger than {} MiB", BODY_MAX >> 20),
        None => told(&*error),
    })?;
    let body = String::from_utf8(body.to_bytes().to_vec());
    Ok(Answer {
        status,
        body: body.map_err(|_| "the answer is no text".to_owned())?,
    })
}

async fn within<T>(
    clock: Clock,
    deadline: Moment,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let left = deadline.since(clock.now());
    match tokio::time::timeout(left, answer).await {
        Ok(answer) => answer,
        Err(_) => Err("it did not come in time".to_owned()),
    }
}

/// An error with what is behind it.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
