//! Classic protection of a branch, whole: as GitHub sends it and as it has to be sent back.
//!
//! Setting it replaces everything, so one more setting means sending all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Flags that are safer when they are on, as both directions call them.
const STRICT_ON: [&str; 4] =
    ["required_linear_history", "required_conversation_resolution", "lock_branch", "block_creations"];

/// Flags that are safer when they are off.
const STRICT_OFF: [&str; 3] = ["allow_force_pushes", "allow_deletions", "allow_fork_syncing"];

/// Everything that "Update branch protection" takes, and `required_signatures`, which it leaves alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BranchSettings {
    pub checks: Option<Checks>,
    pub enforce_admins: bool,
    pub reviews: Option<Reviews>,
    /// Accounts that may push; `None` is every account with write access.
    pub restrictions: Option<People>,
    pub flags: BTreeMap<&'static str, bool>,
    pub signatures: bool,
}

/// `{ name: app }`; no app is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    pub strict: bool,
    pub required: BTreeMap<String, App>,
}

/// Which app must report a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    Any,
    Only(i64),
    /// Left to GitHub: the app that reported it lately.
    Latest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reviews {
    pub count: u64,
    pub dismiss_stale: bool,
    pub code_owners: bool,
    pub last_push: bool,
    /// Accounts that may dismiss; `None` is every account with write access.
    pub dismissal: Option<People>,
    /// Who may do without.
    pub bypass: Option<People>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    pub users: BTreeSet<String>,
    pub teams: BTreeSet<String>,
    pub apps: BTreeSet<String>,
}

impl BranchSettings {
    /// # Errors
    /// Something that would be lost, because it has another shape than documented.
    pub fn parse(answer: &Value) -> Result<Self, String> {
        let enabled = |name: &str| match answer.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.get("enabled").and_then(Value::as_bool) {
                Some(on) => Ok(Some(on)),
                None => Err(format!("{name} has no value `enabled`")),
            },
        };
        let mut flags = BTreeMap::new();
        for name in STRICT_ON.into_iter().chain(STRICT_OFF) {
            if let Some(on) = enabled(name)? {
                flags.insert(name, on);
            }
        }
        Ok(Self {
            checks: present(answer, "required_status_checks").map(Checks::parse).transpose()?,
            enforce_admins: enabled("enforce_admins")?.unwrap_or(false),
            reviews: present(answer, "required_pull_request_reviews").map(Reviews::parse).transpose()?,
            restrictions: present(answer, "restrictions").map(People::parse).transpose()?,
            flags,
            signatures: enabled("required_signatures")?.unwrap_or(false),
        })
    }

    /// The body of "Update branch protection". Its four main keys must be there. Of `contexts` and `checks` GitHub takes one only, whatever
    /// its schema says; the second can name the app.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "required_status_checks": self.checks.as_ref().map(Checks::body),
            "enforce_admins": self.enforce_admins,
            "required_pull_request_reviews": self.reviews.as_ref().map(Reviews::body),
            "restrictions": self.restrictions.as_ref().map(People::body),
        });
        for (name, on) in &self.flags {
            body[*name] = json!(on);
        }
        body
    }

    /// The names of the required checks.
    pub fn required(&self) -> BTreeSet<String> {
        self.checks.iter().flat_map(|checks| checks.required.keys().cloned()).collect()
    }

    /// In which ways `self` is weaker than `before`. The rule of every fix: in none.
    pub fn weaker_than(&self, before: &Self) -> Vec<String> {
        let mut ways = Vec::new();
        let mut must = |kept: bool, what: String| {
            if !kept {
                ways.push(what);
            }
        };
        if let Some(old) = &before.checks {
            let new = self.checks.clone().unwrap_or_default();
            must(new.strict || !old.strict, "branches no longer need to be up to date".to_owned());
            for (name, app) in &old.required {
                let kept = new.required.get(name);
                must(kept.is_some(), format!("the check `{name}` is no longer required"));
                if let (Some(kept), App::Only(id)) = (kept, app) {
                    must(*kept == App::Only(*id), format!("the check `{name}` may come from another app"));
                }
            }
        }
        must(self.enforce_admins || !before.enforce_admins, "administrators are exempt".to_owned());
        if let Some(old) = &before.reviews {
            let new = self.reviews.clone().unwrap_or_default();
            must(new.count >= old.count, format!("{} reviews instead of {}", new.count, old.count));
            must(new.dismiss_stale || !old.dismiss_stale, "stale reviews are no longer dismissed".to_owned());
            must(new.code_owners || !old.code_owners, "code owners no longer need to review".to_owned());
            must(new.last_push || !old.last_push, "the last push no longer needs a review".to_owned());
            must(
                old.dismissal.is_none() || new.dismissal == old.dismissal,
                "more accounts can dismiss reviews".to_owned(),
            );
            let bypass = new.bypass.unwrap_or_default();
            let allowed = old.bypass.clone().unwrap_or_default();
            must(bypass.within(&allowed), "more accounts can skip reviews".to_owned());
        }
        must(
            before.restrictions.is_none() || self.restrictions == before.restrictions,
            "more accounts can push".to_owned(),
        );
        for name in STRICT_ON {
            let (old, new) = (before.flags.get(name), self.flags.get(name));
            must(old != Some(&true) || new == Some(&true), format!("{name} is off"));
        }
        for name in STRICT_OFF {
            let (old, new) = (before.flags.get(name), self.flags.get(name));
            must(new != Some(&true) || old == Some(&true), format!("{name} is on"));
        }
        must(self.signatures || !before.signatures, "signatures are no longer required".to_owned());
        ways
    }
}

