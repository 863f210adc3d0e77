//! A release asked beside the web server: by FastCGI through the site's pool.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use url::Url;

use crate::{
    context::Deploy,
    domain::{Failure, Secret},
    engine::step::Io,
    errors::ssh::SCRIPT_TIMED_OUT,
    http::{Get, Reply, Site, Unanswered, Why, host_header},
    server::{inspect::Gateway, lock, remote},
    transport::shell::{Answer, Script},
};

/// Bytes of an answer that travel.
const KEPT: usize = 2 << 20;

/// What a script takes besides the requests: a connection that is made anew, and the start of PHP.
const AROUND: Duration = Duration::from_secs(20);

/// A release by its folder. Answers are fetched several at once, and given to those who ask for them later.
pub(super) struct Asker<'a> {
    pub(super) cx: &'a Deploy,
    pub(super) io: &'a Io,
    pub(super) gateway: &'a Gateway,
    pub(super) dir: String,
    answers: RefCell<HashMap<Key, VecDeque<Result<Reply, Unanswered>>>>,
    causes: RefCell<Vec<String>>,
}

/// Requests with one key are the same.
type Key = (String, bool, bool);

fn key(get: &Get) -> Key {
    (get.path.clone(), get.page, get.bearer.is_some())
}

impl<'a> Asker<'a> {
    pub(super) fn new(cx: &'a Deploy, io: &'a Io, gateway: &'a Gateway, dir: String) -> Self {
        Self { cx, io, gateway, dir, answers: RefCell::default(), causes: RefCell::default() }
    }

    /// What PHP and the app's log said first while it was asked.
    pub(super) fn causes(&self) -> Vec<String> {
        self.causes.borrow().clone()
    }

    /// Fetches these answers, one after the other. Gives why nothing could be asked, where that is so.
    pub(super) async fn fetch(&self, gets: &[Get]) -> Result<Result<(), String>, Failure> {
        Ok(Self::fetch_all(&[(self, gets)]).await?.remove(0))
    }

    /// The same of several releases in one script; what each of them said. They are of one run and one pool.
    pub(super) async fn fetch_all(asked: &[(&Self, &[Get])]) -> Result<Vec<Result<(), String>>, Failure> {
        for (release, _) in asked {
            release.answers.borrow_mut().clear();
        }
        Self::load(asked).await
    }

    async fn load(asked: &[(&Self, &[Get])]) -> Result<Vec<Result<(), String>>, Failure> {
        let Some((first, _)) = asked.first() else { return Ok(Vec::new()) };
        let nothing = |why: &str| vec![Err(why.to_owned()); asked.len()];
        let folders: Vec<&str> = asked.iter().map(|(release, _)| release.dir.as_str()).collect();
        let doing = format!("asking {} for its pages", folders.join(" and "));
        let script = lock::under(first.cx, Self::script(asked));
        let answer = match remote::run(&*first.cx.ports.shell, first.io, script, &doing).await {
            // What keeps the script from its end is not said of the release.
            Err(failure) if failure.code == SCRIPT_TIMED_OUT.name => return Ok(nothing(&failure.to_string())),
            answered => answered?,
        };
        for causes in answer.all("causes") {
            for (folder, cause) in causes.lines().filter_map(|line| line.split_once(' ')) {
                let Some((release, _)) = folder.parse().ok().and_then(|folder: usize| asked.get(folder)) else {
                    continue;
                };
                let (mut known, cause) = (release.causes.borrow_mut(), cause.trim());
                if !cause.is_empty() && !known.iter().any(|known| known == cause) {
                    known.push(cause.to_owned());
                }
            }
        }
        if let Some(why) = answer.get("unreachable") {
            return Ok(nothing(why));
        }
        // A pool that is full answers late whatever the release is, and a page that hangs holds one of its workers: no other is asked.
        let late = answer.all("answer").filter(|record| record.split(' ').nth(2) == Some("late"));
        let late = late.filter_map(|record| record.split(' ').next()?.parse::<usize>().ok()).next();
        let mut number = 0;
        let mut said = Vec::new();
        for (release, gets) in asked {
            let numbers = number..number + gets.len();
            number = numbers.end;
            said.push(match late {
                Some(late) if late < numbers.end => {
                    let path = gets.get(late.wrapping_sub(numbers.start)).map(|get| get.path.as_str());
                    let path = path.map_or("a page of another release".to_owned(), str::to_owned);
                    Err(format!("{path} got no answer from the pool {} in time", first.gateway.pool))
                }
                _ => {
                    for (number, get) in numbers.zip(*gets) {
                        release.answers.borrow_mut().entry(key(get)).or_default().push_back(read(&answer, number));
                    }
                    Ok(())
                }
            });
        }
        Ok(said)
    }

