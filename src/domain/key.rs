//! The private key that logs in.

use super::Secret;

/// A private key that was parsed, decrypted if need be, and can sign. There is no other way to have one (F31 to F33).
#[derive(Debug, Clone)]
pub struct PrivateKey {
    pem: Secret,
    passphrase: Option<Secret>,
    fingerprint: String,
    key_type: String,
}

impl PrivateKey {
    /// The key in the form that the SSH library reads, with line ends repaired.
    pub fn pem(&self) -> &Secret {
        &self.pem
    }

    pub fn passphrase(&self) -> Option<&Secret> {
        self.passphrase.as_ref()
    }

    /// `SHA256:...` of the public half, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, ...
    pub fn key_type(&self) -> &str {
        &self.key_type
    }
}
