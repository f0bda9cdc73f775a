//! Where programs are told how long their accept queues may be.

/// The setting that becomes the argument of listen(), of a program with this name.
pub(super) fn of(command: &str) -> Option<&'static str> {
    let starts = |prefix: &str| command.starts_with(prefix);
    Some(match command {
        "mariadbd" | "mysqld" => "back_log (MySQL, MariaDB; by default 50 + max_connections / 5)",
        "postgres" | "postmaster" => "max_connections (PostgreSQL asks for about twice that many)",
        "pgbouncer" => "listen_backlog (pgbouncer)",
        "haproxy" => "`backlog` of the frontend (HAProxy; by default its maxconn)",
        "nginx" => "`listen … backlog=` (nginx; 511 by default)",
        "redis-server" | "valkey-server" => "tcp-backlog (Redis; 511 by default)",
        "apache2" | "httpd" => {
            "ListenBacklog (Apache; the socket of mod_cgid has DEFAULT_CGID_LISTENBACKLOG, 100, set when it is compiled)"
        }
        "node" => "the backlog of server.listen() (Node.js; 511 by default)",
        "uwsgi" => "`listen` (uWSGI; 100 by default)",
        _ if starts("php-fpm") => "listen.backlog (php-fpm; 511 by default)",
        _ if starts("gunicorn") => "backlog (gunicorn; 2048 by default)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_names() {
        assert!(of("mariadbd").is_some_and(|it| it.starts_with("back_log")));
        assert!(of("php-fpm8.2").is_some_and(|it| it.contains("listen.backlog")));
        assert_eq!(of("sshd"), None);
    }
}
