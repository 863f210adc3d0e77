//! Whether the deploy user and PHP-FPM's user may both write where the app keeps its files (F66).
//!
//! For the deploy user the server is asked. We may not become PHP-FPM's user, so for it the same is worked out from owners, groups and
//! modes along the path, as the kernel does it (path_resolution(7)).

use std::collections::BTreeSet;

use super::{in_place, looked, sheet::Sheet};
use crate::{
    context::Survey,
    domain::RemoteCommand,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        inspect::{NO_SERVER, fpm::Pool},
        remote,
    },
    transport::shell::{Answer, Script},
};

/// What Laravel writes to inside of `storage`; what is not there yet is made by the release.
const STORAGE: [&str; 8] = [
    "app",
    "app/public",
    "framework",
    "framework/cache",
    "framework/cache/data",
    "framework/sessions",
    "framework/views",
    "logs",
];

const READ: u32 = 4;
const WRITE: u32 = 2;
const PASS: u32 = 1;

/// Every shared folder, for both users.
pub async fn shared_folders(cx: &Survey, io: &Io) -> StepResult {
    if looked(cx).is_none() {
        return Ok(Done::skipped(NO_SERVER));
    }
    let looked = match in_place(cx) {
        Ok(looked) => looked,
        Err(skipped) => return Ok(skipped),
    };
    let (layout, shared) = (&cx.inputs.layout, &cx.inputs.server.shared);
    let doing = format!("checking who can write in {}", layout.shared());
    let pool = looked.serving.as_ref().ok().and_then(|serving| serving.pool.clone());
    let of = |path: &str| layout.shared().join(path).to_string();
    let inside = |path: &str| -> Vec<String> {
        let inner = STORAGE.iter().filter(|_| path == "storage").map(|inner| of(&format!("storage/{inner}")));
        std::iter::once(of(path)).chain(inner).collect()
    };
    let has_logs = shared.iter().any(|path| path == "storage");
    let paths = shared.iter().flat_map(|path| inside(path)).chain([layout.env_file().to_string()]);
    let script = Script::new("access", include_str!("access.sh"))
        .repeatable()
        .var("SHARED", layout.shared().to_string())
        .list("PATHS", paths)
        .var("LOGS", if has_logs { of("storage/logs") } else { String::new() })
        .var("POOL_USER", pool.as_ref().and_then(|pool| pool.user.as_deref()).unwrap_or_default())
        .var("POOL_GROUP", pool.as_ref().and_then(|pool| pool.group.as_deref()).unwrap_or_default());
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    let map = Map::of(&answer);
    let mut sheet = Sheet::new(cx, io, &doing);
    let account = pool.as_ref().and_then(|pool| Account::of(pool, &answer));
    if account.is_none() {
        sheet.warned("PHP-FPM's user", errors::checks::fpm_user_unknown());
    }
    let writers = Writers {
        deploy: &looked.user,
        uid: answer.get("uid").and_then(|uid| uid.trim().parse().ok()),
        gid: answer.get("gid").and_then(|gid| gid.trim().parse().ok()),
        groups: answer.get("groups").unwrap_or_default(),
        account: account.as_ref(),
        map: &map,
    };
    for path in shared {
        writers.folder(&mut sheet, path, &inside(path), &answer);
    }
    writers.logs(&mut sheet, &answer);
    writers.env_file(&mut sheet, layout.env_file().as_str());
    sheet.end(format!("both users can write in {} shared folders", shared.len()))
}

/// An account and the groups that a process of it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gids: BTreeSet<u32>,
    /// The name of the group that it shares with others.
    group: String,
}

