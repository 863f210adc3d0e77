//! `health-token`: the server's token becomes the repository's secret. It travels inside the encrypted connection to this process, is sealed here
//! with the repository's public key, and is seen nowhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::{PublicKey, aead::OsRng};
use serde_json::json;
use url::Url;

use super::{Fix, FixPlan, Proposal, refusal};
use crate::{
    config::typed::HealthPolicy,
    context::Survey,
    domain::{Failure, Secret, Sha256Digest, fix::Setting},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    github::{GithubError, SealingKey, SecretEntry},
    server::{
        health::probe::{self, Quotes},
        remote,
    },
    transport::shell::Script,
};

/// Reads a `.env`; needs its path as an argument.
const PROGRAM: &str = concat!(include_str!("../../transport/dotenv.php"), include_str!("secret.php"));

const PERMISSION: &str = "secrets=write";

/// Characters that a token must have.
const SHORTEST: usize = 8;

const ASKING: &str = "checking whether the site accepts the server's token";

/// Longest token that is taken, in bytes: GitHub takes secrets of up to 48 KB, and a header has to carry it.
const LONGEST: usize = 4096;

/// The token, and where it shall go; nothing of both where the secret has it already.
pub struct Current {
    token: Secret,
    before: Option<SecretEntry>,
    key: SealingKey,
}

/// The server's token. From the moment that it is known, runner and log hide it.
pub async fn read(cx: &Fix<Option<Current>>, io: &Io) -> Result<Secret, Failure> {
    let survey = cx.server()?;
    let file = survey.inputs.layout.env_file();
    let doing = format!("reading HEALTHCHECK_TOKEN in {file}");
    let script = Script::new("secret", include_str!("secret.sh"))
        .var("ENV_FILE", file.as_str())
        .var("PHP", &survey.inputs.server.php)
        .var("SECRET_PHP", PROGRAM);
    let answer = remote::run(&*survey.ports.shell, io, script, &doing).await?;
    let said = Secret::new(answer.get("said").unwrap_or_default());
    let (address, token) = said.expose().split_once('\n').unwrap_or((said.expose(), ""));
    let token = Secret::new(token);
    let unfit = |cause: &str| Err(errors::fix::token_unfit(&doing, cause, file.as_str()));
    // Hiding a few letters would hide every word that has them.
    match token.expose().chars().count() {
        0 => return unfit("it is not set in this file"),
        1..SHORTEST => return unfit("it has fewer than 8 characters and can be guessed"),
        _ => (cx.world.hide)(&token),
    }
    if token.expose().len() > LONGEST || token.expose().chars().any(char::is_control) {
        return unfit("it is not a text that a header can contain");
    }
    belongs_to(address, &survey.inputs.site.url, file.as_str())?;
    Ok(token)
}

/// A token that was learnt on the server goes to no other site than the one that the same file names (SE11).
fn belongs_to(address: &str, url: &Url, file: &str) -> Result<(), Failure> {
    let same = Url::parse(address.trim()).is_ok_and(|named| named.origin() == url.origin());
    if same {
        return Ok(());
    }
    let (shown, url) = (address.trim(), url.as_str().trim_end_matches('/'));
    Err(errors::fix::token_elsewhere(file, shown, url))
}

/// Whether the site takes this token.
async fn taken(survey: &Survey, token: &Secret, doing: &str) -> Result<String, Failure> {
    let policy = HealthPolicy { token: Some(token.clone()), ..survey.inputs.health.clone() };
    if !probe::takes_token(&policy) {
        return Err(errors::fix::token_not_taken(doing));
    }
    let quotes = Quotes::of(&survey.ports, &survey.inputs);
    let report = probe::round(&*survey.ports.site, &policy, &*survey.ports.clock, None, quotes).await;
    let score = report.score();
    let problems = report
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.problem.as_ref().map(|problem| format!("{}: {problem}", endpoint.path)));
    let problems: Vec<String> = problems.collect();
    if report.endpoints.iter().any(|endpoint| matches!(endpoint.status, Some(401 | 403))) {
        return Err(errors::fix::token_stale(doing, problems));
    }
    if !report.healthy() {
        return Err(errors::fix::token_untested(doing, &problems));
    }
    Ok(format!("{}/{} with the server's token", score.passed, score.total))
}

pub async fn look(cx: &Fix<Option<Current>>, io: &Io) -> StepResult {
    let (survey, github, inputs) = (cx.server()?, cx.github()?, &cx.world.inputs);
    let name = &inputs.secret;
    let token = read(cx, io).await?;
    let digest = Sha256Digest::of(token.expose());
    let given = survey.inputs.health.token.as_ref().map(|given| Sha256Digest::of(given.expose()));
    let same = given.as_ref() == Some(&digest);
    let what = format!("secret {name}");
    let workflow = match &given {
        Some(given) => format!("SHA-256 {}", given.short()),
        None => "not set in this step".to_owned(),
    };
    let server = Setting::new("token on the server", format!("SHA-256 {}", digest.short()));
    let passed = Setting::new("token that the workflow passes", workflow);
    let subject = format!("{what} of {}", github.repository());
    if same {
        // Whatever the secrets are called: what the workflow passes is the server's. It may be sent to the site before the phrase, as every
        // stage does with what it is passed.
        let site = taken(survey, &token, ASKING).await?;
        io.line(format!("the site is healthy, {site}"));
        let proposal = Proposal {
            subject,
            before: vec![server, passed],
            wanted: Vec::new(),
            sends: Vec::new(),
            needs: PERMISSION.to_owned(),
            nothing: Some("the workflow already passes the server's token, and the site accepts it".to_owned()),
            bound: json!(null),
        };
        return cx.propose(io, proposal, None);
    }
    let doing = format!("reading the {subject}");
    let key = github.sealing_key().await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    let before = github.secret(name).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    let environment = inputs.environment.as_str();
    match github.environment_secret(environment, name).await {
        Ok(true) => {
            return Err(errors::fix::secret_shadowed(&doing, environment, name));
        }
        Ok(false) => {}
        Err(GithubError::Forbidden { .. }) => io.warning(errors::fix::shadow_unknown(environment, name)),
        Err(error) => return Err(refusal(&doing, &error, "environments=read")),
    }
    let described = |entry: &Option<SecretEntry>| match entry {
        Some(entry) => format!("written {}", entry.updated_at),
        None => "not set".to_owned(),
    };
    let proposal = Proposal {
        subject,
        before: vec![server, passed, Setting::new(&what, described(&before))],
        wanted: vec![Setting::new(&what, format!("the server's token, SHA-256 {}", digest.short()))],
        sends: vec![format!(
            "PUT /repos/{}/actions/secrets/{name} with the token, sealed for the key {}",
            github.repository(),
            key.key_id
        )],
        needs: format!("{PERMISSION}, which no GITHUB_TOKEN has"),
        nothing: None,
        bound: json!({ "token": digest, "secret": name, "updated": before.as_ref().map(|entry| &entry.updated_at) }),
    };
    cx.propose(io, proposal, Some(Current { token, before, key }))
}

