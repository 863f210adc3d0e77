//! The data of an `OPENSSH PRIVATE KEY` (OpenSSH, PROTOCOL.key).
//!
//! The `ssh-key` crate opens the envelope's encryption. It does not read the content: its version 0.6 turns away every ECDSA key whose
//! secret number begins with a zero byte, which is half of all keys on P-521.

use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey, EcPoint},
    error::ErrorStack,
    nid::Nid,
    pkey::{Id, PKey, Private},
    rsa::Rsa,
};
use ssh_key::{Cipher, Kdf};
use zeroize::Zeroizing;

use super::KeyProblem;
use crate::domain::Secret;

/// How the data begins.
pub(super) const MAGIC: &[u8] = b"openssh-key-v1\0";

/// More rounds than any key in use has (the default is 16, 1000 take some ten seconds) are damage, or an attempt to keep the run busy.
///
/// A fuzzer must not be kept busy by them either: each round takes some ten milliseconds, and none reads another byte.
const MOST_ROUNDS: u32 = if cfg!(any(test, feature = "fuzzing")) { 32 } else { 10_000 };

pub(super) fn read(data: &[u8], passphrase: Option<&Secret>) -> Result<PKey<Private>, KeyProblem> {
    let mut envelope = Reader(data.strip_prefix(MAGIC).ok_or(KeyProblem::Damaged)?);
    let cipher =
        envelope.name()?.parse::<Cipher>().map_err(|_| KeyProblem::Unsupported("encrypted with an unknown cipher"))?;
    let (kdf_name, kdf_options) = (envelope.name()?, envelope.string()?);
    if envelope.number()? != 1 {
        return Err(KeyProblem::Damaged);
    }
    envelope.string()?; // The public half; we make our own from the private one.
    let mut content = Zeroizing::new(envelope.string()?.to_vec());
    if cipher.is_some() {
        let passphrase = passphrase.ok_or(KeyProblem::NeedsPassphrase)?;
        decrypt(&mut content, cipher, &kdf(kdf_name, kdf_options)?, passphrase, envelope.0)?;
    }
    let mut content = Reader(&content);
    if content.number()? != content.number()? {
        return Err(if cipher.is_some() { KeyProblem::WrongPassphrase } else { KeyProblem::Damaged });
    }
    match content.name()? {
        "ssh-ed25519" => ed25519(&mut content),
        "ssh-rsa" => rsa(&mut content),
        "ecdsa-sha2-nistp256" => ecdsa(&mut content, Nid::X9_62_PRIME256V1),
        "ecdsa-sha2-nistp384" => ecdsa(&mut content, Nid::SECP384R1),
        "ecdsa-sha2-nistp521" => ecdsa(&mut content, Nid::SECP521R1),
        "ssh-dss" => Err(KeyProblem::Unsupported("a DSA key")),
        name if name.starts_with("sk-") => Err(KeyProblem::Unsupported("a key in a FIDO token")),
        _ => Err(KeyProblem::Unsupported("a key of an unknown type")),
    }
}

fn kdf(name: &str, options: &[u8]) -> Result<Kdf, KeyProblem> {
    let mut options = Reader(options);
    match name {
        "bcrypt" => {
            let (salt, rounds) = (options.string()?.to_vec(), options.number()?);
            if rounds <= MOST_ROUNDS { Ok(Kdf::Bcrypt { salt, rounds }) } else { Err(KeyProblem::Damaged) }
        }
        _ => Err(KeyProblem::Unsupported("encrypted in an unknown way")),
    }
}

fn decrypt(content: &mut [u8], cipher: Cipher, kdf: &Kdf, passphrase: &Secret, tag: &[u8]) -> Result<(), KeyProblem> {
    let (key, iv) = kdf.derive_key_and_iv(cipher, passphrase.expose()).map_err(|_| KeyProblem::Damaged)?;
    let tag = match cipher.has_tag() {
        true => Some(tag.try_into().map_err(|_| KeyProblem::Truncated)?),
        false => None,
    };
    cipher.decrypt(&key, &iv, content, tag).map_err(|_| KeyProblem::WrongPassphrase)
}

fn ed25519(content: &mut Reader<'_>) -> Result<PKey<Private>, KeyProblem> {
    let public = content.string()?;
    let (seed, public_again) = content.string()?.split_at_checked(32).ok_or(KeyProblem::Damaged)?;
    let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519).map_err(|_| KeyProblem::Damaged)?;
    let derived = key.raw_public_key().map_err(|_| KeyProblem::Damaged)?;
    if derived == public && derived == public_again { Ok(key) } else { Err(KeyProblem::CannotSign) }
}

fn rsa(content: &mut Reader<'_>) -> Result<PKey<Private>, KeyProblem> {
    let [n, e, d, iqmp, p, q] = [
        content.string()?,
        content.string()?,
        content.string()?,
        content.string()?,
        content.string()?,
        content.string()?,
    ];
    rsa_from(n, e, d, iqmp, p, q).map_err(|_| KeyProblem::Damaged)
}

fn rsa_from(n: &[u8], e: &[u8], d: &[u8], iqmp: &[u8], p: &[u8], q: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let (d, p, q) = (BigNum::from_slice(d)?, BigNum::from_slice(p)?, BigNum::from_slice(q)?);
    let (dp, dq) = (exponent(&d, &p)?, exponent(&d, &q)?);
    let (n, e, iqmp) = (BigNum::from_slice(n)?, BigNum::from_slice(e)?, BigNum::from_slice(iqmp)?);
    PKey::from_rsa(Rsa::from_private_components(n, e, d, p, q, dp, dq, iqmp)?)
}

/// `d mod (prime - 1)`, which this format leaves out (RFC 8017, 3.2).
fn exponent(d: &BigNum, prime: &BigNum) -> Result<BigNum, ErrorStack> {
    let mut less_one = BigNum::new()?;
    less_one.checked_sub(prime, &*BigNum::from_u32(1)?)?;
    let mut remainder = BigNum::new()?;
    remainder.checked_rem(d, &less_one, &mut *BigNumContext::new()?)?;
    Ok(remainder)
}

fn ecdsa(content: &mut Reader<'_>, curve: Nid) -> Result<PKey<Private>, KeyProblem> {
    content.string()?; // The curve's name, once more.
    let (point, secret) = (content.string()?, content.string()?);
    ecdsa_from(curve, point, secret).map_err(|_| KeyProblem::Damaged)
}

fn ecdsa_from(curve: Nid, point: &[u8], secret: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(curve)?;
    let point = EcPoint::from_bytes(&group, point, &mut *BigNumContext::new()?)?;
    let key = EcKey::from_private_components(&group, &*BigNum::from_slice(secret)?, &point)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

/// Reads the data types of SSH (RFC 4251, 5).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u32, KeyProblem> {
        let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(KeyProblem::Truncated)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], KeyProblem> {
        let length = usize::try_from(self.number()?).map_err(|_| KeyProblem::Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(KeyProblem::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn name(&mut self) -> Result<&'a str, KeyProblem> {
        std::str::from_utf8(self.string()?).map_err(|_| KeyProblem::Damaged)
    }
}