impl Account {
    /// FPM's children have the group of the pool and every further group of its user (`initgroups` in fpm_unix.c).
    fn of(pool: &Pool, answer: &Answer) -> Option<Self> {
        let name = pool.user.clone()?;
        let uid = answer.get("pool-uid")?.trim().parse().ok()?;
        let mut gids: BTreeSet<u32> =
            answer.get("pool-gids")?.split_whitespace().filter_map(|gid| gid.parse().ok()).collect();
        let group = match &pool.group {
            Some(group) => {
                // `name:x:33:` (group(5))
                let gid = answer.get("pool-group")?.split(':').nth(2)?.parse().ok()?;
                // The account's own first group is replaced by the pool's.
                let own = answer.get("pool-gid")?.trim().parse().ok()?;
                gids.remove(&own);
                gids.insert(gid);
                group.clone()
            }
            None => name.clone(),
        };
        Some(Self { name, uid, gids, group })
    }
}

/// A folder or file as stat(1) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    path: String,
    uid: u32,
    gid: u32,
    /// Type and permissions, as in `st_mode`.
    mode: u32,
    /// Whether it has more rules than its mode shows.
    acl: bool,
}

/// Whether an account has a right; `Unknown` where an access list decides, which modes do not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    Yes,
    No,
    Unknown,
}

impl Node {
    /// `33 33 41fd no /var/www`
    fn parse(record: &str) -> Option<Self> {
        let mut parts = record.splitn(5, ' ');
        Some(Self {
            uid: parts.next()?.parse().ok()?,
            gid: parts.next()?.parse().ok()?,
            mode: u32::from_str_radix(parts.next()?, 16).ok()?,
            acl: parts.next()? == "yes",
            path: parts.next()?.to_owned(),
        })
    }

    /// One class counts and no other: the owner's, else the group's, else that of all others.
    fn may(&self, account: &Account, wanted: u32) -> May {
        let holds = |shift: u32| if self.mode >> shift & wanted == wanted { May::Yes } else { May::No };
        if account.uid == 0 {
            May::Yes
        } else if account.uid == self.uid {
            holds(6)
        } else if self.acl {
            May::Unknown
        } else if account.gids.contains(&self.gid) {
            holds(3)
        } else {
            holds(0)
        }
    }
}

/// Everything that was told of the paths.
struct Map {
    nodes: Vec<Node>,
    /// From a path as we name it to where it really lies.
    real: Vec<(String, String)>,
    /// From a path that is not there to the folder in which it would be made.
    missing: Vec<(String, String)>,
    ours: BTreeSet<String>,
}

impl Map {
    fn of(answer: &Answer) -> Self {
        let pair = |record: &str| record.split_once('\n').map(|(path, real)| (path.to_owned(), real.to_owned()));
        Self {
            nodes: answer.all("node").filter_map(Node::parse).collect(),
            real: answer.all("path").filter_map(pair).collect(),
            missing: answer.all("missing").filter_map(pair).collect(),
            ours: answer.all("ours").map(str::to_owned).collect(),
        }
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let real = self.real.iter().find(|(named, _)| named == path).map(|(_, real)| real)?;
        self.at(real)
    }

    fn at(&self, real: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.path == real)
    }

    /// Whether an account may do that to a path, and the folder or file that decides it.
    fn may(&self, account: &Account, path: &str, wanted: u32) -> (May, String) {
        let Some(last) = self.node(path) else { return (May::Unknown, path.to_owned()) };
        let above = last.path.match_indices('/').map(|(at, _)| if at == 0 { "/" } else { &last.path[..at] });
        let mut unknown = None;
        for (real, wanted) in above.map(|real| (real, PASS)).chain([(last.path.as_str(), wanted)]) {
            match self.at(real).map_or(May::Unknown, |node| node.may(account, wanted)) {
                May::Yes => {}
                May::No => return (May::No, real.to_owned()),
                May::Unknown => unknown = unknown.or(Some(real.to_owned())),
            }
        }
        match unknown {
            Some(real) => (May::Unknown, real),
            None => (May::Yes, last.path.clone()),
        }
    }
}

