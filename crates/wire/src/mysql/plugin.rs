//! Authentication plugins: how a password answers a nonce, by each plugin's recipe.
//!
//! Pure functions of password and nonce. The order of messages around them is `login.rs` on the
//! client's side and `server.rs` on the server's. An empty password counts as none, as in every
//! client of these servers.

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::handshake::NONCE_LENGTH;

/// The length of the nonce of MariaDB's ed25519.
pub(super) const ED25519_NONCE_LENGTH: usize = 32;

/// The plugins that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    /// `mysql_native_password`: SHA-1; every server up to MySQL 8.4, and all of MariaDB's.
    NativePassword,
    /// `caching_sha2_password`: SHA-256; MySQL's default since 8.0.
    CachingSha2,
    /// `sha256_password`: the password itself, in TLS or under the server's RSA key. MySQL 5.6 to 9;
    /// also as a decoy, since 8.0: users who do not exist are asked by one plugin or another before
    /// they are refused as for a wrong password.
    Sha256,
    /// `client_ed25519`: MariaDB's plugin `ed25519`.
    Ed25519,
    /// `mysql_clear_password`: the password itself, for servers that ask PAM or LDAP.
    ClearPassword,
}

impl Plugin {
    const ALL: [Self; 5] = [
        Self::NativePassword,
        Self::CachingSha2,
        Self::Sha256,
        Self::Ed25519,
        Self::ClearPassword,
    ];

    /// The name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NativePassword => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Sha256 => "sha256_password",
            Self::Ed25519 => "client_ed25519",
            Self::ClearPassword => "mysql_clear_password",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|plugin| plugin.name().as_bytes() == name)
    }

    /// All names, for people.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The plugin's first answer; `None` where the server's nonce is not of the plugin's length.
    /// What answers in clear is for private channels.
    pub(super) fn answer(self, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::NativePassword | Self::CachingSha2 if password.is_empty() => Some(Vec::new()),
            Self::NativePassword => Some(native_password(password, nonce.first_chunk()?).to_vec()),
            Self::CachingSha2 => Some(caching_sha2(password, nonce.first_chunk()?).to_vec()),
            Self::Ed25519 => Some(ed25519(password, nonce.try_into().ok()?).to_vec()),
            Self::Sha256 | Self::ClearPassword => Some(clear_password(password)),
        }
    }
}

