//! Reading nginx's configuration, as far as one must to learn who serves a folder.
//!
//! The grammar is nginx's own (ngx_conf_file.c): words, `;` ends a simple directive, `{` opens a block, `#` begins a comment where a
//! word could begin, quotes hold words together, a backslash takes the next character as it is.

use std::collections::HashSet;

use super::config_file::ConfigFile;

/// A `server { }` block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VirtualHost {
    pub names: Vec<String>,
    /// Every `root` in it, also of its locations.
    pub roots: Vec<String>,
    /// Every target of `fastcgi_pass` in it: `unix:/run/…`, `host:port`, or the name of an upstream.
    pub fastcgi_pass: Vec<String>,
    /// Whether PHP is given the path behind the link (`$realpath_root`) or the link itself (`$document_root`), where the block says.
    pub realpath_root: Option<bool>,
    /// Settings that PHP is given with each request (`PHP_VALUE`, `PHP_ADMIN_VALUE`), each as `name=value`.
    pub php_values: Vec<String>,
    /// What it includes, as written.
    pub includes: Vec<String>,
}

impl VirtualHost {
    /// "the virtual host staging.example.com"
    pub fn label(&self) -> String {
        format!("the virtual host {}", self.names.first().map_or("without a name", String::as_str))
    }
}

/// An `upstream { }` block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub servers: Vec<String>,
}

/// All virtual hosts of a file. What cannot be understood is skipped: nginx itself judges configurations, not we.
pub fn virtual_hosts(text: &str) -> Vec<VirtualHost> {
    let mut hosts = Vec::new();
    each_block(&parse(text), "server", &mut |block| {
        let mut host = VirtualHost::default();
        collect(&block.inner, &mut host);
        hosts.push(host);
    });
    hosts
}

/// All upstreams of a file.
pub fn upstreams(text: &str) -> Vec<Upstream> {
    let mut found = Vec::new();
    each_block(&parse(text), "upstream", &mut |block| {
        let servers = block.inner.iter().filter(|inner| inner.words.first().is_some_and(|word| word == "server"));
        found.push(Upstream {
            name: block.words.get(1).cloned().unwrap_or_default(),
            servers: servers.filter_map(|server| server.words.get(1).cloned()).collect(),
        });
    });
    found
}

/// Whether PHP is given the path behind the link: by the virtual host itself, or else by a file that it includes (Debian's
/// `snippets/fastcgi-php.conf` says `$document_root`).
pub fn realpath_root(host: &VirtualHost, files: &[ConfigFile]) -> Option<bool> {
    said(host, files, INCLUDES, &mut HashSet::new())
}

/// The settings that PHP is given with each request of this host, also by files that it includes.
pub fn php_values(host: &VirtualHost, files: &[ConfigFile]) -> Vec<String> {
    let mut found = host.php_values.clone();
    let mut asked: HashSet<&str> = HashSet::new();
    let mut open: Vec<String> = host.includes.clone();
    while let Some(path) = open.pop() {
        let Some(file) = included(&path, files).filter(|file| asked.insert(&file.path)) else { continue };
        let mut inner = VirtualHost::default();
        collect(&parse(&file.text), &mut inner);
        found.append(&mut inner.php_values);
        open.append(&mut inner.includes);
    }
    found
}

/// The file that an `include` names.
fn included<'f>(path: &str, files: &'f [ConfigFile]) -> Option<&'f ConfigFile> {
    // nginx's own folder is what relative names are relative to (ngx_conf_full_name).
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("/etc/nginx/{path}") };
    files.iter().find(|file| file.path == whole)
}

/// How deep includes may nest; Debian's have two levels.
const INCLUDES: usize = 4;