struct Writers<'a> {
    deploy: &'a str,
    /// The deploy user's own numbers.
    uid: Option<u32>,
    gid: Option<u32>,
    /// The names of its groups.
    groups: &'a str,
    /// PHP-FPM's.
    account: Option<&'a Account>,
    map: &'a Map,
}

impl Writers<'_> {
    /// One shared folder and what is in it; the worst is told once for each user.
    fn folder(&self, sheet: &mut Sheet<'_>, path: &str, inside: &[String], answer: &Answer) {
        let check = format!("shared/{path}");
        let Some(whole) = inside.first() else { return };
        let mut foreign = answer.all("foreign").filter_map(foreign_link);
        if let Some((_, link, target)) = foreign.find(|(path, ..)| inside.iter().any(|inner| inner == path)) {
            sheet.failed(&check, errors::server::foreign_link(link, target));
            return;
        }
        if answer.all("dangling").any(|dangling| dangling == whole) {
            sheet.failed(&check, errors::preflight::shared_dangling(whole, whole));
            return;
        }
        if self.map.missing.iter().any(|(missing, _)| missing == whole) {
            match self.would_make(whole) {
                Ok(()) => sheet.passed(&check, "does not exist yet: the release creates it for both users"),
                Err(problem) => sheet.failed(&check, problem),
            }
            return;
        }
        // A path that was not read proves nothing of any account's rights.
        let odd = inside.iter().find(|path| answer.all("odd").any(|odd| odd == **path));
        if odd.is_some() || answer.get("unread").is_some() {
            let path = odd.unwrap_or(whole);
            sheet.warned(&check, errors::checks::shared_path_unknown(path));
            return;
        }
        const FOLDER: u32 = 0o040_000;
        const KIND: u32 = 0o170_000;
        if self.map.node(whole).is_some_and(|node| node.mode & KIND != FOLDER) {
            sheet.failed(&check, errors::preflight::shared_not_a_folder(whole, whole));
            return;
        }
        let there: Vec<&String> = inside.iter().filter(|path| self.map.node(path).is_some()).collect();
        let mut clean = true;
        if let Some(closed) = there.iter().find(|path| !self.map.ours.contains(**path)) {
            clean = false;
            sheet.failed(&check, errors::preflight::shared_not_writable(self.deploy, closed, self.open(whole, closed)));
        }
        if let Some(account) = self.account {
            let judged = there.iter().map(|path| (path, self.map.may(account, path, WRITE | PASS)));
            let worst =
                judged.filter(|(_, (may, _))| *may != May::Yes).min_by_key(|(_, (may, _))| *may == May::Unknown);
            match worst {
                Some((folder, (May::No, real))) => {
                    clean = false;
                    let passes = self.map.node(folder).is_some_and(|node| node.path != real);
                    let user = &account.name;
                    let problem = if passes {
                        errors::preflight::shared_not_reachable(user, &real, folder)
                    } else {
                        let who = format!("PHP-FPM's user {user}");
                        errors::preflight::shared_not_writable(&who, folder, self.open(whole, folder))
                    };
                    sheet.failed(&check, problem);
                }
                Some((folder, (_, real))) => {
                    clean = false;
                    sheet.warned(&check, errors::checks::shared_access_list(&account.name, folder, &real));
                }
                None => {}
            }
        }
        if let Some(problem) = inside.iter().find_map(|path| self.would_make(path).err()).filter(|_| clean) {
            clean = false;
            sheet.failed(&check, problem);
        }
        if clean {
            let who = self.account.map_or("can write", |_| "and PHP-FPM's user can write");
            let more =
                if there.len() > 1 { format!(", also in {} folders inside", there.len() - 1) } else { String::new() };
            sheet.passed(&check, format!("{} {who}{more}", self.deploy));
        }
    }

    /// What is not there is made by the release, as the deploy user; whether PHP-FPM's user may then write in it hangs on the group
    /// that it gets: its folder's, if that is setgid, else the deploy user's own (mkdir(2)).
    fn would_make(&self, path: &str) -> Result<(), errors::Problem> {
        let Some((_, folder)) = self.map.missing.iter().find(|(missing, _)| missing == path) else { return Ok(()) };
        let group = self.account.map_or("GROUP", |account| account.group.as_str());
        let hint = format!("install -d -o {} -g {group} -m 2775 {path}", self.deploy);
        if !self.map.ours.contains(folder) {
            return Err(errors::preflight::shared_not_creatable(path, self.deploy, folder, hint));
        }
        let (Some(account), Some(node)) = (self.account, self.map.at(folder)) else { return Ok(()) };
        let gid = if node.mode & 0o2000 == 0 { self.gid } else { Some(node.gid) };
        let shared =
            account.uid == 0 || Some(account.uid) == self.uid || gid.is_some_and(|gid| account.gids.contains(&gid));
        if shared || node.acl {
            return Ok(());
        }
        Err(errors::preflight::shared_closed_when_made(path, &account.name, folder, hint))
    }

    /// The command that opens a folder to both: a group that both have, and setgid, so that what is made in it has it, too. The site may put
    /// a link in the place of a folder below `whole` before the command is typed: find(1) follows none.
    fn open(&self, whole: &str, path: &str) -> String {
        let real = |path| self.map.node(path).map_or(path, |node| node.path.as_str());
        let (from, folder) = (real(whole), real(path));
        let depth =
            folder.strip_prefix(from).filter(|below| below.starts_with('/')).map(|below| below.matches('/').count());
        let place = match depth.map(|depth| depth.to_string()) {
            Some(depth) => RemoteCommand::new([
                "find",
                from,
                "-mindepth",
                &depth,
                "-maxdepth",
                &depth,
                "-path",
                folder,
                "-type",
                "d",
            ]),
            None => RemoteCommand::new(["find", folder, "-maxdepth", "0", "-type", "d"]),
        };
        let to = |group: &str| format!("{place} -execdir chgrp {group} {{}} + -execdir chmod g+rwxs {{}} +");
        let Some(account) = self.account else {
            return format!("Give it a group of which {} and PHP-FPM's user are members: {}", self.deploy, to("GROUP"));
        };
        let group = &account.group;
        let join = if self.groups.split_whitespace().any(|own| own == group) {
            String::new()
        } else {
            format!("usermod -aG {group} {} && ", self.deploy)
        };
        format!("{join}{}", to(group))
    }

    /// A log that one of the two made for itself alone makes every request of the other fail.
    fn logs(&self, sheet: &mut Sheet<'_>, answer: &Answer) {
        let closed: Vec<(&str, &str)> = answer
            .all("log")
            .filter_map(|log| {
                if !self.map.ours.contains(log) {
                    return Some((log, self.deploy));
                }
                let account = self.account?;
                (self.map.may(account, log, WRITE).0 == May::No).then_some((log, account.name.as_str()))
            })
            .collect();
        if let Some((log, user)) = closed.first() {
            sheet.warned("logs", errors::checks::log_closed(user, log, closed.len() - 1));
        }
    }

    /// PHP-FPM reads the app's settings itself wherever they are not cached.
    fn env_file(&self, sheet: &mut Sheet<'_>, file: &str) {
        let Some(account) = self.account.filter(|_| self.map.node(file).is_some()) else { return };
        match self.map.may(account, file, READ) {
            (May::No, real) => sheet
                .warned("access to .env", errors::checks::env_file_closed(&account.name, &account.group, file, &real)),
            _ => sheet.passed("access to .env", format!("{} and PHP-FPM's user", self.deploy)),
        }
    }
}

