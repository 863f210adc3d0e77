//! What a migration's source says that it does.

use super::{Class, classify};

/// What the source of a migration says that it does. It is read as text: no code of a release runs before the release is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub class: Class,
    /// What it calls, in plain words, each once.
    pub calls: Vec<String>,
    /// Database connections that it names besides the default one.
    pub connections: Vec<String>,
}

/// The words of a plan for what a migration calls.
mod word {
    pub(super) const CREATES: &str = "creates a table";
    pub(super) const COLUMN: &str = "adds a column";
    pub(super) const CHANGES: &str = "changes a column";
    pub(super) const INDEX: &str = "adds an index";
    pub(super) const UNIQUE: &str = "adds a unique index";
    pub(super) const FOREIGN: &str = "adds a foreign key";
    pub(super) const DROPS: &str = "drops a table or column";
    pub(super) const DROPS_INDEX: &str = "drops an index or key";
    pub(super) const RENAMES: &str = "renames";
    pub(super) const RAW: &str = "runs a raw statement";
    pub(super) const ROWS: &str = "changes rows";
    pub(super) const CANNOT_TELL: &str = "cannot tell";
}

/// Column types of Laravel's `Blueprint` (Illuminate\Database\Schema\Blueprint), in lower case.
const COLUMNS: &[&str] = &[
    "id",
    "increments",
    "integerincrements",
    "tinyincrements",
    "smallincrements",
    "mediumincrements",
    "bigincrements",
    "char",
    "string",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "integer",
    "tinyinteger",
    "smallinteger",
    "mediuminteger",
    "biginteger",
    "unsignedinteger",
    "unsignedtinyinteger",
    "unsignedsmallinteger",
    "unsignedmediuminteger",
    "unsignedbiginteger",
    "foreignid",
    "foreignidfor",
    "float",
    "double",
    "decimal",
    "unsigneddecimal",
    "unsignedfloat",
    "unsigneddouble",
    "boolean",
    "enum",
    "set",
    "json",
    "jsonb",
    "date",
    "datetime",
    "datetimetz",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "timestamps",
    "timestampstz",
    "datetimes",
    "nullabletimestamps",
    "softdeletes",
    "softdeletestz",
    "softdeletesdatetime",
    "year",
    "binary",
    "uuid",
    "foreignuuid",
    "ulid",
    "foreignulid",
    "ipaddress",
    "macaddress",
    "geometry",
    "geography",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "computed",
    "morphs",
    "nullablemorphs",
    "uuidmorphs",
    "nullableuuidmorphs",
    "ulidmorphs",
    "nullableulidmorphs",
    "numericmorphs",
    "nullablenumericmorphs",
    "remembertoken",
    "vector",
    "addcolumn",
    "rawcolumn",
];
/// Columns that the old code's INSERT may leave out.
const OPTIONAL: &[&str] = &[
    "timestamps",
    "timestampstz",
    "datetimes",
    "nullabletimestamps",
    "softdeletes",
    "softdeletestz",
    "softdeletesdatetime",
    "nullablemorphs",
    "nullableuuidmorphs",
    "nullableulidmorphs",
    "nullablenumericmorphs",
    "remembertoken",
    "id",
    "increments",
    "integerincrements",
    "tinyincrements",
    "smallincrements",
    "mediumincrements",
    "bigincrements",
];
/// What makes a column one of these.
const MAKES_OPTIONAL: &[&str] =
    &["nullable", "default", "usecurrent", "autoincrement", "virtualas", "storedas", "generatedas", "computed"];