/// `asked` are the files that were looked into already: one may be included by many, and by itself.
fn said<'f>(host: &VirtualHost, files: &'f [ConfigFile], depth: usize, asked: &mut HashSet<&'f str>) -> Option<bool> {
    if host.realpath_root.is_some() || depth == 0 {
        return host.realpath_root;
    }
    host.includes.iter().rev().find_map(|path| {
        let file = included(path, files).filter(|file| asked.insert(&file.path))?;
        let mut inner = VirtualHost::default();
        collect(&parse(&file.text), &mut inner);
        said(&inner, files, depth - 1, asked)
    })
}

struct Directive {
    words: Vec<String>,
    inner: Vec<Directive>,
    block: bool,
}

fn each_block(directives: &[Directive], name: &str, visit: &mut impl FnMut(&Directive)) {
    for directive in directives.iter().filter(|directive| directive.block) {
        if directive.words.first().is_some_and(|word| word == name) {
            visit(directive);
        } else {
            each_block(&directive.inner, name, visit);
        }
    }
}

fn collect(directives: &[Directive], host: &mut VirtualHost) {
    for directive in directives {
        let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["server_name", names @ ..] => host.names.extend(names.iter().map(|name| (*name).to_owned())),
            ["root", root] => host.roots.push(root.trim_end_matches('/').to_owned()),
            ["fastcgi_pass", target] => host.fastcgi_pass.push((*target).to_owned()),
            ["fastcgi_param", "SCRIPT_FILENAME", value, ..] => {
                host.realpath_root = Some(value.contains("$realpath_root"))
            }
            ["fastcgi_param", "PHP_VALUE" | "PHP_ADMIN_VALUE", value, ..] => {
                host.php_values.extend(value.lines().map(|line| line.trim().to_owned()));
            }
            ["include", path] => host.includes.push((*path).to_owned()),
            _ => {}
        }
        collect(&directive.inner, host);
    }
}

/// How deep blocks may nest; nginx's own configurations have four levels.
const DEPTH: usize = 32;

fn parse(text: &str) -> Vec<Directive> {
    let mut stack: Vec<Vec<Directive>> = vec![Vec::new()];
    let mut heads: Vec<Vec<String>> = Vec::new();
    let mut words = Vec::new();
    let tokens = Tokens { rest: text.chars().peekable() };
    for token in tokens {
        match token {
            Token::Word(word) => words.push(word),
            Token::End => {
                push(&mut stack, Directive { words: std::mem::take(&mut words), inner: Vec::new(), block: false })
            }
            Token::Open if stack.len() > DEPTH => return stack.swap_remove(0),
            Token::Open => {
                heads.push(std::mem::take(&mut words));
                stack.push(Vec::new());
            }
            Token::Close => {
                words.clear();
                if let (Some(head), true) = (heads.pop(), stack.len() > 1) {
                    let inner = stack.pop().unwrap_or_default();
                    push(&mut stack, Directive { words: head, inner, block: true });
                }
            }
        }
    }
    stack.swap_remove(0)
}

fn push(stack: &mut [Vec<Directive>], directive: Directive) {
    if let Some(top) = stack.last_mut() {
        top.push(directive);
    }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            match self.rest.next()? {
                ';' => return Some(Token::End),
                '{' => return Some(Token::Open),
                '}' => return Some(Token::Close),
                '#' => while self.rest.next_if(|c| *c != '\n').is_some() {},
                quote @ ('"' | '\'') => return Some(Token::Word(self.quoted(quote))),
                blank if blank.is_whitespace() => {}
                first => return Some(Token::Word(self.plain(first))),
            }
        }
    }
}

