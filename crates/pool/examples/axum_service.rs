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
use axum::routing::get;
use dbvitals_pool::{Pool, Postgres, Settings, health_endpoint};

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
            health_endpoint("db", pool.clone(), Duration::from_secs(1)),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, service)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    // What is still out gets five seconds; the others say goodbye.
    pool.close(Duration::from_secs(5)).await;
    Ok(())
}

async fn now(State(pool): State<Pool<Postgres>>) -> Result<String, (StatusCode, String)> {
    // A read does no harm when done twice: a connection that dies under it goes unnoticed.
    let mut lease = pool.acquire().await.map_err(away)?;
    let row = lease.run(async |session| session.query_one("SELECT now()::text", &[]).await);
    Ok(row.await.map_err(away)?.get(0))
}

fn away(error: impl Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
