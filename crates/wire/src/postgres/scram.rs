//! SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, without channel binding.
//!
//! Four messages: client-first, server-first, client-final with the client's proof, server-final
//! with the server's. Each side is a type per message awaited, so that no step can be left out.
//! Both are pure: nonces and salts come from the caller. Callers: `authentication` and the server.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::message::Malformed;

/// The name of the mechanism in SASL.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// The rounds of hashing a server may ask for; PostgreSQL asks for 4096. The bound keeps a hostile
/// server from spending our CPU.
const ITERATIONS_MAX: u32 = 100_000;

/// The header that says "no channel binding, no other identity", and how client-final repeats it.
const GS2_HEADER: &str = "n,,";
const GS2_HEADER_BASE64: &str = "biws";

/// The client, having sent client-first; awaits server-first.
#[derive(Debug)]
pub(super) struct Client {
    nonce: String,
    first_bare: String,
}

impl Client {
    /// Starts an exchange. PostgreSQL takes the user from the StartupMessage and ignores this one.
    pub(super) fn new(user: &str, nonce: String) -> Self {
        let first_bare = format!("n={user},r={nonce}");
        Self { nonce, first_bare }
    }

    /// The message client-first.
    pub(super) fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// Answers server-first with client-final.
    pub(super) fn handle_server_first(
        self,
        server_first: &[u8],
        password: &str,
    ) -> Result<(String, ServerProof), Malformed> {
        let server_first = text(server_first)?;
        let mut attributes = server_first.split(',');
        let nonce = attribute(&mut attributes, "r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Malformed("a SCRAM nonce that continues ours"));
        }
        let salt = decode(attribute(&mut attributes, "s=")?)?;
        let iterations = attribute(&mut attributes, "i=")?.parse().unwrap_or(0);
        if !(1..=ITERATIONS_MAX).contains(&iterations) {
            return Err(Malformed("a SCRAM iteration count from 1 to 100000"));
        }

        let final_bare = format!("c={GS2_HEADER_BASE64},r={nonce}");
        let transcript = format!("{},{server_first},{final_bare}", self.first_bare);
        let keys = Keys::derive(password, &salt, iterations);
        let proof = xor(keys.client, keys.client_signature(&transcript));
        let client_final = format!("{final_bare},p={}", BASE64_STANDARD.encode(proof));
        Ok((
            client_final,
            ServerProof {
                expected: mac(&keys.server, transcript.as_bytes()),
            },
        ))
    }
}

/// The client, having sent client-final; awaits server-final.
#[derive(Debug)]
pub(super) struct ServerProof {
    expected: Hmac<Sha256>,
}

impl ServerProof {
    /// Checks that the server knows the password's keys too.
    pub(super) fn verify(self, server_final: &[u8]) -> Result<(), Malformed> {
        let signature = decode(attribute(&mut text(server_final)?.split(','), "v=")?)?;
        self.expected
            .verify_slice(&signature)
            .map_err(|_| Malformed("a SCRAM signature made with the password"))
    }
}

/// The server, having sent server-first; awaits client-final.
#[derive(Debug)]
pub(super) struct Server {
    nonce: String,
    transcript: String,
    keys: Keys,
}

impl Server {
    const ITERATIONS: u32 = 4096;

    /// Answers client-first with server-first.
    pub(super) fn new(
        client_first: &[u8],
        nonce: &str,
        salt: &[u8],
        password: &str,
    ) -> Result<(Self, String), Malformed> {
        let first_bare = text(client_first)?
            .strip_prefix(GS2_HEADER)
            .ok_or(Malformed("client-first without channel binding"))?;
        let mut attributes = first_bare.split(',');
        let _user = attribute(&mut attributes, "n=")?;
        let nonce = format!("{}{nonce}", attribute(&mut attributes, "r=")?);
        let salt_base64 = BASE64_STANDARD.encode(salt);
        let server_first = format!("r={nonce},s={salt_base64},i={}", Self::ITERATIONS);
        let transcript = format!("{first_bare},{server_first}");
        let keys = Keys::derive(password, salt, Self::ITERATIONS);
        Ok((
            Self {
                nonce,
                transcript,
                keys,
            },
            server_first,
        ))
    }

    /// Answers client-final with server-final; `None` if the client's password is another.
    pub(super) fn handle_client_final(
        self,
        client_final: &[u8],
    ) -> Result<Option<String>, Malformed> {
        let (final_bare, proof) = text(client_final)?
            .rsplit_once(",p=")
            .ok_or(Malformed("a SCRAM proof"))?;
        if final_bare != format!("c={GS2_HEADER_BASE64},r={}", self.nonce) {
            return Err(Malformed("the header and the nonce of this SCRAM exchange"));
        }
        let proof = decode(proof)?
            .try_into()
            .map_err(|_| Malformed("a SCRAM proof of 32 bytes"))?;
        let transcript = format!("{},{final_bare}", self.transcript);
        let client_key = xor(proof, self.keys.client_signature(&transcript));
        let signature = mac(&self.keys.server, transcript.as_bytes())
            .finalize()
            .into_bytes();
        Ok((client_key == self.keys.client)
            .then(|| format!("v={}", BASE64_STANDARD.encode(signature))))
    }
}

