//! The commands that bring the database of a backup back. They are printed, and no run types them.

use crate::{
    domain::{Layout, RemoteCommand, RemotePath, command::quote, record::BackupFile},
    transport::shell::Answer,
};

/// What `backup.sh` says of the database that it dumped: driver, client, name, and the words by which a client connects, a line each.
pub(super) fn commands(
    layout: &Layout,
    dir: &RemotePath,
    php: &str,
    files: &[BackupFile],
    answer: &Answer,
) -> Vec<String> {
    let said = answer.get("database").unwrap_or_default();
    let mut lines = said.lines().map(str::trim);
    let (Some(client), Some(name)) = (lines.next(), lines.next().filter(|name| !name.is_empty())) else {
        return Vec::new();
    };
    let connects: Vec<&str> = lines.collect();
    let Some(file) = files.iter().find(|file| file.name.starts_with("database.")) else { return Vec::new() };
    let dump = dir.join(&file.name);
    let artisan = |words: &[&str]| {
        let artisan = layout.current().join("artisan");
        RemoteCommand::new([php, artisan.as_str()].into_iter().chain(words.iter().copied())).to_string()
    };
    let connected = |words: &[&str]| RemoteCommand::new([&[client], &*connects, words].concat());
    let unpacked = RemoteCommand::new(["gzip", "-dc", dump.as_str()]);
    let (empty, fill): (&[&str], String) = match file.name.as_str() {
        "database.sql.gz" => {
            (&["db:wipe", "--drop-views", "--force"], format!("{unpacked} | {}", connected(&["--password", name])))
        }
        "database.dump" => (
            &["db:wipe", "--drop-views", "--drop-types", "--force"],
            connected(&["--exit-on-error", "--dbname", name, dump.as_str()]).to_string(),
        ),
        // The file keeps its owner and its mode.
        _ => (&[], format!("{unpacked} >{}", quote(name))),
    };
    let mut commands = vec![format!("(cd {} && sha256sum -c SHA256SUMS)", quote(dir.as_str())), artisan(&["down"])];
    if !empty.is_empty() {
        commands.push(artisan(empty));
    }
    commands.extend([fill, artisan(&["up"])]);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sha256Digest;

    fn printed(file: &str, said: &str) -> Vec<String> {
        let layout = Layout::new("/srv/my shop".parse().expect("a path"), "shared/.env");
        let dir = layout.backup(&"20251102_154900-0123abcd".parse().expect("a release"));
        let file = BackupFile { name: file.to_owned(), size: 1, sha256: Sha256Digest::of("x"), counted: String::new() };
        let answer = Answer::new(vec![("database".to_owned(), said.to_owned())]);
        commands(&layout, &dir, "php8.2", &[file], &answer)
    }

    #[test]
    fn each_kind_of_dump_has_its_commands_and_each_word_is_quoted() {
        let dir = "'/srv/my shop/backups/20251102_154900-0123abcd";
        let artisan = |words: &str| format!("php8.2 '/srv/my shop/current/artisan' {words}");
        let sums = format!("(cd {dir}' && sha256sum -c SHA256SUMS)");
        assert_eq!(
            printed("database.sql.gz", "mariadb\nmy shop\n--host\n127.0.0.1\n--user\no'hara\n"),
            [
                sums.clone(),
                artisan("down"),
                artisan("db:wipe --drop-views --force"),
                format!(
                    r"gzip -dc {dir}/database.sql.gz' | mariadb --host 127.0.0.1 --user 'o'\''hara' --password 'my shop'"
                ),
                artisan("up"),
            ]
        );
        assert_eq!(
            printed("database.dump", "pg_restore\nshop\n--host\ndb\n--username\nshop\n")[2..4],
            [
                artisan("db:wipe --drop-views --drop-types --force"),
                format!("pg_restore --host db --username shop --exit-on-error --dbname shop {dir}/database.dump'"),
            ]
        );
        assert_eq!(
            printed("database.sqlite.gz", "sqlite\n/srv/shop.sqlite\n"),
            [sums, artisan("down"), format!("gzip -dc {dir}/database.sqlite.gz' >/srv/shop.sqlite"), artisan("up")]
        );
        for (file, said) in [("app.tar.gz", "mariadb\nshop"), ("database.sql.gz", "")] {
            assert_eq!(printed(file, said), [""; 0], "{file}: no command is better than one that is not known to work");
        }
    }
}