    fn script(asked: &[(&Self, &[Get])]) -> Script {
        let gets =
            || asked.iter().enumerate().flat_map(|(folder, (_, gets))| gets.iter().map(move |get| (folder, get)));
        let each = gets().map(|(_, get)| get.timeout).max().unwrap_or_default();
        // What a page may take, so that a slow site is no unhealthy one; after the first that takes longer no other is asked.
        let limit = each * u32::try_from(gets().count()).unwrap_or(u32::MAX);
        let Self { cx, gateway, .. } = asked[0].0;
        let folder = |(release, _): &(&Self, &[Get])| json!({ "release": release.dir, "public": format!("{}{}", release.dir, gateway.public) });
        let request =
            |(folder, get): (usize, &Get)| json!({ "folder": folder, "path": get.path, "params": params(get) });
        let ask = json!({
            "address": gateway.address,
            "chroot": gateway.chroot,
            "folders": asked.iter().map(folder).collect::<Vec<_>>(),
            "seconds": each.as_secs_f64(),
            "kept": KEPT,
            "params": site_params(&cx.inputs.site.url),
            "requests": gets().map(request).collect::<Vec<_>>(),
        });
        Script::new("canary", include_str!("fastcgi.sh"))
            .hiding(cx.inputs.layout.env_file())
            .repeatable()
            .timeout(limit + AROUND)
            .var("PHP", &cx.inputs.server.php)
            .var("ASK_PHP", include_str!("fastcgi.php"))
            .secret("ASK", &Secret::new(ask.to_string()))
    }
}

#[async_trait(?Send)]
impl Site for Asker<'_> {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let fetched = || self.answers.borrow_mut().get_mut(&key(&get)).and_then(VecDeque::pop_front);
        if let Some(answer) = fetched() {
            return answer;
        }
        // A page that a redirect leads to.
        let line = |text: String| Unanswered::new(Why::Line, text);
        let loaded = Self::load(&[(self, std::slice::from_ref(&get))]).await;
        loaded.map_err(|failure| line(failure.to_string()))?.remove(0).map_err(line)?;
        fetched().unwrap_or_else(|| Err(line("the program gave no answer".to_owned())))
    }

    fn within(&self, from: &str, location: &str) -> Option<String> {
        self.cx.ports.anywhere.within(from, location)
    }
}

/// What the web server says of the site with every request (nginx's `fastcgi_params`).
fn site_params(url: &Url) -> serde_json::Value {
    let https = url.scheme() == "https";
    let mut params = json!({
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "gated-deploy",
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": url.scheme(),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": url.port_or_known_default().unwrap_or(80).to_string(),
        "SERVER_NAME": url.host_str().unwrap_or_default(),
        "REDIRECT_STATUS": "200",
        "HTTP_HOST": host_header(url),
        "HTTP_USER_AGENT": "gated-deploy",
        "HTTP_ACCEPT_ENCODING": "identity",
    });
    if https {
        merge(&mut params, json!({ "HTTPS": "on" }));
    }
    params
}

/// What a request adds to that.
fn params(get: &Get) -> serde_json::Value {
    let mut params = json!({ "HTTP_ACCEPT": get.accept() });
    if let Some(token) = &get.bearer {
        merge(&mut params, json!({ "HTTP_AUTHORIZATION": format!("Bearer {}", token.expose()) }));
    }
    params
}

