//! Where a release has a path: a file below `public/`, or a route that a source names. The source is read as text and never run, so that a
//! group's prefix or a parameter hides a route from it.

/// Whether a file of the bundle defines routes of the app itself: those of packages are known to the app only.
pub fn defines_routes(file: &str) -> bool {
    let php = file.ends_with(".php");
    php && (file.starts_with("routes/") || file == "bootstrap/app.php" || file.starts_with("app/Providers/"))
}

/// The file below `public/` that the web server answers this path with, if the bundle has one.
pub fn public_file(path: &str) -> String {
    format!("public{}", without_query(path))
}

/// Whether the source of `file` names this path, as a text of its own.
pub fn names(file: &str, source: &str, path: &str) -> bool {
    let whole = without_query(path).trim_matches('/');
    // The routes of this file have a prefix that it does not name.
    let inside = whole.strip_prefix("api/").filter(|_| file == "routes/api.php");
    let spelled: Vec<String> = [Some(whole), inside].into_iter().flatten().flat_map(spellings).collect();
    source.lines().filter(|line| !is_comment(line)).any(|line| spelled.iter().any(|text| line.contains(text.as_str())))
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// A path between quotes, with its slashes and without.
fn spellings(path: &str) -> Vec<String> {
    let mut spelled = vec![format!("/{path}"), path.to_owned(), format!("/{path}/"), format!("{path}/")];
    spelled.retain(|path| !path.is_empty() && path != "//");
    ['\'', '"'].iter().flat_map(|quote| spelled.iter().map(move |path| format!("{quote}{path}{quote}"))).collect()
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "#", "*", "/*"].iter().any(|start| line.starts_with(start)) && !line.starts_with("#[")
}

#[cfg(test)]
mod tests {
    use super::{defines_routes, names, public_file};

    #[test]
    fn fd5_a_route_is_found_by_the_text_that_names_it() {
        for (file, source, path) in [
            ("bootstrap/app.php", "->withRouting(\n    health: '/up',\n)", "/up"),
            ("routes/web.php", "Route::get(\"health\", fn () => 'ok');", "/health?full=1"),
            ("routes/web.php", "Route::get('/', Home::class);", "/"),
            ("routes/api.php", "Route::get('/health-check', [Health::class, 'shallow']);", "/api/health-check"),
            ("routes/web.php", "#[Get('/status/')]", "/status"),
        ] {
            assert!(names(file, source, path), "{path} in {source}");
        }
        for (file, source, path) in [
            ("routes/web.php", "Route::get('/health-check', x);", "/health"),
            ("routes/web.php", "// Route::get('/health', x);", "/health"),
            ("routes/web.php", " * 'health' => is gone", "/health"),
            ("routes/web.php", "Route::get('/health-check', x);", "/api/health-check"),
            ("routes/web.php", "", "/"),
        ] {
            assert!(!names(file, source, path), "{path} in {source}");
        }
        for file in
            ["routes/web.php", "routes/admin/web.php", "bootstrap/app.php", "app/Providers/RouteServiceProvider.php"]
        {
            assert!(defines_routes(file), "{file}");
        }
        for file in ["app/Http/Kernel.php", "vendor/acme/mail/routes/web.php", "routes/web.txt"] {
            assert!(!defines_routes(file), "{file}");
        }
        assert_eq!(public_file("/healthcheck.php?x"), "public/healthcheck.php");
    }
}
