//! What to do about a certificate: look at it, then correct it or what is asked of it.

use super::case::Case;

/// No trusted TLS could be had.
pub(super) fn untrusted(case: &Case<'_>) -> String {
    if case.detail.contains("does not offer it") {
        return format!(
            "The server has no TLS: enable TLS on the server ({}), or ask for less with tls=prefer, which then speaks plain text.",
            case.words.enable_tls
        );
    }
    if case.detail.contains("handshake failed") {
        return format!(
            "Client and server found no common ground, often a server that knows only TLS 1.0 or 1.1: see what it offers with {}, or let plain text do with tls=prefer.",
            look(case, "")
        );
    }
    format!(
        "Name the authority that signed the server's certificate with ca=FILE ({} shows who did), or give up the check of the certificate with tls=require.",
        look(case, " -showcerts")
    )
}

/// Not valid today.
pub(super) fn expired(case: &Case<'_>) -> String {
    format!(
        "Renew the server's certificate, and check the clocks of both machines: {} | openssl x509 -noout -dates. A new file is loaded without a restart ({}); tls=require does without dates until then.",
        look(case, ""),
        case.words.reload_tls
    )
}

/// Valid for another host.
pub(super) fn wrong_name(case: &Case<'_>) -> String {
    format!(
        "Use a host name that stands in the certificate ({} | openssl x509 -noout -ext subjectAltName), or issue one that names {}.",
        look(case, ""),
        case.host
    )
}

/// The command that shows the certificate.
fn look(case: &Case<'_>, option: &str) -> String {
    let host = match case.host.contains(':') {
        true => format!("[{}]", case.host),
        false => case.host.to_owned(),
    };
    format!(
        "openssl s_client -starttls {} -connect {host}:{}{option} </dev/null",
        case.words.starttls,
        case.port.unwrap_or_default()
    )
}