fn present<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).filter(|found| !found.is_null())
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

impl Checks {
    fn parse(value: &Value) -> Result<Self, String> {
        let mut required = BTreeMap::new();
        for name in value.get("contexts").and_then(Value::as_array).into_iter().flatten() {
            required.insert(name.as_str().ok_or("a required check has no name")?.to_owned(), App::Any);
        }
        for check in value.get("checks").and_then(Value::as_array).into_iter().flatten() {
            let name = check.get("context").and_then(Value::as_str).ok_or("a required check has no name")?;
            let app = check.get("app_id").and_then(Value::as_i64).filter(|id| *id >= 0).map_or(App::Any, App::Only);
            required.insert(name.to_owned(), app);
        }
        Ok(Self { strict: flag(value, "strict"), required })
    }

    fn body(&self) -> Value {
        let checks = self.required.iter().map(|(name, app)| match app {
            App::Any => json!({ "context": name, "app_id": -1 }),
            App::Only(id) => json!({ "context": name, "app_id": id }),
            App::Latest => json!({ "context": name }),
        });
        json!({ "strict": self.strict, "checks": checks.collect::<Vec<_>>() })
    }
}

impl Reviews {
    fn parse(value: &Value) -> Result<Self, String> {
        Ok(Self {
            count: value.get("required_approving_review_count").and_then(Value::as_u64).unwrap_or(0),
            dismiss_stale: flag(value, "dismiss_stale_reviews"),
            code_owners: flag(value, "require_code_owner_reviews"),
            last_push: flag(value, "require_last_push_approval"),
            dismissal: present(value, "dismissal_restrictions").map(People::parse).transpose()?,
            bypass: present(value, "bypass_pull_request_allowances").map(People::parse).transpose()?,
        })
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("required_approving_review_count".to_owned(), json!(self.count));
        body.insert("dismiss_stale_reviews".to_owned(), json!(self.dismiss_stale));
        body.insert("require_code_owner_reviews".to_owned(), json!(self.code_owners));
        body.insert("require_last_push_approval".to_owned(), json!(self.last_push));
        // GitHub refuses these two for a repository of a user account, even empty.
        if let Some(people) = &self.dismissal {
            body.insert("dismissal_restrictions".to_owned(), people.body());
        }
        if let Some(people) = &self.bypass {
            body.insert("bypass_pull_request_allowances".to_owned(), people.body());
        }
        Value::Object(body)
    }
}

impl People {
    fn parse(value: &Value) -> Result<Self, String> {
        let names = |list: &str, key: &str| -> Result<BTreeSet<String>, String> {
            let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
            let name = |item: &Value| item.get(key).and_then(Value::as_str).map(str::to_owned);
            items.map(|item| name(item).ok_or(format!("one of {list} has no {key}"))).collect()
        };
        Ok(Self { users: names("users", "login")?, teams: names("teams", "slug")?, apps: names("apps", "slug")? })
    }

    fn body(&self) -> Value {
        json!({ "users": self.users, "teams": self.teams, "apps": self.apps })
    }

