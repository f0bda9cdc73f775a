//! How the server lets a client in: asks for what its options say, and judges the answer.
//!
//! One request for trust, a password in clear and md5; two for SCRAM. Every user has the one
//! password of the options. Caller: [`Server`](super::Server).

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    Authentication, ServerOptions,
    postgres::{
        authentication::{code, md5_password},
        message::{Body, Malformed, Message, backend, frontend, put_message, put_text},
        scram,
    },
};

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Admission {
    user: String,
    awaited: Awaited,
}

/// What the client's next PasswordMessage has to be.
#[derive(Debug)]
enum Awaited {
    Nothing,
    /// This text: the password, or its md5.
    Text(String),
    /// SCRAM's client-first.
    ClientFirst {
        password: String,
        salt: Vec<u8>,
        nonce: String,
    },
    /// SCRAM's client-final.
    ClientFinal(scram::Server),
}

/// What came of a client's message.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is asked for more.
    Asked,
    /// It is in, and was told so.
    Admitted { user: String },
    /// It failed; the caller tells it.
    Denied { user: String },
}

impl Admission {
    /// Asks a client for what `options` want of it.
    pub(super) fn start(
        options: &ServerOptions,
        user: String,
        out: &mut Vec<u8>,
    ) -> (Self, Answer) {
        let [s0, s1, s2, s3, ..] = options.entropy;
        let md5_salt = [s0, s1, s2, s3];
        let mut answer = Answer::Asked;
        let awaited = match &options.authentication {
            Authentication::Trust => {
                put_request(out, code::OK, b"");
                answer = Answer::Admitted { user: user.clone() };
                Awaited::Nothing
            }
            Authentication::Cleartext(password) => {
                put_request(out, code::CLEARTEXT_PASSWORD, b"");
                Awaited::Text(password.clone())
            }
            Authentication::Md5(password) => {
                put_request(out, code::MD5_PASSWORD, &md5_salt);
                Awaited::Text(md5_password(&user, password, md5_salt))
            }
            Authentication::Scram(password) => {
                let mut mechanisms = Vec::new();
                put_text(&mut mechanisms, scram::MECHANISM);
                put_text(&mut mechanisms, "");
                put_request(out, code::SASL, &mechanisms);
                let (salt, nonce) = options.entropy.split_at(16);
                Awaited::ClientFirst {
                    password: password.clone(),
                    salt: salt.into(),
                    nonce: BASE64_STANDARD.encode(nonce),
                }
            }
            // Not ours: nobody gets in.
            Authentication::MySqlNative(_)
            | Authentication::CachingSha2Fast(_)
            | Authentication::CachingSha2Full(_)
            | Authentication::Ed25519(_) => {
                answer = Answer::Denied { user: user.clone() };
                Awaited::Nothing
            }
        };
        (Self { user, awaited }, answer)
    }

    /// Judges a message of the client.
    pub(super) fn handle_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer, Malformed> {
        if message.tag != frontend::PASSWORD {
            return Err(Malformed("a PasswordMessage or a SASL response"));
        }
        let mut body = message.body();
        match std::mem::replace(&mut self.awaited, Awaited::Nothing) {
            Awaited::Nothing => Err(Malformed("no further PasswordMessage")),
            Awaited::Text(expected) => {
                let matches = body.text()? == expected.as_bytes();
                Ok(self.decide(matches, out))
            }
            Awaited::ClientFirst {
                password,
                salt,
                nonce,
            } => {
                let client_first = initial_response(body)?;
                let (exchange, server_first) =
                    scram::Server::new(client_first, &nonce, &salt, &password)?;
                put_request(out, code::SASL_CONTINUE, server_first.as_bytes());
                self.awaited = Awaited::ClientFinal(exchange);
                Ok(Answer::Asked)
            }
            Awaited::ClientFinal(exchange) => {
                let server_final = exchange.handle_client_final(body.rest())?;
                if let Some(server_final) = &server_final {
                    put_request(out, code::SASL_FINAL, server_final.as_bytes());
                }
                Ok(self.decide(server_final.is_some(), out))
            }
        }
    }

    fn decide(&self, admitted: bool, out: &mut Vec<u8>) -> Answer {
        let user = self.user.clone();
        if admitted {
            put_request(out, code::OK, b"");
            Answer::Admitted { user }
        } else {
            Answer::Denied { user }
        }
    }
}

/// The client's data in a SASLInitialResponse.
fn initial_response(mut body: Body<'_>) -> Result<&[u8], Malformed> {
    if body.text()? != scram::MECHANISM.as_bytes() {
        return Err(Malformed("the SASL mechanism SCRAM-SHA-256"));
    }
    body.sized()?.ok_or(Malformed("SCRAM's client-first"))
}

fn put_request(out: &mut Vec<u8>, code: i32, data: &[u8]) {
    put_message(out, backend::AUTHENTICATION, |body| {
        body.extend_from_slice(&code.to_be_bytes());
        body.extend_from_slice(data);
    });
}