/// `SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password)))`.
fn native_password(password: &str, nonce: &[u8; NONCE_LENGTH]) -> [u8; 20] {
    let once: [u8; 20] = Sha1::digest(password).into();
    let twice = Sha1::digest(once);
    let mask = Sha1::new()
        .chain_update(nonce)
        .chain_update(twice)
        .finalize();
    xor(once, mask.into())
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce)`: the nonce comes last here.
fn caching_sha2(password: &str, nonce: &[u8; NONCE_LENGTH]) -> [u8; 32] {
    let once: [u8; 32] = Sha256::digest(password).into();
    let twice = Sha256::digest(once);
    let mask = Sha256::new()
        .chain_update(twice)
        .chain_update(nonce)
        .finalize();
    xor(once, mask.into())
}

/// The nonce signed with a key made of the password's SHA-512, as if that were an expanded key.
fn ed25519(password: &str, nonce: &[u8; ED25519_NONCE_LENGTH]) -> [u8; 64] {
    let key = ed25519_key(password);
    // `raw_sign` warns of a verifying key that does not belong to the secret one; this one does.
    raw_sign::<Sha512>(&key, nonce, &VerifyingKey::from(&key)).to_bytes()
}

/// Whether `answer` is a signature of `nonce` by who knows `password`.
pub(super) fn ed25519_verifies(password: &str, nonce: &[u8], answer: &[u8]) -> bool {
    Signature::from_slice(answer).is_ok_and(|signature| {
        VerifyingKey::from(&ed25519_key(password))
            .verify(nonce, &signature)
            .is_ok()
    })
}

fn ed25519_key(password: &str) -> ExpandedSecretKey {
    ExpandedSecretKey::from_bytes(&Sha512::digest(password).into())
}

/// The password and a NUL: for mysql_clear_password and sha256_password, and for
/// caching_sha2_password's full exchange.
pub(super) fn clear_password(password: &str) -> Vec<u8> {
    [password.as_bytes(), &[0]].concat()
}

fn xor<const N: usize>(mut left: [u8; N], right: [u8; N]) -> [u8; N] {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(plugin: Plugin, password: &str, nonce: &[u8], expected: &str) {
        let answer = plugin.answer(password, nonce).unwrap();
        let hex: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    /// Nonces and answers as in the tests of go-sql-driver/mysql, computed anew with Python's
    /// hashlib.
    #[test]
    fn known_answers_are_met() {
        let nonce = [
            70, 114, 92, 94, 1, 38, 11, 116, 63, 114, 23, 101, 126, 103, 26, 95, 81, 17, 24, 21,
        ];
        check(
            Plugin::NativePassword,
            "secret",
            &nonce,
            "35b18c9ffbbd7f356dfcac32d3c0f0a41a30cf2d",
        );
        check(Plugin::NativePassword, "", &nonce, "");
        let nonce = [
            10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21,
        ];
        check(
            Plugin::CachingSha2,
            "secret",
            &nonce,
            "f490e76f66d9d86665ce54d98c78d0acfe2fb0b08b423da807144873d30b312c",
        );
        check(
            Plugin::CachingSha2,
            "secret2",
            &nonce,
            "abc3934a012cf342e876071c8ee202de51785b430258a7a0138bc79c4d800bc6",
        );
        check(Plugin::CachingSha2, "", &nonce, "");
        check(Plugin::ClearPassword, "secret", &nonce, "73656372657400");
    }

    #[test]
    fn the_key_of_ed25519_is_the_one_that_mariadb_stores() {
        // The knowledge base: PASSWORD('secret') is 'ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY'.
        let stored = "\
            648814444520e4f56043a2ec9215e63be7992d2d270bc6dee873e36164786096";
        let key = VerifyingKey::from(&ed25519_key("secret"));
        let hex: String = key
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, stored);
    }

    #[test]
    fn a_signature_is_the_one_that_mariadb_took() {
        // The nonce in `golden/mysql/mariadb_ed25519.hex`, which MariaDB 10.11.19 answered with OK;
        // RFC 8032's formulas, written out in Python, give the same.
        let nonce = [
            0xb5, 0x2c, 0x8f, 0xc4, 0x3c, 0xa7, 0x9f, 0x20, 0xa3, 0x69, 0x01, 0x8d, 0xbb, 0x82,
            0x5e, 0x4b, 0xb9, 0x5e, 0xeb, 0xcb, 0x73, 0xc2, 0x64, 0xa3, 0xee, 0xb0, 0x76, 0xbf,
            0x83, 0x33, 0xb8, 0xca,
        ];
        check(
            Plugin::Ed25519,
            "secret",
            &nonce,
            "1d5d67b2b8a1ab073cd632981084523cd01b83765813242aa86c7b8d89aa7924\
             36b6cd78d8296882f20422f5869ba504899c6ae685ac158dabad7c3c7960ab01",
        );
    }

    #[test]
    fn a_signature_is_good_for_its_password_and_nonce_alone() {
        let answer = Plugin::Ed25519.answer("secret", &[5; 32]).unwrap();
        assert!(ed25519_verifies("secret", &[5; 32], &answer));
        assert!(!ed25519_verifies("Secret", &[5; 32], &answer));
        assert!(!ed25519_verifies("secret", &[6; 32], &answer));
        assert!(!ed25519_verifies("secret", &[5; 32], &answer[1..]));
    }

    #[test]
    fn a_nonce_of_the_wrong_length_is_not_answered() {
        assert_eq!(Plugin::NativePassword.answer("secret", &[1; 19]), None);
        assert_eq!(Plugin::CachingSha2.answer("secret", &[1; 8]), None);
        assert_eq!(Plugin::Ed25519.answer("secret", &[1; 33]), None);
    }
}