/// What says more of a column or asks, and changes nothing by itself.
const PLAIN: &[&str] = &[
    "after",
    "before",
    "first",
    "comment",
    "charset",
    "collation",
    "unsigned",
    "from",
    "startingvalue",
    "always",
    "invisible",
    "persisted",
    "usecurrentonupdate",
    "references",
    "on",
    "ondelete",
    "onupdate",
    "cascadeondelete",
    "cascadeonupdate",
    "restrictondelete",
    "restrictonupdate",
    "nullondelete",
    "nullonupdate",
    "noactionondelete",
    "noactiononupdate",
    "engine",
    "temporary",
    "hastable",
    "hascolumn",
    "hascolumns",
    "hasindex",
    "hasview",
    "getcolumnlisting",
    "getcolumntype",
    "getindexes",
    "getconnection",
    "getdrivername",
    "getname",
    "getschemabuilder",
    "defaultstringlength",
    "config",
    "length",
    "precision",
    "lock",
    "algorithm",
    "instant",
    "language",
    "whenTableHasColumn",
    "whentablehascolumn",
    "whentabledoesnthavecolumn",
];
/// Words with a parenthesis behind them that call nothing.
const KEYWORDS: &[&str] = &[
    "function", "fn", "if", "elseif", "foreach", "for", "while", "switch", "match", "array", "isset", "empty",
    "return", "and", "or", "not", "use", "catch", "list", "static", "in_array", "count", "sprintf", "is_null",
];

/// Most calls and connections that are named, and most letters of each.
const MOST: usize = 24;
const LONGEST: usize = 120;

/// Reads a migration's source.
pub fn read(source: &str) -> Reading {
    let tokens = tokens(source);
    let mut reader = Reader::default();
    reader.property(&tokens);
    match body_of_up(&tokens) {
        Some(body) => reader.body(body),
        None => reader.cannot_tell("it has no method up()"),
    }
    let Reader { mut class, mut calls, connections, .. } = reader;
    if calls.is_empty() {
        calls.push("calls nothing".to_owned());
    }
    if !connections.is_empty() {
        class = class.max(Class::Unknown);
    }
    Reading { class, calls, connections }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, in lower case, and as it was written.
    Name(String, String),
    /// A variable, without its dollar.
    Variable(String),
    /// A text between quotes; `None` where a variable stands in it.
    Text(Option<String>),
    /// `->`, `?->` or `::`
    Arrow,
    Mark(char),
}

#[derive(Debug)]
struct Reader {
    class: Class,
    calls: Vec<String>,
    connections: Vec<String>,
    /// Whether the calls belong to a table that is made.
    creating: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { class: Class::Expand, calls: Vec::new(), connections: Vec::new(), creating: false }
    }
}

impl Reader {
    fn say(&mut self, call: impl Into<String>, class: Class) {
        let call: String = call.into().chars().take(LONGEST).collect();
        if self.calls.len() < MOST && !self.calls.contains(&call) {
            self.calls.push(call);
        }
        self.class = self.class.max(class);
    }

    fn cannot_tell(&mut self, why: &str) {
        self.say(format!("{}: {why}", word::CANNOT_TELL), Class::Unknown);
    }

    fn connection(&mut self, name: Option<&str>) {
        let name: String = name.unwrap_or("(not a plain text)").chars().take(LONGEST).collect();
        if self.connections.len() < MOST && !self.connections.contains(&name) {
            self.connections.push(name);
        }
    }

    /// `protected $connection = 'reports';`
    fn property(&mut self, tokens: &[Token]) {
        for window in tokens.windows(4) {
            if let [before, Token::Variable(name), Token::Mark('='), Token::Text(text)] = window
                && name == "connection"
                && !matches!(before, Token::Arrow)
            {
                self.connection(text.as_deref());
            }
        }
    }

