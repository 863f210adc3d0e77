//! Reads every format into one kind of key, and lets it sign.

use openssl::{
    bn::{BigNumContext, BigNumRef},
    ec::PointConversionForm,
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Private},
    sign::{Signer, Verifier},
};
use ssh_key::{
    Mpint, PublicKey,
    public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey},
};
use zeroize::Zeroizing;

use super::{KeyProblem, armour::Block, openssh};
use crate::domain::Secret;

/// What a key must sign to be accepted.
const PROOF: &[u8] = b"gated-deploy: this key signs";

pub(super) fn read(block: &Block, passphrase: Option<&Secret>) -> Result<PKey<Private>, KeyProblem> {
    match block {
        Block::OpenSsh(data) => openssh::read(data, passphrase),
        Block::Pem { text, encrypted } => read_pem(text, *encrypted, passphrase),
    }
}

/// Signs with the private half, verifies with the public half and returns the latter in SSH's form.
pub(super) fn prove(key: &PKey<Private>) -> Result<PublicKey, KeyProblem> {
    let public = public_half(key)?;
    match signs(key) {
        Ok(true) => Ok(public),
        Ok(false) | Err(_) => Err(KeyProblem::CannotSign),
    }
}

pub(super) fn to_pem(key: &PKey<Private>) -> Result<Secret, KeyProblem> {
    let pem = Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(|_| KeyProblem::Damaged)?);
    let text = std::str::from_utf8(&pem).map_err(|_| KeyProblem::Damaged)?;
    Ok(Secret::new(text))
}

fn read_pem(text: &str, encrypted: bool, passphrase: Option<&Secret>) -> Result<PKey<Private>, KeyProblem> {
    if encrypted && passphrase.is_none() {
        return Err(KeyProblem::NeedsPassphrase);
    }
    // An empty passphrase keeps OpenSSL from asking at the terminal, should it find encryption where we saw none.
    let passphrase = passphrase.map_or("", Secret::expose);
    PKey::private_key_from_pem_passphrase(text.as_bytes(), passphrase.as_bytes())
        .map_err(|_| if encrypted { KeyProblem::WrongPassphrase } else { KeyProblem::Damaged })
}

fn public_half(key: &PKey<Private>) -> Result<PublicKey, KeyProblem> {
    let damaged = |_| KeyProblem::Damaged;
    let data = match key.id() {
        Id::ED25519 => {
            let bytes: [u8; 32] = key.raw_public_key().map_err(damaged)?.try_into().map_err(|_| KeyProblem::Damaged)?;
            KeyData::Ed25519(Ed25519PublicKey(bytes))
        }
        Id::RSA => {
            let key = key.rsa().map_err(damaged)?;
            let number =
                |number: &BigNumRef| Mpint::from_positive_bytes(&number.to_vec()).map_err(|_| KeyProblem::Damaged);
            KeyData::Rsa(RsaPublicKey { e: number(key.e())?, n: number(key.n())? })
        }
        Id::EC => {
            let key = key.ec_key().map_err(damaged)?;
            let mut context = BigNumContext::new().map_err(damaged)?;
            let point = key
                .public_key()
                .to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)
                .map_err(damaged)?;
            let known = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1];
            if !key.group().curve_name().is_some_and(|curve| known.contains(&curve)) {
                return Err(KeyProblem::Unsupported("a key on a curve that SSH does not use"));
            }
            KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(&point).map_err(|_| KeyProblem::Damaged)?)
        }
        Id::DSA => return Err(KeyProblem::Unsupported("a DSA key")),
        _ => {
            return Err(KeyProblem::Unsupported("a key of a type that SSH does not use"));
        }
    };
    Ok(PublicKey::new(data, ""))
}

fn signs(key: &PKey<Private>) -> Result<bool, ErrorStack> {
    if key.id() == Id::ED25519 {
        let signature = Signer::new_without_digest(key)?.sign_oneshot_to_vec(PROOF)?;
        return Verifier::new_without_digest(key)?.verify_oneshot(&signature, PROOF);
    }
    let mut signer = Signer::new(MessageDigest::sha256(), key)?;
    signer.update(PROOF)?;
    let signature = signer.sign_to_vec()?;
    let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
    verifier.update(PROOF)?;
    verifier.verify(&signature)
}
