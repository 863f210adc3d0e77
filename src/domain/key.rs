//! The private key that logs in.

pub mod problem;

pub use self::problem::KeyProblem;

use ssh_key::{HashAlg, PublicKey};

use super::Secret;

mod armour;
mod openssh;
mod proof;

/// A private key that was parsed, decrypted if need be, and has signed. There is no other way to have one (F31 to F33).
#[derive(Debug, Clone)]
pub struct PrivateKey {
    pem: Secret,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads a key as people paste it into a secret: any usual format, with the usual damage repaired (line ends, indentation, literal `\n`,
    /// a lost last line feed, everything on one line, base64 around the whole file).
    ///
    /// The key is accepted if it signs and its own public half verifies the signature, and for no other reason.
    pub fn parse(text: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyProblem> {
        let block = armour::find_private_key(text.expose())?;
        let passphrase = passphrase.filter(|passphrase| !passphrase.is_empty());
        let key = proof::read(&block, passphrase)?;
        let public = proof::prove(&key)?;
        Ok(Self { pem: proof::to_pem(&key)?, public })
    }

    /// The key, decrypted, as PKCS#8 PEM: one form for all types that libssh2 reads from memory.
    pub fn pem(&self) -> &Secret {
        &self.pem
    }

    /// `SHA256:...` of the public half, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint(HashAlg::Sha256).to_string()
    }

    /// `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, ...
    pub fn key_type(&self) -> String {
        self.public.algorithm().to_string()
    }

    /// The line for `~/.ssh/authorized_keys`, without a comment.
    pub fn authorized_line(&self) -> String {
        // Encoding a public key into a String cannot fail for the types that `parse` accepts.
        self.public.to_openssh().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