    fn body(&mut self, tokens: &[Token]) {
        for statement in tokens.split(|token| matches!(token, Token::Mark(';'))) {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &[Token]) {
        let called = |at: usize| match (statement.get(at), statement.get(at + 1)) {
            (Some(Token::Name(name, written)), Some(Token::Mark('('))) => Some((name.as_str(), written.as_str())),
            _ => None,
        };
        let calls: Vec<(usize, &str, &str)> =
            (0..statement.len()).filter_map(|at| called(at).map(|(name, written)| (at, name, written))).collect();
        let has = |wanted: &[&str]| calls.iter().any(|(_, name, _)| wanted.contains(name));
        let optional = has(MAKES_OPTIONAL);
        let changes = has(&["change"]);
        let names_db = statement.iter().any(|token| matches!(token, Token::Name(name, _) if name == "db"));
        for (at, name, written) in &calls {
            let (at, name) = (*at, *name);
            let argument = match statement.get(at + 2) {
                Some(Token::Text(text)) => text.as_deref(),
                _ => None,
            };
            let method = at > 0 && matches!(statement[at - 1], Token::Arrow);
            let on_schema = at > 1 && matches!(&statement[at - 2], Token::Name(before, _) if before == "schema");
            let made = at > 0 && matches!(&statement[at - 1], Token::Name(before, _) if before == "new");
            if made {
                self.cannot_tell(&format!("makes {written}"));
                continue;
            }
            if !method {
                if !KEYWORDS.contains(&name) && !PLAIN.contains(&name) {
                    self.cannot_tell(&format!("calls {written}()"));
                }
                continue;
            }
            match name {
                "create" if on_schema || after_connection(statement, at) => {
                    self.creating = true;
                    self.say(word::CREATES, Class::Expand);
                }
                "table" if names_db => self.say(word::ROWS, Class::Unknown),
                "table" => self.creating = false,
                "connection" | "on" if names_db || on_schema || name == "connection" => self.connection(argument),
                "setconnection" | "setdefaultconnection" => self.connection(argument),
                "change" => self.say(word::CHANGES, Class::LongLock),
                "rename" | "renamecolumn" | "renameindex" => self.say(word::RENAMES, Class::Contract),
                "index" | "fulltext" | "spatialindex" => self.say(word::INDEX, Class::Expand),
                "unique" | "primary" => {
                    self.say(word::UNIQUE, if self.creating { Class::Expand } else { Class::Contract });
                }
                "foreign" | "constrained" => {
                    self.say(word::FOREIGN, if self.creating { Class::Expand } else { Class::LongLock });
                }
                "dropindex" | "dropunique" | "dropforeign" | "dropprimary" | "dropfulltext" | "dropspatialindex"
                | "dropforeignidfor" => self.say(word::DROPS_INDEX, Class::Contract),
                "dropview" => self.say(word::DROPS, Class::Contract),
                _ if name.starts_with("drop") => self.say(word::DROPS, Class::Destructive),
                "statement" | "unprepared" | "affectingstatement" | "select" | "selectone" | "scalar" if names_db => {
                    self.raw(argument);
                }
                "insert" | "insertorignore" | "insertgetid" if names_db => self.say(word::ROWS, Class::Expand),
                "delete" | "update" | "truncate" | "upsert" | "updateorinsert" | "increment" | "decrement" => {
                    self.say(word::ROWS, Class::Destructive);
                }
                _ if COLUMNS.contains(&name) => {
                    let demands = !self.creating && !changes && !optional && !OPTIONAL.contains(&name);
                    if !changes {
                        self.say(word::COLUMN, if demands { Class::Contract } else { Class::Expand });
                    }
                }
                _ if MAKES_OPTIONAL.contains(&name) || PLAIN.contains(&name) => {}
                _ => self.cannot_tell(&format!("calls {written}()")),
            }
        }
        // A table's name, a file or a class that is called by a variable: `$name(...)`, `include $file`.
        for window in statement.windows(2) {
            match window {
                [Token::Variable(name), Token::Mark('(')] => self.cannot_tell(&format!("calls ${name}()")),
                [Token::Arrow, Token::Variable(name)] if name != "connection" => {
                    self.cannot_tell(&format!("calls ${name}"));
                }
                _ => {}
            }
        }
        for token in statement {
            if let Token::Name(name, written) = token
                && matches!(
                    name.as_str(),
                    "include"
                        | "include_once"
                        | "require"
                        | "require_once"
                        | "eval"
                        | "exit"
                        | "die"
                        | "goto"
                        | "backtick"
                )
            {
                self.cannot_tell(&format!("uses {written}"));
            }
        }
    }

    fn raw(&mut self, sql: Option<&str>) {
        self.say(word::RAW, sql.map_or(Class::Unknown, classify));
    }
}

/// `Schema::connection('reports')->create(`: the parentheses between are skipped.
fn after_connection(statement: &[Token], at: usize) -> bool {
    statement[..at].iter().any(|token| matches!(token, Token::Name(name, _) if name == "schema"))
}

/// The tokens between the braces of `function up()`.
fn body_of_up(tokens: &[Token]) -> Option<&[Token]> {
    let named = |token: &Token, name: &str| matches!(token, Token::Name(found, _) if found == name);
    let at = tokens.windows(2).position(|two| named(&two[0], "function") && named(&two[1], "up"))?;
    let begin = at + tokens[at..].iter().position(|token| *token == Token::Mark('{'))? + 1;
    let mut depth = 1_usize;
    for (offset, token) in tokens[begin..].iter().enumerate() {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&tokens[begin..begin + offset]);
        }
    }
    Some(&tokens[begin..])
}

