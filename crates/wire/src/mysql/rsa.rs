//! RSAES-OAEP encryption with a public key (RFC 8017, 7.1.1; SHA-1, no label).
//!
//! The one place for it is caching_sha2_password's full exchange without TLS, where the password
//! goes to the server under the server's own key. Written here over a big-integer crate: all of
//! the `rsa` crate's releases are under an open advisory (RUSTSEC-2023-0071; it is about private
//! keys, which are not used here, but every user's audit would ring), and the formula is short. The
//! seed is an argument, so the crate needs no random generator. Checked against OpenSSL.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use pkcs1::RsaPublicKeyRef;
use pkcs1::der::{Decode as _, DecodePem as _};
use sha1::{Digest as _, Sha1};
use spki::SubjectPublicKeyInfoOwned;

/// The length of SHA-1's digests, and so of OAEP's seed.
pub(super) const SEED_LENGTH: usize = 20;

/// Moduli from 1024 to 8192 bits: a peer does not decide how long we calculate.
const MODULUS_LENGTHS: std::ops::RangeInclusive<usize> = 128..=1024;
const EXPONENT_LENGTH_MAX: usize = 8;

/// Encrypts `message` for the owner of `public_key` (PEM, SubjectPublicKeyInfo).
///
/// `None` where the key is none, is out of bounds, or is too short for the message.
pub(super) fn encrypt(
    public_key: &[u8],
    message: &[u8],
    seed: [u8; SEED_LENGTH],
) -> Option<Vec<u8>> {
    let key = SubjectPublicKeyInfoOwned::from_pem(public_key).ok()?;
    if key.algorithm.oid != pkcs1::ALGORITHM_OID {
        return None;
    }
    let key = RsaPublicKeyRef::from_der(key.subject_public_key.as_bytes()?).ok()?;
    let (modulus, exponent) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    if !MODULUS_LENGTHS.contains(&modulus.len()) || exponent.len() > EXPONENT_LENGTH_MAX {
        return None;
    }
    let encoded = encode_oaep(message, seed, modulus.len())?;
    power(&encoded, exponent, modulus)
}

/// The message as a number of the modulus' length: zero, masked seed, masked data.
fn encode_oaep(
    message: &[u8],
    mut seed: [u8; SEED_LENGTH],
    modulus_length: usize,
) -> Option<Vec<u8>> {
    let data_length = modulus_length.checked_sub(1 + SEED_LENGTH)?;
    let padding_length = data_length.checked_sub(SEED_LENGTH + 1 + message.len())?;
    let mut data = Sha1::digest(b"").to_vec();
    data.resize(SEED_LENGTH + padding_length, 0);
    data.push(1);
    data.extend_from_slice(message);
    mask(&mut data, &seed);
    mask(&mut seed, &data);
    Some([&[0], &seed[..], &data].concat())
}

/// MGF1: covers `data` with as many digests of `seed` and a counter as it takes.
fn mask(data: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(data.chunks_mut(SEED_LENGTH)) {
        let digest = Sha1::new()
            .chain_update(seed)
            .chain_update(counter.to_be_bytes())
            .finalize();
        for (byte, mask) in chunk.iter_mut().zip(digest) {
            *byte ^= mask;
        }
    }
}

/// `base ^ exponent mod modulus`, all big-endian, as long as the modulus.
fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let bits = u32::try_from(modulus.len()).ok()?.checked_mul(8)?;
    let modulus_number = BoxedUint::from_be_slice(modulus, bits).ok()?;
    let params = BoxedMontyParams::new_vartime(Odd::new(modulus_number).into_option()?);
    let base = BoxedUint::from_be_slice(base, bits).ok()?;
    let exponent = BoxedUint::from_be_slice_vartime(exponent);
    let power = BoxedMontyForm::new(base, &params)
        .pow(&exponent)
        .retrieve()
        .to_be_bytes();
    // The number's storage is whole words, longer than a modulus of an odd length.
    power
        .get(power.len().checked_sub(modulus.len())?..)
        .map(<[u8]>::to_vec)
}

#[cfg(test)]
pub(super) mod test_key;

#[cfg(test)]
mod tests {
    use super::*;
    use test_key::{PUBLIC_KEY, decrypt, unhex};

    #[test]
    fn what_openssl_encrypts_the_test_key_reads() {
        assert_eq!(
            decrypt(&unhex(test_key::BY_OPENSSL)),
            b"a password, said OpenSSL"
        );
    }

    #[test]
    fn what_is_encrypted_the_test_key_reads() {
        for message in [&b""[..], b"s", b"secret\0", &[0xff; 214]] {
            let encrypted = encrypt(PUBLIC_KEY.as_bytes(), message, [9; SEED_LENGTH]).unwrap();
            assert_eq!(encrypted.len(), 256);
            assert_eq!(decrypt(&encrypted), message);
        }
    }

    #[test]
    fn another_seed_gives_another_ciphertext() {
        let encrypt = |seed| encrypt(PUBLIC_KEY.as_bytes(), b"secret", [seed; SEED_LENGTH]);
        assert_eq!(encrypt(1), encrypt(1));
        assert_ne!(encrypt(1), encrypt(2));
    }

    #[test]
    fn a_message_too_long_for_the_key_is_refused() {
        assert_eq!(
            encrypt(PUBLIC_KEY.as_bytes(), &[1; 215], [9; SEED_LENGTH]),
            None
        );
    }

    #[test]
    fn what_is_no_usable_key_is_refused() {
        #[track_caller]
        fn check(public_key: &str) {
            assert_eq!(
                encrypt(public_key.as_bytes(), b"secret", [9; SEED_LENGTH]),
                None
            );
        }
        check("");
        check("no key");
        check(&PUBLIC_KEY[..200]);
        check("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
        // An Ed25519 key, and a modulus that is even.
        check(
            "-----BEGIN PUBLIC KEY-----\n\
             MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
             -----END PUBLIC KEY-----\n",
        );
        assert_eq!(power(&[2; 128], &[3], &[0xf0; 128]), None);
    }
}