fn merge(into: &mut serde_json::Value, more: serde_json::Value) {
    if let (Some(into), serde_json::Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

/// The answer to the request of this number: `NUMBER MS HOW LENGTH BASE64`.
fn read(answer: &Answer, number: usize) -> Result<Reply, Unanswered> {
    let number = number.to_string();
    let words = answer.all("answer").find_map(|record| {
        let words: Vec<&str> = record.split(' ').collect();
        (words.first() == Some(&number.as_str())).then_some(words)
    });
    let Some(words) = words else {
        return Err(Unanswered::new(Why::Late, "not asked, because another page got no answer in time"));
    };
    let [_, ms, how, length, text] = words[..] else {
        return Err(Unanswered::new(Why::Broken, "PHP ended without an answer"));
    };
    match how {
        "late" => return Err(Unanswered::new(Why::Late, "no answer in time")),
        "broken" => return Err(Unanswered::new(Why::Broken, "PHP-FPM ended the connection without an answer")),
        _ => {}
    }
    let unreadable = || Unanswered::new(Why::Broken, "the answer is no answer of PHP");
    let bytes = STANDARD.decode(text).map_err(|_| unreadable())?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(unreadable)?;
    let headers: Vec<(String, String)> = String::from_utf8_lossy(&bytes[..end])
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    // RFC 3875, 6.3.3: without this header it is 200.
    let status = headers.iter().find(|(name, _)| name == "status");
    let status = status.and_then(|(_, value)| value.split(' ').next()?.parse().ok()).unwrap_or(200);
    let total: u64 = length.parse().map_err(|_| unreadable())?;
    Ok(Reply {
        status,
        headers,
        length: total.saturating_sub(end as u64 + 4),
        body: bytes[end + 4..].to_vec(),
        took: Duration::from_millis(ms.parse().unwrap_or(0)),
        vantage: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(record: &str) -> Result<Reply, Unanswered> {
        read(&Answer::new(vec![("answer".to_owned(), record.to_owned())]), 0)
    }

    fn whole(text: &str) -> Result<Reply, Unanswered> {
        said(&format!("0 7 whole {} {}", text.len(), STANDARD.encode(text)))
    }

    #[test]
    fn an_answer_of_php_is_read_with_its_status_and_its_length() {
        let reply = whole("Status: 503 Service Unavailable\r\nRetry-After: 60\r\n\r\ndown").expect("an answer");
        assert_eq!((reply.status, reply.header("retry-after"), reply.length), (503, Some("60"), 4));
        assert_eq!((reply.body.as_slice(), reply.took), (&b"down"[..], Duration::from_millis(7)));
        let reply = whole("Content-Type: text/html\r\n\r\n").expect("an answer without a body");
        assert_eq!((reply.status, reply.length), (200, 0));
        // Of a long one the rest is counted.
        let head = STANDARD.encode("Status: 200 OK\r\n\r\nxx");
        assert_eq!(said(&format!("0 7 whole 5000018 {head}")).map(|reply| reply.length), Ok(5_000_000));
    }

    #[test]
    fn what_php_did_not_answer_is_no_answer() {
        let why = |record: &str| said(record).expect_err("no answer").why;
        for (record, expected) in [
            ("1 7 whole 0 ", Why::Late),
            ("0 ", Why::Broken),
            ("0", Why::Broken),
            ("0 10000 late 0 ", Why::Late),
            ("0 3 broken 0 ", Why::Broken),
            ("0 3 whole 4 %%%%", Why::Broken),
            ("0 3 whole 4 YWJj", Why::Broken),
            ("0 3 whole x DQoNCg==", Why::Broken),
        ] {
            assert_eq!(why(record), expected, "{record}");
        }
    }

    #[test]
    fn the_pool_gets_the_parameters_of_the_web_server() {
        let params = site_params(&"https://shop.example.test:8443".parse().expect("a URL"));
        assert_eq!((&params["HTTPS"], &params["HTTP_HOST"]), (&json!("on"), &json!("shop.example.test:8443")));
        assert_eq!((&params["SERVER_NAME"], &params["SERVER_PORT"]), (&json!("shop.example.test"), &json!("8443")));
        let plain = site_params(&"http://shop.example.test".parse().expect("a URL"));
        assert_eq!((plain.get("HTTPS"), &plain["SERVER_PORT"]), (None, &json!("80")));
    }
}
