//! What concerns the server as a whole: paths, room, the shell.

use super::{Problem, codes, word};

codes! {
    PRIVATE_FOLDER = "private-folder-unwritable", Refused {
        meaning: "A private folder for a program's files cannot be made on the server.",
        cause: "The disk or a quota is full, or the folder belongs to another account.",
        action: "Free space and inodes there, or correct its owner.",
        script: "a private folder cannot be made in {folder}", "Check space, inodes and owner: df {folder}; df -i {folder}; ls -ld {folder}",
    }
    PATH_REPLACED = "path-replaced", Refused {
        meaning: "A path below `shared` was replaced by another account while a script went through it.",
        cause: "A program of the site, or another account, moves folders there; or an attack.",
        action: "Find out who writes there, then run again.",
        script: "{path} was replaced while this script ran", "Find out who writes there: ls -l {folder}",
    }
    FOREIGN_LINK = "foreign-link", Refused {
        meaning: "A link that another account made is not followed.",
        cause: "The site's account put a link where a release writes.",
        action: "Find out who made the link, and remove it.",
        script: "{path} is a link to {target} that another account made; it is not followed",
            "Find out who made it: ls -l {folder}. Then remove it: rm {path}",
    }
    DANGLING_LINK = "dangling-link", Refused {
        meaning: "The target of a link below `shared` does not exist.",
        cause: "Its target was moved or removed.",
        action: "Remove the link, or make its target.",
        script: "{path} is a link to {target}, which does not exist", "Remove it: rm {path}",
    }
    NOT_A_FOLDER = "not-a-folder", Refused {
        meaning: "Something that is no folder lies where a release needs one.",
        cause: "A file was put there by hand or by the app.",
        action: "Move it away.",
        script: "{path} is not a folder", "Move it away: mv {path} {path}.old",
    }
    LEDGER_BUSY = "ledger-busy", Refused {
        meaning: "Another process has been writing to the ledger for 30 s.",
        cause: "A script of an earlier run hangs, or a person has the file open for writing.",
        action: "Find the process, and end it if it hangs.",
        script: "another process has been writing to {path} for 30 s", "Find it: fuser -v {path}",
    }
    LEDGER_UNWRITABLE = "ledger-unwritable", Refused {
        meaning: "The ledger cannot be written.",
        cause: "The disk or a quota is full, or the file belongs to another account (after `sudo sed -i` or a restore).",
        action: "Free space, or give the file to the deploy user, then run again.",
        script: "{path} cannot be written", "Check its owner, and whether the disk is full: ls -l {path}; df {path}",
    }
    LEDGER_UNREADABLE = "ledger-unreadable", Refused {
        meaning: "The ledger cannot be read.",
        cause: "The file belongs to another account (after `sudo sed -i` or a restore).",
        action: "Give the file to the deploy user, then run again.",
        script: "{path} cannot be read", "Give it to the deploy user. Check its owner and mode: ls -l {path}",
    }
    LEDGER_OVERWRITTEN = "ledger-overwritten", Refused {
        meaning: "After a line was appended to the ledger, the ledger does not end in this line.",
        cause: "Another process writes to the file without its lock, or the disk is broken.",
        action: "Find out who writes there, then check the ledger: `gated-deploy ledger verify`.",
        script: "{path} does not end in the line that was written", "Find out who writes there: fuser -v {path}",
    }
    JOB_FOLDER = "job-folder-unwritable", Refused {
        meaning: "The folder for a job's files cannot be made on the server.",
        cause: "The disk or a quota is full, or a folder above it belongs to another account.",
        action: "Free space, or correct the owner.",
        script: "{path} cannot be made", "Check the owners of the folders above it, and whether the disk is full: df {folder}; ls -ld {folder}",
    }
    LEDGER_TOO_LONG = "ledger-too-long", Refused {
        meaning: "The ledger is longer than this program reads.",
        cause: "Very many releases, or another program, wrote to it.",
        action: "Keep it under another name. The next run begins a new one; releases that only the old ledger names cannot be the target of a rollback then.",
        script: "{path} has {size} bytes; no more than {limit} are read",
            "Run: mv {path} {path}.old. The next run begins a new ledger. Releases that only the old one names can then not be rolled back to.",
    }
    ENV_FILE_MISSING = "env-file-missing", Refused {
        meaning: "The `.env` file of the site is not on the server.",
        cause: "`env-file` names another path, or the file was not made yet.",
        action: "Correct `env-file`, or put the file there.",
        script: "{path} does not exist", "Correct `env-file`, or put the file there.",
    }
    ENV_FILE_UNREADABLE = "env-file-unreadable", Refused {
        meaning: "The deploy user may not read the `.env` file of the site.",
        cause: "The file belongs to another account, and its group is not one of the deploy user's.",
        action: "Give it a group that the deploy user has, and mode 640.",
        script: "{path} cannot be read", "Give it a group that the deploy user has, then run: chmod 640 {path}",
    }
    ENV_FILE_PARSE_FAILED = "env-file-parse-failed", Refused {
        meaning: "PHP ended with an error while it read the `.env` file of the site.",
        cause: "The program that `php` names is not a PHP for the command line, or is too old.",
        action: "Read PHP's message in the lines of the step, and check `php`.",
        script: "{php} could not read {path}", "Read PHP's message in the lines of this step, and check `php`.",
    }
    PHP_MISSING = "php-missing", Refused {
        meaning: "The server cannot run PHP on the command line under this name.",
        cause: "PHP has another name there (such as `php8.3`), or only PHP-FPM is installed.",
        action: "Install php-cli, or set `php` to the name or the path of PHP for the command line, for example to `/usr/bin/php8.2`.",
        script: "there is no {php}", "Set `php` to the name or the path of PHP for the command line.",
    }
}

/// Another account made `link`; `FOREIGN_LINK` has the same words for scripts.
pub fn foreign_link(link: &str, target: &str) -> Problem {
    let folder = link.rsplit_once('/').map_or("/", |(folder, _)| folder);
    FOREIGN_LINK.problem(
        format!("{link} is a link to {target} that another account made; it is not followed"),
        format!("Find out who made it: ls -l {}. Then remove it: rm {}", word(folder), word(link)),
    )
}
