//! Whether what holds secrets is as closed as `.env` is, and whether only the deploy user can write what it executes. For the releases
//! on the server, of this action and of others.

use crate::{
    domain::{Failure, Layout, RemoteCommand, command::quote},
    engine::step::Io,
    server::remote,
    transport::shell::{Answer, Script, Shell},
};

/// Something that is more open than it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub cause: String,
    /// The command that closes it.
    pub command: String,
}

/// Everything of a site that is too open. Reads only.
///
/// # Errors
/// The server could not be asked.
pub async fn look(shell: &dyn Shell, io: &Io, layout: &Layout) -> Result<Vec<Open>, Failure> {
    let doing = format!("checking the modes of the releases below {}", layout.base());
    let script = Script::new("modes", include_str!("modes.sh"))
        .repeatable()
        .var("BASE", layout.base().as_str())
        .var("ENV_FILE", layout.env_file().as_str());
    let answer = remote::run(shell, io, script, &doing).await?;
    Ok(judge(&answer, layout))
}

fn judge(answer: &Answer, layout: &Layout) -> Vec<Open> {
    let mut all = Vec::new();
    let readable: Vec<&str> = answer.all("readable").collect();
    if let (Some(first), Some((mode, group))) =
        (readable.first(), answer.get("env").and_then(|env| env.trim().split_once(' ')))
    {
        let more = more(readable.len());
        all.push(Open {
            cause: format!(
                "{first}{more} can be read by accounts that may not read {}; it holds the same secrets",
                layout.env_file()
            ),
            command: format!(
                r"find {} -path '*/bootstrap/cache/config.php' -type f -exec chgrp {group} {{}} + -exec chmod {mode} {{}} +",
                quote(layout.releases().as_str())
            ),
        });
    }
    let open: Vec<&str> = answer.all("open").collect();
    if let Some(first) = open.first() {
        let more = more(open.len());
        all.push(Open {
            cause: format!(
                "{first}{more} can be written by other accounts; the deploy user runs the code of its releases"
            ),
            command: format!(
                r"find {} -xdev -path '*/bootstrap/cache/views' -prune -o ! -type l -perm /022 -exec chmod go-w {{}} +",
                quote(layout.releases().as_str())
            ),
        });
    }
    for folder in answer.all("open-folder") {
        all.push(Open {
            cause: format!(
                "other accounts can write to {folder}: they can put another folder in the place of one that a release uses"
            ),
            command: RemoteCommand::new(["chmod", "go-w", folder]).to_string(),
        });
    }
    let listed = |key: &str, cause: &str, which: &str| {
        let paths: Vec<&str> = answer.all(key).collect();
        let first = paths.first()?;
        Some(Open {
            cause: format!("an access list lets other accounts {cause} {first}{}", more(paths.len())),
            command: format!("find {} {which} -exec setfacl -b {{}} +", quote(layout.releases().as_str())),
        })
    };
    all.extend(listed("list-readable", "read", "-path '*/bootstrap/cache/config.php' -type f"));
    all.extend(listed("list-open", "write to", "-xdev -path '*/bootstrap/cache/views' -prune -o ! -type l -perm -020"));
    for folder in answer.all("list-folder") {
        all.push(Open {
            cause: format!(
                "an access list lets other accounts write to {folder}: they can put another folder in the place of one that a release uses"
            ),
            command: RemoteCommand::new(["setfacl", "-b", folder]).to_string(),
        });
    }
    all
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        1000.. => " and at least 1000 more".to_owned(),
        count => format!(" and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se5_what_an_access_list_opens_is_named_with_its_command() {
        let layout = Layout::new("/srv/shop".parse().expect("a path"), "shared/.env");
        let answer = Answer::new(vec![
            ("list-readable".to_owned(), "/srv/shop/releases/a/bootstrap/cache/config.php".to_owned()),
            ("list-open".to_owned(), "/srv/shop/releases/a/artisan".to_owned()),
            ("list-open".to_owned(), "/srv/shop/releases/a/app".to_owned()),
            ("list-folder".to_owned(), "/srv/shop/releases".to_owned()),
        ]);
        let described: Vec<(String, String)> =
            judge(&answer, &layout).into_iter().map(|open| (open.cause, open.command)).collect();
        let [readable, open, folder] = described.as_slice() else { panic!("{described:?}") };
        assert!(readable.0.ends_with("read /srv/shop/releases/a/bootstrap/cache/config.php"), "{readable:?}");
        assert!(open.0.ends_with("write to /srv/shop/releases/a/artisan and 1 more"), "{open:?}");
        for (_, command) in [readable, open] {
            assert!(command.starts_with("find /srv/shop/releases ") && command.ends_with("-exec setfacl -b {} +"));
        }
        assert_eq!(folder.1, "setfacl -b /srv/shop/releases");
    }
}