/// PHP's words, without comments. What is not understood becomes a mark, and a backtick a name that says so.
fn tokens(source: &str) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '\\';
    let (mut all, mut here) = (Vec::new(), 0);
    while here < letters.len() {
        let (letter, next) = (at(here), at(here + 1));
        match letter {
            '/' if next == '*' => {
                here += 2;
                while here < letters.len() && !(at(here) == '*' && at(here + 1) == '/') {
                    here += 1;
                }
                here += 2;
            }
            // `#[` begins an attribute, no comment.
            '/' | '#' if (letter == '/' && next == '/') || (letter == '#' && next != '[') => {
                while here < letters.len() && at(here) != '\n' && !(at(here) == '?' && at(here + 1) == '>') {
                    here += 1;
                }
            }
            '\'' | '"' => {
                let mut text = String::new();
                let mut plain = true;
                here += 1;
                while here < letters.len() && at(here) != letter {
                    if at(here) == '\\' && here + 1 < letters.len() {
                        here += 1;
                    } else if letter == '"' && at(here) == '$' {
                        plain = false;
                    }
                    text.push(at(here));
                    here += 1;
                }
                here += 1;
                all.push(Token::Text(plain.then_some(text)));
            }
            '<' if next == '<' && at(here + 2) == '<' => {
                let (text, end) = heredoc(&letters, here + 3);
                all.push(Token::Text(text));
                here = end;
            }
            '-' if next == '>' => {
                all.push(Token::Arrow);
                here += 2;
            }
            '?' if next == '-' && at(here + 2) == '>' => {
                all.push(Token::Arrow);
                here += 3;
            }
            ':' if next == ':' => {
                all.push(Token::Arrow);
                here += 2;
            }
            '`' => {
                all.push(Token::Name("backtick".to_owned(), "a shell command".to_owned()));
                here += 1;
            }
            '$' if part(next) => {
                let end = (here + 1..letters.len()).find(|end| !part(at(*end))).unwrap_or(letters.len());
                all.push(Token::Variable(letters[here + 1..end].iter().collect::<String>().to_lowercase()));
                here = end;
            }
            _ if part(letter) => {
                let end = (here..letters.len()).find(|end| !part(at(*end))).unwrap_or(letters.len());
                let whole: String = letters[here..end].iter().collect();
                let last = whole.rsplit('\\').next().unwrap_or_default().to_owned();
                all.push(Token::Name(last.to_lowercase(), last));
                here = end;
            }
            _ => {
                if !letter.is_whitespace() {
                    all.push(Token::Mark(letter));
                }
                here += 1;
            }
        }
    }
    all
}