/// What both sides derive from the password.
struct Keys {
    client: [u8; 32],
    server: [u8; 32],
}

impl Keys {
    fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            client: mac(&salted, b"Client Key").finalize().into_bytes().into(),
            server: mac(&salted, b"Server Key").finalize().into_bytes().into(),
        }
    }

    /// Hides the client's key in its proof.
    fn client_signature(&self, transcript: &str) -> [u8; 32] {
        let stored = Sha256::digest(self.client);
        mac(&stored, transcript.as_bytes())
            .finalize()
            .into_bytes()
            .into()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// The function Hi of RFC 5802, which is PBKDF2 of one block.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    // PostgreSQL takes a password that SASLprep forbids as it is.
    let prepared = stringprep::saslprep(password).unwrap_or(password.into());
    let keyed = mac(prepared.as_bytes(), b"");
    let mut block: [u8; 32] = keyed
        .clone()
        .chain_update(salt)
        .chain_update([0, 0, 0, 1])
        .finalize()
        .into_bytes()
        .into();
    let mut salted = block;
    for _ in 1..iterations {
        block = keyed
            .clone()
            .chain_update(block)
            .finalize()
            .into_bytes()
            .into();
        salted = xor(salted, block);
    }
    salted
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of every length")
        .chain_update(text)
}

fn xor(mut left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
    left
}

fn text(message: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(message).map_err(|_| Malformed("a SCRAM message in UTF-8"))
}

fn attribute<'a>(
    attributes: &mut impl Iterator<Item = &'a str>,
    name: &str,
) -> Result<&'a str, Malformed> {
    attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix(name))
        .ok_or(Malformed(
            "the attributes of a SCRAM message in their order",
        ))
}

fn decode(value: &str) -> Result<Vec<u8>, Malformed> {
    BASE64_STANDARD
        .decode(value)
        .map_err(|_| Malformed("base64 in a SCRAM message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of RFC 7677, section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn client() -> Client {
        Client::new("user", NONCE.into())
    }

    fn server() -> Server {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let first = client().first();
        let (server, server_first) =
            Server::new(first.as_bytes(), SERVER_NONCE, &salt, "pencil").unwrap();
        assert_eq!(server_first, SERVER_FIRST);
        server
    }

    #[test]
    fn the_client_speaks_as_in_the_example_of_rfc_7677() {
        assert_eq!(client().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (client_final, proof) = client()
            .handle_server_first(SERVER_FIRST.as_bytes(), "pencil")
            .unwrap();
        assert_eq!(client_final, CLIENT_FINAL);
        assert_eq!(proof.verify(SERVER_FINAL.as_bytes()), Ok(()));
    }

    #[test]
    fn the_server_speaks_as_in_the_example_of_rfc_7677() {
        let answer = server().handle_client_final(CLIENT_FINAL.as_bytes());
        assert_eq!(answer, Ok(Some(SERVER_FINAL.into())));
    }

    #[test]
    fn another_password_is_no_proof() {
        let (client_final, _) = client()
            .handle_server_first(SERVER_FIRST.as_bytes(), "pen")
            .unwrap();
        assert_eq!(
            server().handle_client_final(client_final.as_bytes()),
            Ok(None)
        );
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for server_final in [
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
            "v=",
            "e=other",
            "",
        ] {
            let (_, proof) = client()
                .handle_server_first(SERVER_FIRST.as_bytes(), "pencil")
                .unwrap();
            assert!(
                proof.verify(server_final.as_bytes()).is_err(),
                "{server_final}"
            );
        }
    }

    #[test]
    fn a_server_first_out_of_order_or_bounds_is_malformed() {
        for server_first in [
            "",
            "\u{fffd}",
            "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO%,s=no base64,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO%,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqO%,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=100001",
            "r=rOprNGfwEbeRWgbNEkqO%,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999",
            "m=extension,r=rOprNGfwEbeRWgbNEkqO%,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
        ] {
            let answer = client().handle_server_first(server_first.as_bytes(), "pencil");
            assert!(answer.is_err(), "{server_first}");
        }
    }

    #[test]
    fn passwords_are_prepared_where_they_can_be() {
        let salted = |password| salted_password(password, b"salt", 1);
        // A soft hyphen is mapped to nothing, a no-break space to a space.
        assert_eq!(salted("I\u{ad}X a"), salted("IX\u{a0}a"));
        // A control character is forbidden, so this one is taken as it is.
        assert_ne!(salted("bell\u{7}\u{ad}"), salted("bell\u{7}"));
    }
}
