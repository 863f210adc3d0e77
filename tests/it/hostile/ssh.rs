//! A server that is too weak to be trusted, and one that says things that nobody asked for.

use gated_deploy::transport::{
    shell::{Script, Shell as _, ShellError},
    ssh::Ssh,
};

use crate::sshd::{Server, peak_memory_kb, run, wait};

/// OpenSSH still has all of these, for those who turn them on.
#[test]
fn f38_a_server_that_offers_only_weak_methods_is_refused_by_their_names() {
    for (settings, what, method) in [
        ("KexAlgorithms diffie-hellman-group1-sha1", "key exchange", "diffie-hellman-group1-sha1"),
        ("KexAlgorithms diffie-hellman-group14-sha1", "key exchange", "diffie-hellman-group14-sha1"),
        ("Ciphers 3des-cbc", "ciphers", "3des-cbc"),
        ("Ciphers aes256-cbc,aes128-cbc", "ciphers", "aes256-cbc"),
        ("Ciphers aes128-ctr\nMACs hmac-md5", "message authentication", "hmac-md5"),
        ("Ciphers aes128-ctr\nMACs hmac-sha1,hmac-sha1-etm@openssh.com", "message authentication", "hmac-sha1"),
    ] {
        let server = Server::start(settings);
        let error = wait(server.ssh().connect()).expect_err(settings);
        assert!(
            matches!(&error, ShellError::Weak { what: told, offered, .. } if *told == what && offered.contains(method)),
            "{settings}: {error:?}"
        );
        assert!(error.to_string().contains("too weak"), "{error}");
        let failure = error.failure("connecting");
        assert_eq!(failure.kind, gated_deploy::domain::FailureKind::Refused, "asking again would not help");
        assert!(failure.hint.is_some_and(|hint| hint.contains("sshd_config")), "{settings}");
        assert_eq!(server.logins(), 0, "{settings}");
    }
}

/// No key that we know signs in a way that we would believe: there is no other way then.
#[test]
fn f38_a_host_key_of_another_type_or_signed_with_sha_1_is_no_host_key() {
    for (settings, known, offered) in [
        ("HostKeyAlgorithms ssh-rsa", "host_rsa", "ssh-rsa"),
        ("HostKeyAlgorithms ssh-ed25519", "host_rsa", "ssh-ed25519"),
        ("HostKeyAlgorithms rsa-sha2-512", "host_ed25519", "rsa-sha2-512"),
    ] {
        let server = Server::start(settings);
        let error = wait(Ssh::new(&server.access(&server.line(known))).connect()).expect_err(settings);
        assert!(
            matches!(&error, ShellError::HostKeyUnusable(text) if text.ends_with(&format!("it signs with {offered}"))),
            "{settings}: {error:?}"
        );
        assert_eq!(server.logins(), 0, "{settings}");
    }
}

/// Each method that is let in does its work with a real server.
#[test]
fn every_strong_method_connects_by_itself() {
    for settings in [
        "KexAlgorithms curve25519-sha256",
        "KexAlgorithms curve25519-sha256@libssh.org",
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms ecdh-sha2-nistp384",
        "KexAlgorithms ecdh-sha2-nistp521",
        "KexAlgorithms diffie-hellman-group-exchange-sha256",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "KexAlgorithms diffie-hellman-group16-sha512",
        "KexAlgorithms diffie-hellman-group18-sha512",
        "Ciphers aes256-gcm@openssh.com",
        "Ciphers aes128-gcm@openssh.com",
        "Ciphers chacha20-poly1305@openssh.com",
        "Ciphers aes128-ctr\nMACs hmac-sha2-256",
        "Ciphers aes192-ctr\nMACs hmac-sha2-512",
        "Ciphers aes256-ctr\nMACs hmac-sha2-256-etm@openssh.com",
        "Ciphers aes256-ctr\nMACs hmac-sha2-512-etm@openssh.com",
    ] {
        let server = Server::start(settings);
        let answer = wait(run(&server.ssh(), "put a b")).unwrap_or_else(|error| panic!("{settings}: {error}"));
        assert_eq!(answer.get("a"), Some("b"), "{settings}");
    }
}

/// Nothing of it is kept but its beginning.
#[test]
fn a_line_of_a_hundred_megabytes_costs_no_memory() {
    let server = Server::start("");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    let before = peak_memory_kb();
    let mut longest = 0;
    let script = Script::new("test", "head -c 104857600 /dev/zero | tr '\\0' x >&2; echo >&2; put a b");
    let answer = wait(ssh.run(script, &mut |line| longest = longest.max(line.len()))).expect("an answer");
    assert_eq!(answer.get("a"), Some("b"));
    assert!((60_000..70_000).contains(&longest), "{longest}");
    assert!(peak_memory_kb() - before < 16 << 10, "{} KB more", peak_memory_kb() - before);

    // Where only the answer belongs it is no answer, and no memory either.
    let server = Server::start("ForceCommand head -c 104857600 /dev/zero | tr '\\0' x; eval \"$SSH_ORIGINAL_COMMAND\"");
    let before = peak_memory_kb();
    let error = wait(run(&server.ssh(), "put a b")).expect_err("more than an answer may hold");
    assert!(matches!(&error, ShellError::NoAnswer { noise } if noise.len() < 2000), "{error:?}");
    assert!(peak_memory_kb() - before < 40 << 10, "{} KB more", peak_memory_kb() - before);
}