    fn within(&self, other: &Self) -> bool {
        self.users.is_subset(&other.users) && self.teams.is_subset(&other.teams) && self.apps.is_subset(&other.apps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an administrator sees a branch on which everything is set.
    fn describe() -> Value {
        let people = json!({
            "users": [{ "login": "ada", "id": 1 }], "teams": [{ "slug": "core", "id": 2 }], "apps": [{ "slug": "bot", "id": 3 }],
        });
        json!({
            "url": "",
            "required_status_checks": {
                "strict": true, "contexts": ["lint", "test"],
                "checks": [{ "context": "lint", "app_id": null }, { "context": "test", "app_id": 15368 }],
            },
            "enforce_admins": { "enabled": true },
            "required_pull_request_reviews": {
                "required_approving_review_count": 2, "dismiss_stale_reviews": true, "require_code_owner_reviews": true,
                "require_last_push_approval": true, "dismissal_restrictions": people, "bypass_pull_request_allowances": people,
            },
            "restrictions": people,
            "required_signatures": { "enabled": true },
            "required_linear_history": { "enabled": true },
            "allow_force_pushes": { "enabled": false },
            "allow_deletions": { "enabled": false },
            "block_creations": { "enabled": true },
            "required_conversation_resolution": { "enabled": true },
            "lock_branch": { "enabled": true },
            "allow_fork_syncing": { "enabled": false },
        })
    }

    #[test]
    fn what_is_sent_keeps_everything_that_was_said() {
        let settings = BranchSettings::parse(&describe()).expect("as documented");
        let people = json!({ "users": ["ada"], "teams": ["core"], "apps": ["bot"] });
        assert_eq!(
            settings.body(),
            json!({
                "required_status_checks": {
                    "strict": true,
                    "checks": [{ "context": "lint", "app_id": -1 }, { "context": "test", "app_id": 15368 }],
                },
                "enforce_admins": true,
                "required_pull_request_reviews": {
                    "required_approving_review_count": 2, "dismiss_stale_reviews": true, "require_code_owner_reviews": true,
                    "require_last_push_approval": true, "dismissal_restrictions": people, "bypass_pull_request_allowances": people,
                },
                "restrictions": people,
                "required_linear_history": true, "allow_force_pushes": false, "allow_deletions": false, "block_creations": true,
                "required_conversation_resolution": true, "lock_branch": true, "allow_fork_syncing": false,
            })
        );
        let bare = BranchSettings::default().body();
        for key in ["required_status_checks", "enforce_admins", "required_pull_request_reviews", "restrictions"] {
            assert!(bare.get(key).is_some(), "{key} must be sent, even as null");
        }
        let odd = json!({ "allow_deletions": true });
        assert!(BranchSettings::parse(&odd).is_err(), "what cannot be read would be lost");
    }

    #[test]
    fn every_way_of_becoming_weaker_is_seen() {
        let before = BranchSettings::parse(&describe()).expect("as documented");
        assert_eq!(before.weaker_than(&before), Vec::<String>::new());
        let changed = |path: &str, value: Value| {
            let mut answer = describe();
            *answer.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
            BranchSettings::parse(&answer).expect("as documented").weaker_than(&before)
        };
        for (path, value, says) in [
            ("/required_status_checks", Value::Null, "`lint` is no longer required"),
            ("/required_status_checks/strict", json!(false), "up to date"),
            ("/required_status_checks/checks/1/app_id", Value::Null, "another app"),
            ("/enforce_admins/enabled", json!(false), "administrators"),
            ("/required_pull_request_reviews", Value::Null, "0 reviews instead of 2"),
            ("/required_pull_request_reviews/required_approving_review_count", json!(1), "1 reviews"),
            ("/required_pull_request_reviews/dismiss_stale_reviews", json!(false), "stale"),
            ("/required_pull_request_reviews/require_code_owner_reviews", json!(false), "code owners"),
            ("/required_pull_request_reviews/require_last_push_approval", json!(false), "last push"),
            ("/required_pull_request_reviews/dismissal_restrictions", Value::Null, "dismiss reviews"),
            (
                "/required_pull_request_reviews/bypass_pull_request_allowances/users/0/login",
                json!("eve"),
                "skip reviews",
            ),
            ("/restrictions", Value::Null, "can push"),
            ("/required_linear_history/enabled", json!(false), "required_linear_history"),
            ("/required_conversation_resolution/enabled", json!(false), "conversation"),
            ("/lock_branch/enabled", json!(false), "lock_branch"),
            ("/block_creations/enabled", json!(false), "block_creations"),
            ("/allow_force_pushes/enabled", json!(true), "allow_force_pushes"),
            ("/allow_deletions/enabled", json!(true), "allow_deletions"),
            ("/allow_fork_syncing/enabled", json!(true), "allow_fork_syncing"),
            ("/required_signatures/enabled", json!(false), "signatures"),
        ] {
            let ways = changed(path, value);
            assert!(ways.iter().any(|way| way.contains(says)), "{path}: {ways:?}");
        }
        let stricter = changed("/required_pull_request_reviews/required_approving_review_count", json!(3));
        assert_eq!(stricter, Vec::<String>::new());
    }
}