/// A sealed box (libsodium's `crypto_box_seal`), in base64: only the holder of the repository's private key opens it.
fn seal(token: &Secret, key: &SealingKey, doing: &str) -> Result<String, Failure> {
    let odd = || errors::fix::sealing_key(doing, &key.key_id);
    let bytes: [u8; 32] = STANDARD.decode(key.key.trim()).map_err(|_| odd())?.try_into().map_err(|_| odd())?;
    let sealed = PublicKey::from(bytes)
        .seal(&mut OsRng, token.expose().as_bytes())
        .map_err(|_| Failure::bug(doing, "the token could not be sealed"))?;
    Ok(STANDARD.encode(sealed))
}

pub async fn write(cx: &FixPlan<Option<Current>>, _io: &Io) -> StepResult {
    let Some(known) = &cx.known else { return Ok(cx.nothing_to_do()) };
    let (github, name) = (cx.github()?, &cx.world.inputs.secret);
    let doing = format!("writing the secret {name}");
    let now = github.secret(name).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    if now != known.before {
        return Err(errors::fix::changed_since_plan(
            &doing,
            "the secret was changed after the plan",
            "Run this again.",
        ));
    }
    // Only now, after the phrase: a token that the site refuses must not become the secret.
    taken(cx.server()?, &known.token, ASKING).await?;
    let sealed = seal(&known.token, &known.key, &doing)?;
    github.write_secret(name, &known.key.key_id, &sealed).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    Ok(Done::passed(format!("{name}, sealed for the key {}", known.key.key_id)))
}

/// GitHub gives no secret back: its date shows that it was written, and the site that it is right.
pub async fn verify(cx: &FixPlan<Option<Current>>, io: &Io) -> StepResult {
    let Some(known) = &cx.known else { return Ok(cx.nothing_to_do()) };
    let name = &cx.world.inputs.secret;
    let doing = format!("reading the secret {name} again");
    let after = cx.github()?.secret(name).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    let what = format!("secret {name}");
    let described = after.as_ref().map_or("not set".to_owned(), |entry| format!("written {}", entry.updated_at));
    cx.seen(io, vec![Setting::new(&what, &described)]);
    if after.is_none() || after == known.before {
        return Err(errors::fix::secret_not_written(&doing, &described));
    }
    let site = taken(cx.server()?, &known.token, "testing the written token at the site").await?;
    Ok(Done::passed(format!("{described}; the site is healthy, {site}")))
}

#[cfg(test)]
mod tests {
    use crypto_box::SecretKey;

    use super::*;

    #[test]
    fn se11_a_token_that_was_learnt_goes_to_the_site_of_its_own_env_file_alone() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let site = url("https://shop.example.com");
        for address in ["https://shop.example.com", "https://shop.example.com/", " https://SHOP.example.com:443/app "] {
            assert_eq!(belongs_to(address, &site, "f"), Ok(()), "{address}");
        }
        for address in [
            "",
            "shop.example.com",
            "http://shop.example.com",
            "https://shop.example.com:8443",
            "https://evil.example.com",
        ] {
            let failure = belongs_to(address, &site, "/srv/.env").expect_err(address);
            assert!(
                failure.cause.contains("APP_URL") && failure.cause.contains("https://shop.example.com"),
                "{failure}"
            );
        }
    }

    #[test]
    fn only_the_holder_of_the_private_key_opens_what_is_sealed() {
        let private = SecretKey::generate(&mut OsRng);
        let key = SealingKey { key_id: "1".to_owned(), key: STANDARD.encode(private.public_key().as_bytes()) };
        let token = Secret::new("a token");
        let (one, two) = (seal(&token, &key, "sealing"), seal(&token, &key, "sealing"));
        let (one, two) = (one.expect("sealed"), two.expect("sealed"));
        assert_ne!(one, two, "each with a key of its own");
        let open = |text: &str, key: &SecretKey| key.unseal(&STANDARD.decode(text).expect("base64"));
        assert_eq!(open(&one, &private).expect("opened"), b"a token");
        assert!(open(&one, &SecretKey::generate(&mut OsRng)).is_err());
        for odd in ["", "AAAA", "not base64 at all"] {
            assert!(seal(&token, &SealingKey { key: odd.to_owned(), ..key.clone() }, "sealing").is_err(), "{odd}");
        }
    }
}
