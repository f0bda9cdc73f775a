//! The client's answers to the server's AuthenticationXXX messages.
//!
//! Knows trust, a password in clear, md5 and SCRAM-SHA-256. A password in clear is sent over an
//! open channel too, as libpq does: whoever wants otherwise requires TLS. Each request is taken
//! only in its turn, so that a server cannot have a proof skipped or a password asked twice.
//! Caller: the client's login.

use std::mem;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use secrecy::ExposeSecret;

use super::{
    message::{Body, Malformed, frontend, put_message, put_sized, put_text},
    scram,
};
use crate::{Login, Refusal, text};

/// SQLSTATE invalid_password.
pub(super) const INVALID_PASSWORD: &str = "28P01";
/// SQLSTATE invalid_authorization_specification.
pub(super) const INVALID_AUTHORIZATION: &str = "28000";

const MECHANISMS_LENGTH_MAX: usize = 128;

/// The Int32 that tells the AuthenticationXXX messages apart.
pub(super) mod code {
    pub(in crate::postgres) const OK: i32 = 0;
    pub(in crate::postgres) const KERBEROS_V5: i32 = 2;
    pub(in crate::postgres) const CLEARTEXT_PASSWORD: i32 = 3;
    pub(in crate::postgres) const MD5_PASSWORD: i32 = 5;
    pub(in crate::postgres) const SCM_CREDENTIAL: i32 = 6;
    pub(in crate::postgres) const GSS: i32 = 7;
    pub(in crate::postgres) const SSPI: i32 = 9;
    pub(in crate::postgres) const SASL: i32 = 10;
    pub(in crate::postgres) const SASL_CONTINUE: i32 = 11;
    pub(in crate::postgres) const SASL_FINAL: i32 = 12;
}

/// What the server asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Nothing more.
    Ok,
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    ScramSha256,
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    /// Something this client cannot do, by its name.
    Unsupported(String),
}

impl Request {
    /// Reads the body of an AuthenticationXXX message.
    pub(super) fn parse(mut body: Body<'_>) -> Result<Self, Malformed> {
        Ok(match body.i32()? {
            code::OK => Self::Ok,
            code::CLEARTEXT_PASSWORD => Self::CleartextPassword,
            code::MD5_PASSWORD => Self::Md5Password {
                salt: body.array()?,
            },
            code::SASL => Self::parse_mechanisms(body)?,
            code::SASL_CONTINUE => Self::SaslContinue(body.rest().into()),
            code::SASL_FINAL => Self::SaslFinal(body.rest().into()),
            code::KERBEROS_V5 => Self::Unsupported("Kerberos V5".into()),
            code::SCM_CREDENTIAL => Self::Unsupported("SCM credentials".into()),
            code::GSS => Self::Unsupported("GSSAPI".into()),
            code::SSPI => Self::Unsupported("SSPI".into()),
            other => Self::Unsupported(format!("authentication method {other}")),
        })
    }

    /// Reads a list of SASL mechanisms, the server's favourite first. SCRAM-SHA-256-PLUS, which
    /// binds to the TLS channel, is always offered along with plain SCRAM-SHA-256.
    fn parse_mechanisms(mut body: Body<'_>) -> Result<Self, Malformed> {
        let offered = body.rest();
        loop {
            match body.text()? {
                b"" => break,
                mechanism if mechanism == scram::MECHANISM.as_bytes() => {
                    return Ok(Self::ScramSha256);
                }
                _ => {}
            }
        }
        let names = text::clean(offered, MECHANISMS_LENGTH_MAX);
        Ok(Self::Unsupported(format!("SASL {}", names.trim_end())))
    }
}

/// How far the exchange has got.
#[derive(Debug, Default)]
pub(super) enum Exchange {
    /// The server has asked for nothing yet.
    #[default]
    Unasked,
    /// A password was sent, in clear or as md5.
    PasswordSent,
    /// SCRAM's client-first was sent.
    ScramStarted(scram::Client),
    /// SCRAM's client-final was sent.
    ScramProved(scram::ServerProof),
    /// The server proved that it knows the password's keys.
    ServerProved,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was answered.
    Answered,
    /// The server lets us in.
    Admitted,
    /// It cannot be answered; the client refuses in the server's name.
    Refused(Refusal),
}

impl Exchange {
    /// Answers a request of the server.
    pub(super) fn handle_request(
        &mut self,
        request: Request,
        login: &Login,
        out: &mut Vec<u8>,
    ) -> Result<Step, Malformed> {
        if let Request::Unsupported(method) = request {
            return Ok(Step::Refused(unsupported(&method)));
        }
        if request == Request::Ok {
            return match self {
                Self::Unasked | Self::PasswordSent | Self::ServerProved => Ok(Step::Admitted),
                Self::ScramStarted(_) | Self::ScramProved(_) => Err(Malformed(
                    "the server's SCRAM signature before AuthenticationOk",
                )),
            };
        }
        let Some(password) = &login.credentials.password else {
            return Ok(Step::Refused(no_password()));
        };
        let password = password.expose_secret();
        *self = match (mem::take(self), request) {
            (Self::Unasked, Request::CleartextPassword) => {
                put_message(out, frontend::PASSWORD, |body| put_text(body, password));
                Self::PasswordSent
            }
            (Self::Unasked, Request::Md5Password { salt }) => {
                let digest = md5_password(&login.credentials.user, password, salt);
                put_message(out, frontend::PASSWORD, |body| put_text(body, &digest));
                Self::PasswordSent
            }
            (Self::Unasked, Request::ScramSha256) => {
                let client = scram::Client::new("", BASE64_STANDARD.encode(login.entropy));
                put_message(out, frontend::PASSWORD, |body| {
                    put_text(body, scram::MECHANISM);
                    put_sized(body, Some(client.first().as_bytes()));
                });
                Self::ScramStarted(client)
            }
            (Self::ScramStarted(client), Request::SaslContinue(server_first)) => {
                let (answer, proof) = client.handle_server_first(&server_first, password)?;
                put_message(out, frontend::PASSWORD, |body| {
                    body.extend(answer.as_bytes())
                });
                Self::ScramProved(proof)
            }
            (Self::ScramProved(proof), Request::SaslFinal(server_final)) => {
                proof.verify(&server_final)?;
                Self::ServerProved
            }
            _ => return Err(Malformed("an authentication request in its turn")),
        };
        Ok(Step::Answered)
    }
}

