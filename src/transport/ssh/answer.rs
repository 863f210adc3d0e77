//! Reading what a script sends back: records on standard output, log on standard error. See `prelude.sh`.

use memchr::memmem;

use super::peer::Ended;
use crate::transport::shell::{Answer, Heard, ShellError};

/// Longer lines of log are cut, with a note: one line must not fill the memory (a server may send 100 MB without a line feed).
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// The most that an answer may hold. The largest by far is a survey's copy of the web server's configuration.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// How much of what came instead of an answer is kept for the error.
const LONGEST_NOISE: usize = 1024;

/// Lines of log kept for the error of a script that fails.
const TAIL: usize = 20;

/// The most that one script may add to the run's log. What the app prints is bounded on the server already, with less; this is for a server
/// that does not keep to it. The rest is counted, and its last lines are told.
const MOST_LINES: usize = 20_000;
const MOST_BYTES: usize = 20 << 20;

pub(super) struct Reading {
    nonce: String,
    /// Bytes of standard output that do not yet form a record.
    pending: Vec<u8>,
    total: usize,
    begun: bool,
    /// Bytes of the answer that came with its beginning.
    since_the_beginning: u64,
    pid: Option<u32>,
    records: Vec<(String, String)>,
    /// The exit status that the last record told.
    end: Option<i32>,
    noise: Vec<u8>,
    line: Vec<u8>,
    cut: usize,
    tail: Vec<String>,
    logged: Logged,
    job: Option<Job>,
}

/// How much of a script's log was told, and how much was not.
#[derive(Default)]
struct Logged {
    lines: usize,
    bytes: usize,
    lines_over: usize,
    bytes_over: usize,
}

/// What there is to know of a script that goes on when its connection breaks.
#[derive(Default)]
struct Job {
    heard: Heard,
    /// How often a connection broke.
    drops: u32,
    /// What came on this connection before the mark behind which the log, and the rest of the answer, begin.
    before_log: Option<Vec<u8>>,
    before_rest: Option<Vec<u8>>,
}

impl Reading {
    /// Of a script that goes on when its connection breaks.
    pub(super) fn of_job(nonce: String) -> Self {
        Self { job: Some(Job { before_log: Some(Vec::new()), ..Job::default() }), ..Self::new(nonce) }
    }

    pub(super) fn new(nonce: String) -> Self {
        Self {
            job: None,
            nonce,
            pending: Vec::new(),
            total: 0,
            begun: false,
            since_the_beginning: 0,
            pid: None,
            records: Vec::new(),
            end: None,
            noise: Vec::new(),
            line: Vec::new(),
            cut: 0,
            tail: Vec::new(),
            logged: Logged::default(),
        }
    }

    /// The process group of the script, as soon as it has said so.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether the first record has come: before it the program has not begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the last record has come.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    /// Where another connection has to go on.
    pub(super) fn heard(&self) -> Heard {
        self.job.as_ref().map_or_else(Heard::default, |job| Heard { begun: self.begun, ..job.heard })
    }

    /// What comes now comes over another connection, from where this one broke.
    pub(super) fn goes_on(&mut self) {
        if !self.begun {
            self.pending.clear();
            self.noise.clear();
        }
        if let Some(job) = &mut self.job {
            job.drops += 1;
            job.before_log = Some(Vec::new());
            job.before_rest = self.begun.then(Vec::new);
        }
    }

