//! PostgreSQL over TLS: the pool looks at the same socket, and sees ends and bytes, if not words.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dbvitals_pool::{Ending, Pool, Postgres, Session, Stream};
use dbvitals_testkit::{
    Postgres as Server, PostgresOptions, RealServer as _, TestAuthority, Validity, require_servers,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

use crate::ends::{end_all_on, wait_for_the_limit};
use crate::stage::{Ends as _, MS, Talks, eventually, pool, settings};

// --- rustls for tokio-postgres ------------------------------------------------------------------

#[derive(Clone)]
struct Rustls(TlsConnector);

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

struct Encrypted(client::TlsStream<Stream>);

impl MakeTlsConnect<Stream> for Rustls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        Ok(Handshake {
            connector: self.0.clone(),
            name: ServerName::try_from(domain.to_owned())?,
        })
    }
}

impl TlsConnect<Stream> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Stream) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, stream).await?;
            Ok(Encrypted(stream))
        })
    }
}

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

// --- The scenarios ------------------------------------------------------------------------------

impl Talks for Postgres<Rustls> {
    async fn ask(session: &mut Session) -> Result<u64, Self::Error> {
        <Postgres as Talks>::ask(session).await
    }

    async fn limit_idleness(session: &mut Session) -> Result<(), Self::Error> {
        <Postgres as Talks>::limit_idleness(session).await
    }
}

fn server_of(authority: &TestAuthority) -> Server {
    Server::start(PostgresOptions {
        tls: Some(authority.issue(&["127.0.0.1"], Validity::Current)),
        hba: vec!["hostnossl all vitals all reject".to_owned()],
        ..PostgresOptions::default()
    })
}

fn driver(server: &Server, authority: &TestAuthority) -> Postgres<Rustls> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority.certificate());
    roots
        .add(certificate.expect("a certificate"))
        .expect("a root");
    let provider = Arc::new(crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.port());
    config.user("vitals").password("secret").dbname("vitals");
    config.ssl_mode(SslMode::Require);
    Postgres::with_tls(config, Rustls(TlsConnector::from(Arc::new(tls))))
}

#[tokio::test]
async fn idle_ones_that_the_server_ends_are_not_met() {
    require_servers!();
    let authority = TestAuthority::new();
    let server = server_of(&authority);
    let driver = || driver(&server, &authority);
    end_all_on(
        &server,
        driver(),
        async |server, _| server.kill_all(),
        &[Ending::Killed, Ending::HungUp],
    )
    .await;
    end_all_on(
        &server,
        driver(),
        async |_, pool| wait_for_the_limit(pool).await,
        &[Ending::IdleLimit],
    )
    .await;
    let restart = async |server: &Server, _: &Pool<_>| {
        server.stop_gracefully();
        server.start_again();
    };
    end_all_on(
        &server,
        driver(),
        restart,
        &[Ending::Killed, Ending::HungUp],
    )
    .await;
    let crash = async |server: &Server, _: &Pool<_>| {
        server.kill();
        server.start_again();
    };
    end_all_on(
        &server,
        driver(),
        crash,
        &[Ending::Killed, Ending::HungUp, Ending::Reset],
    )
    .await;
}

#[tokio::test]
async fn a_session_is_encrypted_and_so_is_the_way_to_cancel() {
    require_servers!();
    let authority = TestAuthority::new();
    let server = server_of(&authority);
    let pool = pool(driver(&server, &authority), settings());
    let mut lease = pool.acquire().await.unwrap();
    let ours = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = lease.query_one(ours, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    let sleep = lease.run(async |it| it.execute("SELECT pg_sleep(60)", &[]).await);
    assert!(timeout(100 * MS, sleep).await.is_err());
    drop(lease);
    assert_eq!(pool.close(settings().close_timeout).await, 0);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vitals'";
    eventually("none is left", || server.sql(left).trim() == "0").await;
}