/// A path that was asked for, the link on its way, and where that leads.
fn foreign_link(record: &str) -> Option<(&str, &str, &str)> {
    let (path, rest) = record.split_once('\n')?;
    let (link, target) = rest.split_once('\n')?;
    Some((path, link, target))
}

/// For `fuzzing`: no account may write to what is not there.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(answer: &Answer) {
    let pool = Pool { user: Some("shop".to_owned()), group: Some("www-data".to_owned()), ..Pool::default() };
    let (map, Some(account)) = (Map::of(answer), Account::of(&pool, answer)) else { return };
    for (named, _) in &map.real {
        let (may, _) = map.may(&account, named, WRITE | PASS);
        assert!(may != May::Yes || map.node(named).is_some(), "{named}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account { name: "www-data".to_owned(), uid: 33, gids: BTreeSet::from([33, 50]), group: "www-data".to_owned() }
    }

    fn node(uid: u32, gid: u32, mode: u32) -> Node {
        Node { path: "/x".to_owned(), uid, gid, mode: 0o040_000 | mode, acl: false }
    }

    #[test]
    fn f66_one_class_of_a_mode_counts_and_no_other() {
        let account = account();
        let may = |uid, gid, mode| node(uid, gid, mode).may(&account, WRITE | PASS);
        assert_eq!(may(1000, 33, 0o2775), May::Yes);
        assert_eq!(may(1000, 50, 0o0770), May::Yes, "a further group of the account");
        assert_eq!(may(1000, 1000, 0o0775), May::No);
        assert_eq!(may(1000, 1000, 0o0777), May::Yes);
        assert_eq!(may(1000, 33, 0o0707), May::No, "who is in the group is not everybody");
        assert_eq!(may(33, 33, 0o0570), May::No, "who owns it is not its group");
        assert_eq!(may(1000, 33, 0o0760), May::No, "writing in a folder needs passing through it");
        let closed = Node { acl: true, ..node(1000, 1000, 0o0775) };
        assert_eq!(closed.may(&account, WRITE), May::Unknown);
        assert_eq!(closed.may(&Account { uid: 0, ..account }, WRITE), May::Yes, "root");
    }

    #[test]
    fn f66_a_closed_folder_above_closes_what_is_below() {
        let record = |text: &str| ("node".to_owned(), text.to_owned());
        let answer = Answer::new(vec![
            ("path".to_owned(), "/srv/app/shared/storage\n/mnt/files/storage".to_owned()),
            record("0 0 41ed no /"),
            record("0 0 41c0 no /mnt"),
            record("1000 33 45fd no /mnt/files"),
            record("1000 33 45fd no /mnt/files/storage"),
        ]);
        let map = Map::of(&answer);
        assert_eq!(map.may(&account(), "/srv/app/shared/storage", WRITE | PASS), (May::No, "/mnt".to_owned()));
        assert_eq!(map.may(&account(), "/nowhere", WRITE), (May::Unknown, "/nowhere".to_owned()));
        let answer = Answer::new(vec![
            ("path".to_owned(), "/a b/c\n/a b/c".to_owned()),
            record("0 0 41ed no /"),
            record("0 0 41ed no /a b"),
            record("1000 33 45fd no /a b/c"),
        ]);
        assert_eq!(Map::of(&answer).may(&account(), "/a b/c", WRITE | PASS), (May::Yes, "/a b/c".to_owned()));
    }

    #[test]
    fn f66_the_pools_group_takes_the_place_of_the_accounts_own() {
        let answer = Answer::new(
            [
                ("pool-uid", "1001"),
                ("pool-gid", "1001"),
                ("pool-gids", "1001 50"),
                ("pool-group", "www-data:x:33:deploy"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        );
        let pool = Pool { user: Some("shop".to_owned()), group: Some("www-data".to_owned()), ..Pool::default() };
        let account = Account::of(&pool, &answer).expect("an account");
        assert_eq!((account.uid, account.gids, account.group.as_str()), (1001, BTreeSet::from([33, 50]), "www-data"));
        let account = Account::of(&Pool { group: None, ..pool.clone() }, &answer).expect("an account");
        assert_eq!(account.gids, BTreeSet::from([1001, 50]));
        assert_eq!(Account::of(&Pool { user: None, ..pool }, &answer), None);
    }
}