/// What a PasswordMessage carries for AuthenticationMD5Password.
pub(super) fn md5_password(user: &str, password: &str, salt: [u8; 4]) -> String {
    let hashed = hex(&Md5::new()
        .chain_update(password)
        .chain_update(user)
        .finalize());
    let salted = hex(&Md5::new()
        .chain_update(hashed)
        .chain_update(salt)
        .finalize());
    format!("md5{salted}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn no_password() -> Refusal {
    Refusal {
        sqlstate: INVALID_PASSWORD.into(),
        message: "the server asks for a password and none is configured".into(),
        fatal: true,
        ..Refusal::default()
    }
}

fn unsupported(method: &str) -> Refusal {
    Refusal {
        sqlstate: INVALID_AUTHORIZATION.into(),
        message: format!(
            "the server asks for {method}; supported are trust, password, md5 and scram-sha-256"
        ),
        fatal: true,
        ..Refusal::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::message::Pending, *};
    use crate::{Credentials, TlsOffer};

    fn login() -> Login {
        let credentials = Credentials::new("mad5").with_password("sesame");
        Login::new(credentials, TlsOffer::Never, [7; 32])
    }

    fn parse(body: &[u8]) -> Result<Request, Malformed> {
        let mut bytes = Vec::new();
        put_message(&mut bytes, b'R', |message| message.extend_from_slice(body));
        let message = Pending::default()
            .next_message(&mut &bytes[..], 1024)
            .unwrap()
            .unwrap();
        Request::parse(message.body())
    }

    fn check(body: &[u8], expected: Request) {
        assert_eq!(parse(body), Ok(expected), "{}", body.escape_ascii());
    }

    #[test]
    fn requests_are_told_by_their_codes() {
        check(b"\0\0\0\0", Request::Ok);
        check(b"\0\0\0\x03", Request::CleartextPassword);
        check(b"\0\0\0\x05salt", Request::Md5Password { salt: *b"salt" });
        check(b"\0\0\0\x0aSCRAM-SHA-256\0\0", Request::ScramSha256);
        check(
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            Request::ScramSha256,
        );
        check(
            b"\0\0\0\x0br=nonce",
            Request::SaslContinue(b"r=nonce".into()),
        );
        check(b"\0\0\0\x0cv=proof", Request::SaslFinal(b"v=proof".into()));
        check(b"\0\0\0\x07", Request::Unsupported("GSSAPI".into()));
        check(
            b"\0\0\0\x0aOAUTHBEARER\0\0",
            Request::Unsupported("SASL OAUTHBEARER".into()),
        );
        check(
            b"\0\0\0\x63",
            Request::Unsupported("authentication method 99".into()),
        );
    }

    #[test]
    fn requests_cut_short_are_malformed() {
        for body in [&b"\0\0"[..], b"\0\0\0\x05sal", b"\0\0\0\x0aSCRAM-SHA"] {
            assert!(parse(body).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn md5_hashes_as_postgresql_does() {
        // printf 'sesamemad5' | md5sum; then that text and the salt again.
        let expected = "md592c563768b1cd89a096e5dbf6d276df9";
        assert_eq!(md5_password("mad5", "sesame", *b"salt"), expected);
    }

    #[test]
    fn a_request_out_of_turn_is_malformed() {
        let mut out = Vec::new();
        let mut exchange = Exchange::Unasked;
        let mut ask = |request| exchange.handle_request(request, &login(), &mut out);
        assert_eq!(ask(Request::CleartextPassword), Ok(Step::Answered));
        assert!(ask(Request::CleartextPassword).is_err());
        assert!(ask(Request::SaslFinal(b"v=".into())).is_err());
    }

    #[test]
    fn a_server_cannot_skip_its_proof() {
        let mut out = Vec::new();
        let mut exchange = Exchange::Unasked;
        let mut ask = |request| exchange.handle_request(request, &login(), &mut out);
        assert_eq!(ask(Request::ScramSha256), Ok(Step::Answered));
        assert!(ask(Request::Ok).is_err());
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let mut out = Vec::new();
        let mut login = login();
        login.credentials.password = None;
        let mut ask = |request| Exchange::Unasked.handle_request(request, &login, &mut out);
        assert_eq!(
            ask(Request::Md5Password { salt: [0; 4] }),
            Ok(Step::Refused(no_password()))
        );
        let refused = ask(Request::Unsupported("GSSAPI".into()));
        assert_eq!(refused, Ok(Step::Refused(unsupported("GSSAPI"))));
        assert!(out.is_empty(), "nothing is sent after a refusal");
    }
}