    /// Takes bytes of standard output.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        let mark = format!("resumed={}\0", self.nonce);
        let Some(job) = self.job.as_mut() else { return self.records_of(bytes) };
        let bytes = match &mut job.before_rest {
            None => bytes.to_vec(),
            Some(before) => {
                // What start-up files print was told when the script began.
                before.extend_from_slice(bytes);
                match memmem::find(before, mark.as_bytes()) {
                    None => {
                        let excess = before.len().saturating_sub(mark.len());
                        before.drain(..excess);
                        return Ok(());
                    }
                    Some(at) => {
                        let rest = before.split_off(at + mark.len());
                        job.before_rest = None;
                        rest
                    }
                }
            }
        };
        if self.begun {
            job.heard.answer += bytes.len() as u64;
            return self.records_of(&bytes);
        }
        self.records_of(&bytes)?;
        if self.begun {
            let since_the_beginning = self.since_the_beginning;
            if let Some(job) = &mut self.job {
                job.heard.answer = since_the_beginning;
            }
        }
        Ok(())
    }

    fn records_of(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        self.total += bytes.len();
        if self.total > LONGEST_ANSWER {
            return Err(ShellError::NoAnswer { noise: format!("more than {LONGEST_ANSWER} bytes") });
        }
        let searched = if self.begun { self.pending.len() } else { 0 };
        self.pending.extend_from_slice(bytes);
        if !self.begun {
            self.look_for_the_beginning();
        }
        if self.begun {
            self.take_records(searched);
        }
        Ok(())
    }

    /// Takes the whole records out of `pending`. Its first `searched` bytes hold no end of a record.
    fn take_records(&mut self, searched: usize) {
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        let mut from = searched;
        while let Some(length) = pending[from..].iter().position(|byte| *byte == 0) {
            let end = from + length;
            self.record(&String::from_utf8_lossy(&pending[start..end]));
            start = end + 1;
            from = start;
        }
        self.pending = if start == 0 { pending } else { pending[start..].to_vec() };
    }

    /// Everything before the first record is noise: a start-up file that prints (F37).
    fn look_for_the_beginning(&mut self) {
        let mark = format!("begin={}:", self.nonce);
        if let Some(at) = memmem::find(&self.pending, mark.as_bytes()) {
            self.noise.extend(self.pending.drain(..at));
            self.since_the_beginning = self.pending.len() as u64;
            self.begun = true;
        } else if self.pending.len() > mark.len() + LONGEST_NOISE {
            let keep = self.pending.len() - mark.len();
            self.noise.extend(self.pending.drain(..keep));
        }
        self.noise.truncate(LONGEST_NOISE);
    }

    fn record(&mut self, record: &str) {
        let Some((key, value)) = record.split_once('=') else { return };
        let ours = value.strip_prefix(&self.nonce).and_then(|rest| rest.strip_prefix(':'));
        match (key, ours) {
            ("begin", Some(pid)) => self.pid = pid.parse().ok(),
            ("end", Some(status)) if let Some(status) = exit_status(status) => self.end = Some(status),
            _ => self.records.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Takes bytes of standard error and tells every whole line. A carriage return ends a line too: progress bars use it.
    pub(super) fn log(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(String)) {
        let mark = format!("log={}\n", self.nonce);
        let Some(job) = self.job.as_mut() else { return self.lines_of(bytes, on_line) };
        let Some(before) = &mut job.before_log else {
            job.heard.log += bytes.len() as u64;
            return self.lines_of(bytes, on_line);
        };
        before.extend_from_slice(bytes);
        let Some(at) = memmem::find(before, mark.as_bytes()) else {
            let excess = before.len().saturating_sub(LONGEST_LINE);
            before.drain(..excess);
            return;
        };
        let log = before.split_off(at + mark.len());
        before.truncate(at);
        let before = std::mem::take(before);
        job.before_log = None;
        job.heard.log += log.len() as u64;
        // The same start-up files print the same again.
        if job.drops == 0 && !before.is_empty() {
            self.lines_of(&before, on_line);
            self.tell(on_line);
        }
        self.lines_of(&log, on_line);
    }

    fn lines_of(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(String)) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, ends) = match part.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                _ => (part, false),
            };
            let room = LONGEST_LINE.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            self.cut += text.len() - room;
            if ends {
                self.tell(on_line);
            }
        }
    }

    /// The last line, if it had no line feed.
    pub(super) fn rest(&mut self, on_line: &mut dyn FnMut(String)) {
        // Without its mark there is no log, only what the shell said instead.
        if let Some(before) = self.job.as_mut().and_then(|job| job.before_log.take()) {
            self.lines_of(&before, on_line);
        }
        self.tell(on_line);
        self.tell_the_rest(on_line);
    }

    fn tell(&mut self, on_line: &mut dyn FnMut(String)) {
        if self.line.is_empty() {
            return;
        }
        let mut text = String::from_utf8_lossy(&self.line).into_owned();
        if self.cut > 0 {
            text.push_str(&format!(" … ({} bytes more)", self.cut));
        }
        self.line.clear();
        self.cut = 0;
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(text.clone());
        let logged = &mut self.logged;
        if logged.lines < MOST_LINES && logged.bytes + text.len() <= MOST_BYTES {
            logged.lines += 1;
            logged.bytes += text.len();
            on_line(text);
        } else {
            // One line that would fit after one that did not would stand in the wrong place.
            logged.lines = MOST_LINES;
            logged.lines_over += 1;
            logged.bytes_over += text.len();
        }
    }

    /// What was left out, and the end of it.
    fn tell_the_rest(&mut self, on_line: &mut dyn FnMut(String)) {
        let Logged { lines_over, bytes_over, .. } = std::mem::take(&mut self.logged);
        if lines_over == 0 {
            return;
        }
        let last = lines_over.min(self.tail.len());
        on_line(format!(
            "... {lines_over} lines ({bytes_over} bytes) are left out: one script may log {MOST_LINES} lines and {} MiB. The last {last} lines follow.",
            MOST_BYTES >> 20
        ));
        self.tail[self.tail.len() - last..].iter().cloned().for_each(on_line);
    }

    /// What it all comes to. Only an answer with both marks and status 0 on both ways is one (F42).
    /// `ended` is missing when the answer is complete and a process in the background still holds the channel.
    pub(super) fn conclude(self, ended: Option<Ended>) -> Result<Answer, ShellError> {
        if !self.begun {
            let mut noise = [self.noise, self.pending].concat();
            noise.truncate(LONGEST_NOISE);
            let printed = String::from_utf8_lossy(&noise).trim().to_owned();
            let noise = if printed.is_empty() { self.tail.join(" ") } else { printed };
            return Err(ShellError::NoAnswer { noise });
        }
        let answer = Answer::new(self.records).with_noise(&String::from_utf8_lossy(&self.noise));
        if let Some((code, values)) = answer.refusal("refused", "value") {
            return Err(ShellError::Refused { code, values, tail: self.tail });
        }
        if self.end.is_none() && self.job.is_some_and(|job| job.drops > 0) {
            return Err(ShellError::Dropped(
                "after reconnecting, the script on the server had ended without an answer".to_owned(),
            ));
        }
        match (self.end, ended) {
            (Some(0), None) => Ok(answer),
            (Some(0), Some(ended)) if ended.success() => Ok(answer),
            (Some(status), _) if status != 0 => {
                Err(ShellError::Failed { status: format!("status {status}"), tail: self.tail })
            }
            (_, Some(ended)) if !ended.success() => {
                Err(ShellError::Failed { status: ended.to_string(), tail: self.tail })
            }
            _ => Err(ShellError::NoAnswer { noise: "its answer is incomplete".to_owned() }),
        }
    }
}

