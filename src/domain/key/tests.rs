//! Every format of key that `ssh-keygen` and `openssl` write, and every kind of damage that copying does to one.

use std::{path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{KeyProblem, PrivateKey};
use crate::domain::Secret;

/// A key file made by the real tools; `command` runs in a fresh folder and writes `key`.
fn made_by(command: &str) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder for keys");
    let output = Command::new("sh").args(["-ec", command]).current_dir(&folder).output().expect("sh runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    (std::fs::read_to_string(folder.path().join("key")).expect("the command writes `key`"), folder)
}

fn parse(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, KeyProblem> {
    PrivateKey::parse(&Secret::new(text), passphrase.map(Secret::new).as_ref())
}

fn fingerprint_by_ssh_keygen(folder: &Path) -> String {
    let output =
        Command::new("ssh-keygen").args(["-lf", "key.pub"]).current_dir(folder).output().expect("ssh-keygen runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').nth(1).expect("ssh-keygen -l prints size, fingerprint, comment, type").to_owned()
}

const ED25519: &str = "ssh-keygen -q -t ed25519 -N '' -C me -f key";

#[test]
fn f31_reads_every_format_of_openssh_and_openssl() {
    let formats = [
        (ED25519, None, "ssh-ed25519"),
        ("ssh-keygen -q -t rsa -b 2048 -N '' -f key", None, "ssh-rsa"),
        ("ssh-keygen -q -t ecdsa -b 256 -N '' -f key", None, "ecdsa-sha2-nistp256"),
        ("ssh-keygen -q -t ecdsa -b 384 -N '' -f key", None, "ecdsa-sha2-nistp384"),
        ("ssh-keygen -q -t ecdsa -b 521 -N '' -f key", None, "ecdsa-sha2-nistp521"),
        ("ssh-keygen -q -t ed25519 -N 'a b c' -f key", Some("a b c"), "ssh-ed25519"),
        ("ssh-keygen -q -t rsa -b 2048 -N 'a b c' -f key", Some("a b c"), "ssh-rsa"),
        ("ssh-keygen -q -t ed25519 -Z chacha20-poly1305@openssh.com -N 'a b c' -f key", Some("a b c"), "ssh-ed25519"),
        ("ssh-keygen -q -t ed25519 -Z aes256-gcm@openssh.com -N 'a b c' -f key", Some("a b c"), "ssh-ed25519"),
        ("ssh-keygen -q -t ed25519 -Z aes128-cbc -N 'a b c' -f key", Some("a b c"), "ssh-ed25519"),
        ("ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f key", None, "ssh-rsa"),
        ("ssh-keygen -q -t ecdsa -m PEM -N '' -f key", None, "ecdsa-sha2-nistp256"),
        ("ssh-keygen -q -t rsa -b 2048 -m PEM -N 'a b c' -f key", Some("a b c"), "ssh-rsa"),
        ("ssh-keygen -q -t rsa -b 2048 -m PKCS8 -N '' -f key", None, "ssh-rsa"),
        ("ssh-keygen -q -t rsa -b 2048 -m PKCS8 -N 'a b c' -f key", Some("a b c"), "ssh-rsa"),
        ("ssh-keygen -q -t ecdsa -m PKCS8 -N '' -f key", None, "ecdsa-sha2-nistp256"),
    ];
    for (command, passphrase, key_type) in formats {
        let (text, folder) = made_by(command);
        let key = parse(&text, passphrase).unwrap_or_else(|problem| panic!("{command}: {problem}"));
        assert_eq!(key.key_type(), key_type, "{command}");
        assert_eq!(key.fingerprint(), fingerprint_by_ssh_keygen(folder.path()), "{command}");
        let public = std::fs::read_to_string(folder.path().join("key.pub")).expect("ssh-keygen writes key.pub");
        assert!(public.starts_with(&key.authorized_line()), "{command}: {}", key.authorized_line());
    }
}

#[test]
fn f31_reads_keys_made_by_openssl_alone() {
    for command in [
        "openssl genpkey -algorithm ed25519 -out key",
        "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out key",
        // Writes EC PARAMETERS in front of the key.
        "openssl ecparam -name prime256v1 -genkey -out key",
    ] {
        let (text, _folder) = made_by(command);
        assert!(parse(&text, None).is_ok(), "{command}: {:?}", parse(&text, None));
    }
    let (text, _folder) = made_by("openssl genpkey -algorithm ed25519 -aes-256-cbc -pass pass:secret -out key");
    assert!(parse(&text, Some("secret")).is_ok());
}

#[test]
fn f31_repairs_what_copying_does() {
    let (good, folder) = made_by(ED25519);
    let fingerprint = fingerprint_by_ssh_keygen(folder.path());
    let body: String = good.lines().filter(|line| !line.starts_with("-----")).collect();
    let damages = [
        ("CRLF", good.replace('\n', "\r\n")),
        ("old Macintosh line ends", good.replace('\n', "\r")),
        ("no last line feed", good.trim_end().to_owned()),
        ("blank lines around it", format!("\n\n  \n{good}\n\n")),
        ("YAML indentation", good.lines().map(|line| format!("    {line}\n")).collect()),
        ("trailing blanks", good.lines().map(|line| format!("{line}  \t\n")).collect()),
        ("written-out \\n", good.replace('\n', "\\n")),
        ("written-out \\r\\n", good.replace('\n', "\\r\\n")),
        ("quotes", format!("\"{}\"", good.trim_end())),
        ("all on one line", good.replace('\n', " ")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("base64 around it", BASE64_STANDARD.encode(&good)),
        ("base64 around it, wrapped", wrapped(&BASE64_STANDARD.encode(&good))),
        ("no armour", body),
        ("text before it", format!("deploy key of the shop\n{good}")),
    ];
    for (damage, text) in damages {
        let key = parse(&text, None).unwrap_or_else(|problem| panic!("{damage}: {problem}"));
        assert_eq!(key.fingerprint(), fingerprint, "{damage}");
    }
}

#[test]
fn f31_repairs_an_old_encrypted_key_on_one_line() {
    let (good, _folder) = made_by("ssh-keygen -q -t rsa -b 2048 -m PEM -N 'a b c' -f key");
    assert!(good.contains("Proc-Type"), "ssh-keygen -m PEM writes the old form");
    for text in
        [good.replace('\n', " "), good.replace('\n', "\r\n"), good.lines().map(|line| format!("  {line}\n")).collect()]
    {
        assert!(parse(&text, Some("a b c")).is_ok(), "{:?}", parse(&text, Some("a b c")));
    }
}

/// Thresholds on lines or bytes and searches for one header have turned good keys away: a short key and every armour must pass.
#[test]
fn f33_no_good_key_is_turned_away_for_its_looks() {
    let (short, _folder) = made_by(ED25519);
    assert!(short.lines().count() < 10);
    assert!(parse(&short, None).is_ok());
    // A passphrase that is not needed is no reason to refuse a key, and neither is an empty one.
    assert!(parse(&short, Some("not needed")).is_ok());
    assert!(parse(&short, Some("")).is_ok());
}

#[test]
fn f31_says_what_is_wrong_instead() {
    let (good, folder) = made_by(ED25519);
    let public = std::fs::read_to_string(folder.path().join("key.pub")).expect("ssh-keygen writes key.pub");
    let (pem_public, _folder) = made_by("openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out key");
    let (locked, _folder) = made_by("ssh-keygen -q -t ed25519 -N secret -f key");
    let (locked_pem, _folder) = made_by("ssh-keygen -q -t rsa -b 2048 -m PEM -N secret -f key");
    let (locked_pkcs8, _folder) = made_by("ssh-keygen -q -t rsa -b 2048 -m PKCS8 -N secret -f key");
    let (dsa, _folder) = made_by("openssl dsaparam -genkey -out params 1024; openssl pkey -in params -out key");
    let (k1, _folder) = made_by("openssl ecparam -name secp256k1 -genkey -noout -out key");
    let half: String = good.lines().take(4).map(|line| format!("{line}\n")).collect();
    let cases = [
        ("", None, KeyProblem::Empty),
        (" \n\t ", None, KeyProblem::Empty),
        (public.as_str(), None, KeyProblem::PublicKey),
        (&pem_public, None, KeyProblem::PublicKey),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", None, KeyProblem::Putty),
        (
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
            None,
            KeyProblem::SshCom,
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", None, KeyProblem::Certificate),
        ("ssh-ed25519-cert-v01@openssh.com AAAA me", None, KeyProblem::Certificate),
        ("~/.ssh/id_ed25519", None, KeyProblem::LooksLikePath),
        ("/home/me/key", None, KeyProblem::LooksLikePath),
        ("hunter2", None, KeyProblem::NotAKey),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----", None, KeyProblem::NotAKey),
        (&locked, None, KeyProblem::NeedsPassphrase),
        (&locked, Some("wrong"), KeyProblem::WrongPassphrase),
        (&locked_pem, None, KeyProblem::NeedsPassphrase),
        (&locked_pem, Some("wrong"), KeyProblem::WrongPassphrase),
        (&locked_pkcs8, None, KeyProblem::NeedsPassphrase),
        (&locked_pkcs8, Some("wrong"), KeyProblem::WrongPassphrase),
        (&half, None, KeyProblem::Truncated),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n-----END OPENSSH PRIVATE KEY-----",
            None,
            KeyProblem::Truncated,
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\n***\n-----END RSA PRIVATE KEY-----", None, KeyProblem::Damaged),
        (&dsa, None, KeyProblem::Unsupported("a DSA key")),
        (&k1, None, KeyProblem::Unsupported("a key on a curve that SSH does not use")),
    ];
    for (text, passphrase, expected) in cases {
        let problem = parse(text, passphrase).expect_err("none of these is a usable private key");
        assert_eq!(problem, expected, "{text:.40}");
        assert!(!problem.hint().is_empty());
    }
}

/// One wrong bit anywhere in the key must not get as far as the server (F31, F32: the proof is the signature).
#[test]
fn f32_a_key_whose_halves_do_not_match_is_refused() {
    let (good, _folder) = made_by(ED25519);
    let body: String = good.lines().filter(|line| !line.starts_with("-----")).collect();
    let data = BASE64_STANDARD.decode(body).expect("ssh-keygen writes base64");
    // The 64 bytes of the private half lie before comment and padding: find the second copy of the public half.
    let public_at: Vec<usize> = (0..data.len() - 32).filter(|at| data[*at..*at + 32] == data[62..94]).collect();
    assert_eq!(public_at.len(), 3, "an OpenSSH ed25519 key holds its public half three times");
    for at in [public_at[1], public_at[2], public_at[1] + 40] {
        let mut bent = data.clone();
        bent[at] ^= 1;
        let text = BASE64_STANDARD.encode(bent);
        assert!(parse(&text, None).is_err(), "byte {at}");
    }
}

#[test]
fn f40_no_problem_shows_any_of_the_key() {
    let (good, _folder) = made_by(ED25519);
    let key = parse(&good, None).expect("a good key");
    let printed = format!("{key:?}");
    let body: Vec<&str> = key.pem().expose().lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(body.iter().all(|line| !printed.contains(line)), "Debug shows the key");
}

fn wrapped(text: &str) -> String {
    text.as_bytes().chunks(76).map(|chunk| format!("{}\n", String::from_utf8_lossy(chunk))).collect()
}
