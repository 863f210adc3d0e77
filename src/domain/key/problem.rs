//! Why a text is no private key that a run can use.

use std::fmt;

/// Why a text is not a private key that can be used. No variant carries any byte of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    Empty,
    PublicKey,
    /// `-----BEGIN CERTIFICATE-----`, or an OpenSSH certificate line.
    Certificate,
    /// PuTTY's own format.
    Putty,
    /// SECSH (ssh.com) private keys.
    SshCom,
    LooksLikePath,
    NotAKey,
    /// The key is encrypted and there is no passphrase.
    NeedsPassphrase,
    WrongPassphrase,
    /// A part is missing: the last line, or the end of the data.
    Truncated,
    /// The armour is there, what is inside is not a key.
    Damaged,
    /// A type that cannot log in with this program: DSA, a FIDO token, an unusual curve.
    Unsupported(&'static str),
    /// The key was read, but what it signs its public half does not verify.
    CannotSign,
}

impl KeyProblem {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Empty => {
                "set it to the whole private key file; a secret of an environment is empty in a job without `environment:`"
            }
            Self::PublicKey => "give the private key: the file without `.pub`",
            Self::Certificate => "give the private key that belongs to the certificate",
            Self::Putty => "export it in PuTTYgen: Conversions, Export OpenSSH key",
            Self::SshCom => "convert it: ssh-keygen -i -f KEYFILE",
            Self::LooksLikePath => "give the content of the file, not its path",
            Self::NeedsPassphrase => {
                "set `ssh-passphrase`, or remove the passphrase from a copy of the key: ssh-keygen -p -N '' -f KEYFILE"
            }
            Self::WrongPassphrase => {
                "check ssh-passphrase: ssh-keygen -y -f KEYFILE prints the public key if it is right"
            }
            Self::NotAKey | Self::Truncated | Self::Damaged | Self::CannotSign => {
                "copy the whole file again, from the BEGIN line to the END line: gh secret set NAME < KEYFILE"
            }
            Self::Unsupported(_) => "make a new one: ssh-keygen -t ed25519 -N '' -f deploy_key",
        }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::PublicKey => "it is a public key; the private key is needed",
            Self::Certificate => "it is a certificate; the private key is needed",
            Self::Putty => "it is a PuTTY key (.ppk), which is not supported",
            Self::SshCom => "it is a key in the format of ssh.com",
            Self::LooksLikePath => "it looks like the path of a key file; the content is needed",
            Self::NotAKey => "it is not a private key in any known format",
            Self::NeedsPassphrase => "it is encrypted, and ssh-passphrase is not set",
            Self::WrongPassphrase => "it is encrypted, and ssh-passphrase is wrong",
            Self::Truncated => "its end is missing",
            Self::Damaged => "it begins like a private key, but its content is damaged",
            Self::CannotSign => "its private part does not match its public part",
            Self::Unsupported(kind) => return write!(f, "it is {kind}, which is not supported"),
        })
    }
}