impl Tokens<'_> {
    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => word.extend(self.rest.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
                end if end == quote => break,
                other => word.push(other),
            }
        }
        word
    }

    fn plain(&mut self, first: char) -> String {
        let mut word = String::new();
        let mut next = Some(first);
        while let Some(c) = next {
            match c {
                '\\' => word.extend(self.rest.next()),
                // `${name}` is a variable, not a block.
                '$' if self.rest.peek() == Some(&'{') => {
                    word.push('$');
                    for inner in self.rest.by_ref() {
                        word.push(inner);
                        if inner == '}' {
                            break;
                        }
                    }
                }
                other => word.push(other),
            }
            next = self.rest.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '{' | '}'));
        }
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f67_a_virtual_host_names_its_root_and_where_it_passes_php() {
        let text = r#"
            http {
              upstream php { server unix:/run/php/php8.3-fpm.sock; server 127.0.0.1:9000 backup; }
              # server { root /commented/out; }
              server {
                listen 80; server_name staging.example.com www.example.com;
                root "/var/www/app/current/public/";
                if ($host ~* "^{x}") { return 301; }
                location ~ \.php$ { fastcgi_pass php; fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name; }
                location /old { set $x "${y}z;"; root /srv/old; }
              }
            }"#;
        let hosts = virtual_hosts(text);
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0].names, ["staging.example.com", "www.example.com"]);
        assert_eq!(hosts[0].roots, ["/var/www/app/current/public", "/srv/old"]);
        assert_eq!(hosts[0].fastcgi_pass, ["php"]);
        assert_eq!(hosts[0].realpath_root, Some(true));
        assert_eq!(upstreams(text)[0].servers, ["unix:/run/php/php8.3-fpm.sock", "127.0.0.1:9000"]);
    }

    #[test]
    fn f67_what_php_is_given_may_stand_in_an_included_file() {
        let file = |path: &str, text: &str| ConfigFile { path: path.to_owned(), text: text.to_owned() };
        let debian = [
            file("/etc/nginx/snippets/fastcgi-php.conf", "try_files $fastcgi_script_name =404;\ninclude fastcgi.conf;"),
            file("/etc/nginx/fastcgi.conf", "fastcgi_param  SCRIPT_FILENAME    $document_root$fastcgi_script_name;"),
            file("/etc/nginx/round.conf", "include round.conf;"),
        ];
        let said = |block: &str| realpath_root(&virtual_hosts(&format!("server {{ {block} }}"))[0], &debian);
        assert_eq!(said("location / { include snippets/fastcgi-php.conf; }"), Some(false));
        let own =
            "include snippets/fastcgi-php.conf; fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;";
        assert_eq!(said(own), Some(true), "the virtual host's own word counts");
        assert_eq!((said("include nowhere;"), said("include round.conf;"), said("")), (None, None, None));
    }

    #[test]
    fn what_php_is_given_with_a_request_is_read_line_by_line() {
        let files = [ConfigFile {
            path: "/etc/nginx/snippets/php.conf".to_owned(),
            text: "fastcgi_param PHP_VALUE auto_prepend_file=/srv/a.php; include snippets/php.conf;".to_owned(),
        }];
        let own = r#"server { include snippets/php.conf; location ~ \.php$ {
            fastcgi_param PHP_ADMIN_VALUE "open_basedir=$document_root:/tmp\n memory_limit=1G"; fastcgi_param OTHER x; } }"#;
        assert_eq!(
            php_values(&virtual_hosts(own)[0], &files),
            ["open_basedir=$document_root:/tmp", "memory_limit=1G", "auto_prepend_file=/srv/a.php"]
        );
    }

    /// Read once for every time that it is named, these would be 200 to the power of 4 reads.
    #[test]
    fn files_that_include_each_other_over_and_over_are_looked_into_once() {
        let file = |path: &str, other: &str| ConfigFile {
            path: format!("/etc/nginx/{path}"),
            text: format!("include {other};\n").repeat(200),
        };
        let files = [file("one.conf", "other.conf"), file("other.conf", "one.conf")];
        let hosts = virtual_hosts("server { include one.conf; include other.conf; }");
        assert_eq!(realpath_root(&hosts[0], &files), None);
    }

    #[test]
    fn broken_configurations_end_without_a_panic() {
        for text in [
            "",
            "}",
            "server {",
            "server { root",
            "a \\",
            "'",
            "server }{ }{",
            "${",
            &"{".repeat(100_000),
            &"a{".repeat(10_000),
        ] {
            virtual_hosts(text);
            upstreams(text);
        }
    }
}