/// The text of a heredoc or nowdoc that begins behind `<<<`, and where it ends. A text with a variable in it is not known.
fn heredoc(letters: &[char], from: usize) -> (Option<String>, usize) {
    let line_end = |from: usize| (from..letters.len()).find(|at| letters[*at] == '\n').unwrap_or(letters.len());
    let first = line_end(from);
    let label: String = letters[from..first].iter().collect();
    let literal = label.trim().starts_with('\'');
    let label = label.trim().trim_matches(['\'', '"']).to_owned();
    let mut text = String::new();
    let mut here = (first + 1).min(letters.len());
    while here < letters.len() && !label.is_empty() {
        let end = line_end(here);
        let line: String = letters[here..end].iter().collect();
        let rest = line.trim_start().strip_prefix(label.as_str());
        if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')) {
            let blanks = line.chars().take_while(|c| c.is_whitespace()).count();
            return ((literal || !text.contains('$')).then_some(text), here + blanks + label.chars().count());
        }
        text.push_str(&line);
        text.push('\n');
        here = (end + 1).min(letters.len());
    }
    (None, letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(body: &str) -> String {
        format!(
            "<?php\nuse Illuminate\\Support\\Facades\\{{DB, Schema}};\nreturn new class extends Migration {{\n    // Schema::drop('x');\n    \
             public function up(): void\n    {{\n{body}\n    }}\n    public function down(): void {{ Schema::dropIfExists('x'); }}\n}};\n"
        )
    }

    #[test]
    fn se1_a_migration_is_known_by_what_its_source_calls() {
        for (class, calls, body) in [
            (
                Class::Expand,
                "creates a table, adds a column",
                "Schema::create('x', function (Blueprint $table) { $table->id(); $table->string('a'); });",
            ),
            (Class::Expand, "adds a column", "Schema::table('x', fn ($t) => $t->string('a')->nullable()->after('b'));"),
            (Class::Contract, "adds a column", "Schema::table('x', fn ($t) => $t->string('a'));"),
            (
                Class::Expand,
                "adds an index",
                "Schema::table('x', function ($t) { /* $t->dropColumn('a'); */ $t->index(['a', 'b']); });",
            ),
            (Class::Contract, "adds a unique index", "Schema::table('x', fn ($t) => $t->unique('a'));"),
            (
                Class::LongLock,
                "adds a column, adds a foreign key",
                "Schema::table('x', fn ($t) => $t->foreignId('a')->nullable()->constrained());",
            ),
            (
                Class::LongLock,
                "changes a column",
                "Schema::table('x', fn ($t) => $t->text('a')->nullable()->change());",
            ),
            (Class::Destructive, "drops a table or column", "Schema::table('x', fn ($t) => $t->dropColumn('a'));"),
            (Class::Destructive, "drops a table or column", "Schema::dropIfExists('x');"),
            (Class::Contract, "drops an index or key", "Schema::table('x', fn ($t) => $t->dropForeign(['a']));"),
            (Class::Contract, "renames", "Schema::rename('x', 'y');"),
            (Class::Destructive, "runs a raw statement", "DB::statement('DROP TABLE `x`');"),
            (
                Class::LongLock,
                "runs a raw statement",
                "DB::statement(<<<'SQL'\n  ALTER TABLE x\n  MODIFY a text\n  SQL);",
            ),
            (Class::Unknown, "runs a raw statement", "DB::statement(\"ALTER TABLE $name ADD a int\");"),
            (Class::Unknown, "runs a raw statement", "DB::unprepared($sql);"),
            (Class::Destructive, "changes rows", "DB::table('x')->where('a', 1)->delete();"),
            (Class::Unknown, "cannot tell: calls touch()", "touch('/tmp/ran-by-plan');"),
            (Class::Unknown, "cannot tell: calls helper()", "$this->helper();"),
            (Class::Unknown, "cannot tell: makes PDO", "new PDO('x');"),
            (Class::Unknown, "cannot tell: uses a shell command", "`id`;"),
            (Class::Unknown, "cannot tell: calls $f()", "$f('x');"),
            (Class::Expand, "calls nothing", ""),
        ] {
            let reading = read(&up(body));
            let described = reading.calls.join(", ");
            assert!(reading.class >= class && described.contains(calls), "{body}: {reading:?}");
            if !described.contains("where") {
                assert_eq!(reading.class, class, "{body}: {reading:?}");
            }
        }
        assert_eq!(
            read("<?php touch('x');").class,
            Class::Unknown,
            "a migration that cannot be read is none to rely on"
        );
    }

    #[test]
    fn fd1_a_migration_that_names_another_connection_is_known_for_it() {
        let other = |body: &str| read(&up(body)).connections;
        assert_eq!(other("Schema::connection('reports')->create('x', fn ($t) => $t->id());"), ["reports"]);
        assert_eq!(other("DB::connection(\"reports\")->table('x')->insert([]);"), ["reports"]);
        assert_eq!(other("DB::connection($name)->statement('select 1');"), ["(not a plain text)"]);
        assert!(other("Schema::create('x', fn ($t) => $t->id());").is_empty());
        let property = up("Schema::create('x', fn ($t) => $t->id());")
            .replace("// Schema", "protected $connection = 'reports'; // Schema");
        let reading = read(&property);
        assert_eq!((reading.connections, reading.class), (vec!["reports".to_owned()], Class::Unknown));
    }
}
