//! A 2048-bit key made for tests, to read what [`encrypt`](super::encrypt) wrote.
//!
//! The key, and a ciphertext to measure its use by, were made with OpenSSL.

use super::{SEED_LENGTH, mask, power};
use pkcs1::RsaPublicKeyRef;
use pkcs1::der::{Decode as _, DecodePem as _};
use spki::SubjectPublicKeyInfoOwned;

/// As caching_sha2_password's server sends it.
pub(crate) const PUBLIC_KEY: &str = include_str!("../../../tests/golden/mysql/rsa_public_key.pem");
const PRIVATE_EXPONENT: &str = include_str!("../../../tests/golden/mysql/rsa_private_exponent.hex");
pub(super) const BY_OPENSSL: &str =
    include_str!("../../../tests/golden/mysql/rsa_encrypted_by_openssl.hex");

/// The message in a ciphertext, by the formula of RFC 8017 read backwards.
pub(crate) fn decrypt(ciphertext: &[u8]) -> Vec<u8> {
    let key = SubjectPublicKeyInfoOwned::from_pem(PUBLIC_KEY).unwrap();
    let key = RsaPublicKeyRef::from_der(key.subject_public_key.raw_bytes()).unwrap();
    let encoded = power(ciphertext, &unhex(PRIVATE_EXPONENT), key.modulus.as_bytes()).unwrap();
    let (seed, data) = encoded[1..].split_at(SEED_LENGTH);
    let (mut seed, mut data) = (seed.to_vec(), data.to_vec());
    mask(&mut seed, &data);
    mask(&mut data, &seed);
    let message = data[SEED_LENGTH..]
        .iter()
        .position(|byte| *byte == 1)
        .unwrap();
    data.split_off(SEED_LENGTH + message + 1)
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|character| character.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