/// An exit status as the prelude writes it: `+0` and `00` are none.
fn exit_status(text: &str) -> Option<i32> {
    text.parse::<u8>().ok().filter(|status| status.to_string() == text).map(i32::from)
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let read = |size: usize| {
        let (mut reading, mut lines) = (Reading::new("n1".to_owned()), Vec::new());
        for piece in bytes.chunks(size) {
            reading.answer(piece).expect("it is not too long");
            reading.log(piece, &mut |line| lines.push(line));
        }
        reading.rest(&mut |line| lines.push(line));
        assert!(lines.iter().all(|line| !line.contains(['\n', '\r']) && line.len() < 3 * LONGEST_LINE + 100));
        (reading.pid(), lines, reading.conclude(Some(Ended { status: 0, signal: None })))
    };
    let (whole, cut) = (read(bytes.len().max(1)), read(usize::from(*size).max(1)));
    assert_eq!((&whole.0, &whole.1), (&cut.0, &cut.1), "cuts change nothing");
    match (&whole.2, &cut.2) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (whole, cut) => assert_eq!(whole.is_ok(), cut.is_ok()),
    }
    if whole.2.is_ok() {
        assert!(
            memmem::find(bytes, b"begin=n1:").is_some() && memmem::find(bytes, b"end=n1:0\0").is_some(),
            "no answer without its marks"
        );
    }
}

