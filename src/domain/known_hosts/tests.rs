//! One row for each kind of line that OpenSSH's own tools write, and for each mistake that people make.

use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{KnownHosts, Verdict, fingerprint, line_for};

struct HostKey {
    key_type: &'static str,
    blob: Vec<u8>,
}

impl HostKey {
    /// Type and base64, as in a .pub file.
    fn text(&self) -> String {
        format!("{} {}", self.key_type, BASE64_STANDARD.encode(&self.blob))
    }
}

/// Keys without a private half are enough here.
fn ed25519(seed: u8) -> HostKey {
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(b"ssh-ed25519");
    blob.extend([0, 0, 0, 32]);
    blob.extend([seed; 32]);
    HostKey { key_type: "ssh-ed25519", blob }
}

fn rsa(seed: u8) -> HostKey {
    let mut blob = vec![0, 0, 0, 7];
    blob.extend(b"ssh-rsa");
    blob.extend([0, 0, 0, 3, 1, 0, 1, 0, 0, 1, 0]);
    blob.extend([0x70 | (seed & 0x0f); 256]);
    HostKey { key_type: "ssh-rsa", blob }
}

fn parse(text: &str) -> KnownHosts {
    KnownHosts::parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

fn check(text: &str, host: &str, port: u16, key: &HostKey) -> Verdict {
    parse(text).check(host, port, key.key_type, &key.blob)
}

fn problem(text: &str) -> String {
    let problems = KnownHosts::parse(text).expect_err("none of these lines is usable");
    problems.iter().map(|problem| format!("{}: {}\n", problem.line, problem.problem)).collect()
}

#[test]
fn f38_accepts_the_key_of_the_host_in_every_notation() {
    let key = ed25519(1);
    let text = key.text();
    let print = fingerprint(&key.blob);
    let accepted = [
        (format!("shop.test {text}"), "shop.test", 22),
        (format!("shop.test {text} a comment of several words"), "shop.test", 22),
        (format!("SHOP.test {text}"), "shop.TEST", 22),
        (format!("[shop.test]:2223 {text}"), "shop.test", 2223),
        (format!("foo,[shop.test]:2223,bar {text}"), "shop.test", 2223),
        (format!("shop.test,192.0.2.1 {text}"), "192.0.2.1", 22),
        (format!("shop.test {text}"), "shop.test", 2223),
        (format!("2001:db8::1 {text}"), "2001:db8::1", 22),
        (format!("[2001:db8::1]:2223 {text}"), "2001:db8::1", 2223),
        (format!("*.test {text}"), "shop.test", 22),
        (format!("*.test,!blog.test {text}"), "shop.test", 22),
        (format!("[192.0.2.*]:2223 {text}"), "192.0.2.77", 2223),
        (format!("sho?.test {text}"), "shop.test", 22),
        (format!("# comment\r\n\r\n\tshop.test\t{text}\r\n"), "shop.test", 22),
        (format!("other.test {}\\nshop.test {text}\\n", ed25519(2).text()), "shop.test", 22),
        (print.clone(), "shop.test", 22),
        (format!("{print}="), "shop.test", 2223),
        (format!("ssh-ed25519 {print}"), "shop.test", 22),
        (format!("shop.test {print}"), "shop.test", 22),
        (format!("shop.test ssh-ed25519 {print}"), "shop.test", 22),
        (format!("256 {print} root@shop (ED25519)"), "shop.test", 22),
    ];
    for (line, host, port) in accepted {
        assert_eq!(check(&line, host, port, &key), Verdict::Accepted, "{line}");
    }
}

#[test]
fn f38_turns_every_other_key_away_and_says_which_was_expected() {
    let (known, shown) = (ed25519(1), ed25519(2));
    let print = fingerprint(&known.blob);
    for line in [
        format!("shop.test {}", known.text()),
        format!("shop.test ssh-ed25519 {print}"),
        format!("ssh-ed25519 {print}"),
    ] {
        let expected = vec![format!("ssh-ed25519 {print}")];
        assert_eq!(check(&line, "shop.test", 22, &shown), Verdict::Mismatch { expected }, "{line}");
    }
    assert_eq!(check(&print, "shop.test", 22, &shown), Verdict::Mismatch { expected: vec![print.clone()] });
}

#[test]
fn f38_a_line_for_another_host_is_no_line() {
    let key = ed25519(1);
    let text = key.text();
    for (line, host, port) in [
        (format!("shop.test {text}"), "shop.test.evil.example", 22),
        (format!("shop.test {text}"), "192.0.2.1", 22),
        (format!("[shop.test]:2223 {text}"), "shop.test", 22),
        (format!("[shop.test]:2223 {text}"), "shop.test", 2224),
        (format!("*.test,!shop.test {text}"), "shop.test", 22),
        (format!("sho?.test {text}"), "shoop.test", 22),
    ] {
        assert_eq!(check(&line, host, port, &key), Verdict::Unknown, "{line}");
        assert!(parse(&line).key_types_for(host, port).is_empty(), "{line}");
    }
}

#[test]
fn f38_a_line_with_the_port_wins_over_the_bare_name() {
    let (bare, exact) = (ed25519(1), ed25519(2));
    let lines = format!("shop.test {}\n[shop.test]:2223 {}\n", bare.text(), exact.text());
    assert_eq!(check(&lines, "shop.test", 2223, &exact), Verdict::Accepted);
    assert!(matches!(check(&lines, "shop.test", 2223, &bare), Verdict::Mismatch { .. }));
    assert_eq!(check(&lines, "shop.test", 22, &bare), Verdict::Accepted);
}

#[test]
fn f38_revoked_keys_are_refused_even_where_another_line_accepts_them() {
    let key = ed25519(1);
    let line = format!("shop.test {}\n@revoked * {}\n", key.text(), key.text());
    assert_eq!(check(&line, "shop.test", 22, &key), Verdict::Revoked);
    assert_eq!(check(&line, "shop.test", 2223, &key), Verdict::Revoked);
    let other = format!("shop.test {}\n@revoked * {}\n", key.text(), ed25519(2).text());
    assert_eq!(check(&other, "shop.test", 22, &key), Verdict::Accepted);
}

#[test]
fn f38_asks_the_server_only_for_the_types_it_knows() {
    let lines = format!("shop.test {}\n[other.test]:2223 {}\n", rsa(1).text(), ed25519(1).text());
    assert_eq!(parse(&lines).key_types_for("shop.test", 22), ["ssh-rsa"]);
    assert_eq!(parse(&lines).key_types_for("other.test", 2223), ["ssh-ed25519"]);
    let both = format!("shop.test {}\nshop.test {}\n", rsa(1).text(), ed25519(1).text());
    assert_eq!(parse(&both).key_types_for("shop.test", 22), ["ssh-ed25519", "ssh-rsa"]);
    let bare = fingerprint(&rsa(1).blob);
    assert_eq!(parse(&bare).key_types_for("shop.test", 22).len(), 5);
    let revoked = format!("shop.test {}\n@revoked shop.test {}\n", rsa(1).text(), ed25519(1).text());
    assert_eq!(parse(&revoked).key_types_for("shop.test", 22), ["ssh-rsa"]);
}

/// `ssh-keygen -H` is the authority on hashed names.
#[test]
fn f38_reads_names_hashed_by_ssh_keygen() {
    let key = ed25519(1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known_hosts");
    std::fs::write(&file, format!("shop.test {0}\n[shop.test]:2223 {0}\n", key.text())).expect("the file is written");
    let status =
        Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().expect("ssh-keygen runs").status;
    assert!(status.success());
    let hashed = std::fs::read_to_string(&file).expect("the file is there");
    assert!(hashed.starts_with("|1|") && !hashed.contains("shop.test"), "{hashed}");
    for (host, port, verdict) in [
        ("shop.test", 22, Verdict::Accepted),
        ("Shop.Test", 2223, Verdict::Accepted),
        ("blog.test", 22, Verdict::Unknown),
    ] {
        assert_eq!(check(&hashed, host, port, &key), verdict, "{host}:{port}");
    }
    let with_port = hashed.lines().nth(1).expect("two lines");
    assert_eq!(check(with_port, "shop.test", 2224, &key), Verdict::Unknown);
}

#[test]
fn f38_says_for_each_line_what_would_be_right() {
    let text = ed25519(1).text();
    let cases = [
        (text.clone(), "like a user's public key"),
        (format!("@cert-authority *.test {text}"), "host certificates are not supported"),
        (format!("@trusted shop.test {text}"), "@revoked is the only one"),
        ("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(), "not SHA256"),
        ("16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(), "not SHA256"),
        ("SHA256:abc".to_owned(), "cut off"),
        ("shop.test ssh-dss AAAAB3NzaC1kc3MAAACBAJ".to_owned(), "DSA"),
        ("shop.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEB".to_owned(), "damaged or cut off"),
        (format!("shop.test ssh-rsa {}", text.split(' ').nth(1).expect("two words")), "damaged or cut off"),
        (format!("|1|xx|yy {text}"), "|1|SALT|HASH"),
        (format!("!shop.test {text}"), "names none"),
        ("shop.test 2048 65537 1234567".to_owned(), "protocol 1"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "move it to ssh-private-key"),
        ("shop.test".to_owned(), "HOST KEY-TYPE KEY"),
        ("# only a comment".to_owned(), "contains no host key"),
        (String::new(), "contains no host key"),
    ];
    for (line, part) in cases {
        assert!(problem(&line).contains(part), "{line}: {}", problem(&line));
    }
    let several = problem(&format!("shop.test {text}\nrubbish\n\nmore rubbish\n"));
    assert!(several.starts_with("2: ") && several.contains("\n4: "), "{several}");
}

#[test]
fn f38_the_line_in_the_hint_is_one_that_we_read() {
    let key = ed25519(1);
    for port in [22, 2223] {
        let line = line_for("shop.test", port, key.key_type, &key.blob);
        assert_eq!(check(&line, "shop.test", port, &key), Verdict::Accepted);
    }
}

proptest::proptest! {
    #[test]
    fn no_line_makes_the_parser_panic(line in "\\PC{0,80}") {
        let _ = KnownHosts::parse(&line);
    }

    #[test]
    fn a_key_is_accepted_for_its_own_host_and_no_other(host in "[a-z]{1,12}\\.test", other in "[a-z]{1,12}\\.test", port in 1u16..) {
        let key = ed25519(1);
        let line = line_for(&host, port, key.key_type, &key.blob);
        proptest::prop_assert_eq!(check(&line, &host, port, &key), Verdict::Accepted);
        if other != host {
            proptest::prop_assert_eq!(check(&line, &other, port, &key), Verdict::Unknown);
        }
    }
}
