//! The site, asked on its own server by a small program: whatever is between the runner and the site has no part in it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use url::Url;

use super::{Get, Reply, Site, Unanswered, Why, site};
use crate::{
    domain::Secret,
    transport::shell::{Answer, Script, Shell},
};

/// Bytes of an answer that travel. What is longer is a file, whose length is enough.
const KEPT: usize = 2 << 20;

/// What the script takes besides the request: a connection that is made anew, and the start of PHP.
const AROUND: Duration = Duration::from_secs(20);

/// Asks on the server: where the tunnel or `health-address` leads to, or else at the address that the name of the site has there, or else
/// on the loopback interface, at a port that only root can listen at: the token goes to no other account.
pub struct OnServer {
    shell: Rc<dyn Shell>,
    url: Url,
    php: String,
    places: Vec<(String, u16)>,
}

impl OnServer {
    /// `target`: where the tunnel leads to, if there is one. `php` is the command-line PHP.
    pub fn new(shell: Rc<dyn Shell>, url: Url, php: impl Into<String>, target: Option<(String, u16)>) -> Self {
        let port = url.port_or_known_default().unwrap_or(443);
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let places = match target {
            Some(target) => vec![target],
            None if port < 1024 => vec![(host, port), ("127.0.0.1".to_owned(), port)],
            None => vec![(host, port)],
        };
        Self { shell, url, php: php.into(), places }
    }

    fn script(&self, get: &Get) -> Result<Script, Unanswered> {
        let target = site::target(&self.url, &get.path).map_err(|text| Unanswered::new(Why::Client, text))?;
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        let token = get.bearer.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
        // Of HTTP/1.0, because its answers end with the connection and have no chunks.
        let request = format!(
            "GET {}{query} HTTP/1.0\r\nHost: {}\r\nUser-Agent: gated-deploy\r\nAccept: {}\r\nAccept-Encoding: identity\r\n{}Connection: close\r\n\r\n",
            target.path(),
            site::host_header(&self.url),
            get.accept(),
            token.unwrap_or_default(),
        );
        let ask = json!({
            "places": self.places,
            "name": self.url.host_str().unwrap_or_default(),
            "tls": self.url.scheme() == "https",
            "seconds": get.timeout.as_secs_f64(),
            "kept": KEPT,
            "request": request,
        });
        Ok(Script::new("ask", include_str!("ask.sh"))
            .repeatable()
            .timeout(get.timeout + AROUND)
            .var("PHP", &self.php)
            .var("ASK_PHP", include_str!("ask.php"))
            .secret("ASK", &Secret::new(ask.to_string())))
    }
}

#[async_trait(?Send)]
impl Site for OnServer {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let script = self.script(&get)?;
        let began = Instant::now();
        let answer = self.shell.run(script, &mut |_| {}).await;
        let answer = answer.map_err(|error| Unanswered::new(Why::Line, error.to_string()))?;
        read(&answer, began.elapsed())
    }

    fn within(&self, from: &str, location: &str) -> Option<String> {
        site::within(&self.url, from, location)
    }
}

/// What the program says of an answer.
fn read(answer: &Answer, took: Duration) -> Result<Reply, Unanswered> {
    let Some(text) = answer.get("answer") else {
        let failed: Vec<&str> = answer.all("failed").collect();
        let text = if failed.is_empty() { "the program gave no answer".to_owned() } else { failed.join("; ") };
        // Where every place refused the connection, nothing listens there: that is the site's failure, and not the way's.
        let refused = !failed.is_empty() && answer.all("refused").count() == failed.len();
        return Err(Unanswered::new(if refused { Why::Refused } else { Why::Line }, text));
    };
    let broken = |what: &str| Unanswered::new(Why::Broken, format!("the answer {what}"));
    let bytes = STANDARD.decode(text).map_err(|_| broken("of the program on the server cannot be read"))?;
    let total: u64 = answer.get("length").and_then(|length| length.parse().ok()).unwrap_or(bytes.len() as u64);
    if answer.get("whole") != Some("yes") {
        let late = bytes.is_empty();
        return Err(if late { Unanswered::new(Why::Late, "no answer in time") } else { broken("did not end in time") });
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| broken("is not HTTP"))?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.starts_with("HTTP/1.").then(|| first.split(' ').nth(1)).flatten();
    let status = status.and_then(|status| status.parse().ok()).ok_or_else(|| broken("is not HTTP"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let length = total.saturating_sub(end as u64 + 4);
    let named = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    if named.is_some_and(|named: u64| named != length) {
        return Err(broken("broke off"));
    }
    Ok(Reply { status, headers, body, length, took, vantage: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(records: &[(&str, &str)]) -> Result<Reply, Unanswered> {
        let records = records.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        read(&Answer::new(records.collect()), Duration::from_millis(7))
    }

    fn whole(text: &str) -> Result<Reply, Unanswered> {
        let length = text.len().to_string();
        said(&[("whole", "yes"), ("length", &length), ("answer", &STANDARD.encode(text))])
    }

    #[test]
    fn an_answer_is_read_with_its_head_and_its_length() {
        let reply = whole("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nok");
        let reply = reply.expect("an answer");
        assert_eq!((reply.status, reply.body.as_slice(), reply.length), (200, &b"ok"[..], 2));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        // Of a long one the rest is counted.
        let head = "HTTP/1.0 200 OK\r\n\r\n";
        let reply = said(&[("whole", "yes"), ("length", "5000019"), ("answer", &STANDARD.encode(format!("{head}xx")))]);
        assert_eq!(reply.map(|reply| (reply.body.len(), reply.length)), Ok((2, 5_000_000)));
    }

    #[test]
    fn whatever_else_comes_is_no_answer() {
        let why = |answer: Result<Reply, Unanswered>| answer.expect_err("no answer").why;
        for text in [
            "",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        ] {
            assert_eq!(why(whole(text)), Why::Broken, "{text:?}");
        }
        assert_eq!(why(said(&[("whole", "yes"), ("answer", "%")])), Why::Broken);
        assert_eq!(why(said(&[("whole", "no"), ("length", "0"), ("answer", "")])), Why::Late);
        assert_eq!(why(said(&[("whole", "no"), ("answer", &STANDARD.encode("HTTP/1.1 200 OK\r\n\r\n"))])), Why::Broken);
        // None of the places could be reached: that says nothing of the site.
        let nowhere = said(&[("failed", "127.0.0.1:443: Connection refused"), ("failed", "192.0.2.7:443: timed out")]);
        let nowhere = nowhere.expect_err("no answer");
        assert_eq!(nowhere.text, "127.0.0.1:443: Connection refused; 192.0.2.7:443: timed out");
        assert!(!nowhere.why.reached());
    }
}