/// For `fuzzing`: a script that goes on when its connection breaks. Whatever it says, and wherever that breaks twice, in the end
/// everything has been read, and once.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_job(bytes: &[u8]) {
    const LOG: &[u8] = b"log=n1\n";
    let Some(([first, second], said)) = bytes.split_first_chunk() else { return };
    let answer = [b"begin=n1:42\0", said, b"\0end=n1:0\0"].concat();
    let (mut reading, mut lines) = (Reading::of_job("n1".to_owned()), Vec::new());
    let (mut sent, mut logged) = (answer.clone(), [LOG, said].concat());
    for length in [usize::from(*first), usize::from(*second), usize::MAX] {
        for piece in sent[..length.min(sent.len())].chunks(16) {
            reading.answer(piece).expect("it is not too long");
        }
        for piece in logged[..length.min(logged.len())].chunks(16) {
            reading.log(piece, &mut |line| lines.push(line));
        }
        let heard = reading.heard();
        if length < usize::MAX {
            reading.goes_on();
        }
        // What `job.sh` sends then: everything if nothing was heard, or the rest; start-up files print before it.
        let from = |heard: u64| usize::try_from(heard).expect("bytes");
        sent = match heard.begun {
            true => [b"Welcome back\nresumed=n1\0", &answer[from(heard.answer)..]].concat(),
            false => answer.clone(),
        };
        logged = [b"Welcome back\n", LOG, &said[from(heard.log)..]].concat();
    }
    reading.rest(&mut |line| lines.push(line));

    let (mut unbroken, mut all) = (Reading::new("n1".to_owned()), Vec::new());
    unbroken.answer(&answer).expect("it is not too long");
    unbroken.log(said, &mut |line| all.push(line));
    unbroken.rest(&mut |line| all.push(line));
    assert_eq!(lines, all);
    let ended = || Some(Ended { status: 0, signal: None });
    match (reading.conclude(ended()), unbroken.conclude(ended())) {
        (Ok(reading), Ok(unbroken)) => assert_eq!(reading, unbroken),
        (reading, unbroken) => assert_eq!(reading.is_ok(), unbroken.is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS_0: Ended = Ended { status: 0, signal: None };

    /// Reads these bytes in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Reading {
        let mut reading = Reading::new("n1".to_owned());
        for piece in bytes.chunks(size) {
            reading.answer(piece).expect("not too long");
        }
        reading
    }

    #[test]
    fn f53_an_answer_reads_the_same_however_it_is_cut() {
        let bytes = b"Welcome\nbegin=n1:42\0key=a=b\0key=\xff\n\0end=n1:0\0trailing";
        for size in 1..bytes.len() {
            let reading = read(bytes, size);
            assert_eq!((reading.pid(), reading.is_complete()), (Some(42), true), "pieces of {size}");
            let answer = reading.conclude(Some(STATUS_0)).expect("an answer");
            assert_eq!(answer.all("key").collect::<Vec<_>>(), ["a=b", "\u{fffd}\n"], "pieces of {size}");
            assert_eq!(answer.noise(), Some("Welcome"), "pieces of {size}");
        }
    }

    #[test]
    fn f42_without_its_last_record_it_is_no_answer() {
        for bytes in [
            &b""[..],
            b"begin=n1:42\0end=n1:-0\0",
            b"begin=n1:42\0end=n1:+0\0",
            b"begin=n1:42\0end=n1:00\0",
            b"begin=n1:42\0key=value\0",
            b"begin=n1:42\0end=n1:0",
            b"begin=n2:42\0end=n2:0\0",
            b"end=n1:0\0",
        ] {
            assert!(read(bytes, 7).conclude(Some(STATUS_0)).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    /// libssh2 tells status 0 for a program that a signal ended.
    #[test]
    fn f50_neither_side_alone_can_say_yes() {
        let killed = Ended { status: 0, signal: Some("KILL".to_owned()) };
        let failed = |bytes: &[u8], ended| read(bytes, 9).conclude(Some(ended)).expect_err("no success");
        assert!(
            matches!(failed(b"begin=n1:42\0end=n1:0\0", killed), ShellError::Failed { status, .. } if status == "signal KILL")
        );
        assert!(
            matches!(failed(b"begin=n1:42\0end=n1:3\0", STATUS_0), ShellError::Failed { status, .. } if status == "status 3")
        );
        // `refuse` in a subshell whose status got lost.
        assert!(matches!(failed(b"begin=n1:42\0refused=no\0end=n1:0\0", STATUS_0), ShellError::Refused { .. }));
    }

    /// A part of a script may refuse, and the script then refuse for another reason.
    #[test]
    fn the_last_refusal_counts_with_its_own_values() {
        let bytes = b"begin=n1:42\0refused=dangling-link\0value=path=/a\0refused=not-a-folder\0value=path=/b=c\0value=\0end=n1:10\0";
        let error = read(bytes, 9).conclude(Some(Ended { status: 10, signal: None })).expect_err("a refusal");
        assert_eq!(error.to_string(), "/b=c is not a folder");
        let failure = error.failure("unpacking");
        assert_eq!(
            (&*failure.code, failure.hint.as_deref()),
            ("not-a-folder", Some("Move it away: mv '/b=c' '/b=c'.old"))
        );
    }

    #[test]
    fn an_answer_and_its_noise_have_bounds() {
        let mut reading = Reading::new("n1".to_owned());
        let piece = vec![b'x'; 1 << 20];
        let took = (0..100).take_while(|_| reading.answer(&piece).is_ok()).count();
        assert_eq!(took, LONGEST_ANSWER >> 20);
        assert!(reading.pending.len() + reading.noise.len() < 3 << 20);
        let error = reading.conclude(None).expect_err("no answer");
        assert!(error.to_string().len() < 2 * LONGEST_NOISE, "{}", error.to_string().len());
    }

    #[test]
    fn a_script_cannot_fill_the_log() {
        let (mut count, mut bytes, mut last) = (0, 0, Vec::new());
        let mut reading = Reading::new("n1".to_owned());
        let mut on_line = |line: String| {
            count += 1;
            bytes += line.len();
            last.push(line);
        };
        for piece in 0..400 {
            let text: String = (0..1000).map(|line| format!("{} {}\n", piece * 1000 + line, "x".repeat(170))).collect();
            reading.log(text.as_bytes(), &mut on_line);
        }
        reading.rest(&mut on_line);
        assert!(count <= MOST_LINES + TAIL + 1 && bytes < MOST_BYTES + 100_000, "{count} lines, {bytes} bytes");
        assert!(last[last.len() - TAIL - 1].starts_with("... 380000 lines ("), "{}", last[last.len() - TAIL - 1]);
        assert!(last[last.len() - 1].starts_with("399999 "), "the end says why a script failed");
    }

    #[test]
    fn lines_end_at_line_feeds_and_carriage_returns_and_are_cut() {
        let mut lines = Vec::new();
        let mut reading = Reading::new("n1".to_owned());
        for piece in [&b"10%\r20%\r\n\nhal"[..], b"f\xff\n", &vec![b'x'; LONGEST_LINE + 10], b"\nlast"] {
            reading.log(piece, &mut |line| lines.push(line));
        }
        reading.rest(&mut |line| lines.push(line));
        assert_eq!(lines[..3], ["10%", "20%", "half\u{fffd}"]);
        assert!(lines[3].ends_with("(10 bytes more)") && lines[3].len() < LONGEST_LINE + 40);
        assert_eq!(lines[4..], ["last"]);
    }
}
