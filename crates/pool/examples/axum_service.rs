//! A web service on PostgreSQL: a query through the pool, and the deep check of its balancer.
//!
//! ```text
//! cargo run -p dbvitals-pool --features tokio-postgres,axum --example axum_service -- \
//!     "host=127.0.0.1 user=vitals password=secret dbname=vitals"
//! curl -i 127.0.0.1:8080/now; curl -i 127.0.0.1:8080/health/db
//! ```

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dbvitals_pool::{Pool, Postgres, PostgresError, RunError, Settings, health_endpoint};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = env::args()
        .nth(1)
        .unwrap_or("host=127.0.0.1 user=vitals".to_owned());
    let pool = Pool::builder(Postgres::new(config.parse()?))
        .settings(Settings {
            max_open: 20,
            acquire_timeout: Duration::from_secs(2),
            ..Settings::default()
        })
        .build()?;
    let service = axum::Router::new()
        .route("/now", get(now))
        .with_state(pool.clone())
        .route(
            "/health/db",
            health_endpoint("db", pool.clone(), Duration::from_secs(2)),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, service)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    // What is still out gets five seconds; the others say goodbye.
    pool.close(Duration::from_secs(5)).await;
    Ok(())
}

async fn now(State(pool): State<Pool<Postgres>>) -> Result<String, Failure> {
    // A read does no harm when done twice: if its connection dies, it is run again on another one.
    let row =
        pool.run_repeatable(async |session| session.query_one("SELECT now()::text", &[]).await);
    Ok(row.await?.get(0))
}

/// Why there is no answer.
struct Failure(RunError<PostgresError>);

impl From<RunError<PostgresError>> for Failure {
    fn from(error: RunError<PostgresError>) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    #[expect(clippy::print_stderr, reason = "an example")]
    fn into_response(self) -> Response {
        // What the server says is for the log: it may name tables, and the client can do nothing.
        eprintln!("failed to answer: {}", self.0);
        let (status, words) = match &self.0 {
            // The database is away, or the pool is too small: later it may go well.
            RunError::Acquire(_) => (StatusCode::SERVICE_UNAVAILABLE, "no connection in time"),
            // Three connections were lost, one after the other.
            RunError::Commands(error) if error.as_db_error().is_none() => {
                (StatusCode::SERVICE_UNAVAILABLE, "the connection was lost")
            }
            RunError::Commands(_) | _ => (StatusCode::INTERNAL_SERVER_ERROR, "the query failed"),
        };
        (status, words).into_response()
    }
}
