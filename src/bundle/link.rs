//! Where symbolic links lead. The writing and the reading side of a bundle ask the same question.

/// Why a link of a package is left out.
pub(crate) const DANGLING: &str = "a package's link that leads to nothing";

/// The path inside the tree to which `target` leads from the link at `link` (both as in [`Manifest::links`]).
///
/// Steps up (`..`) may stand at the beginning only. There they leave real folders, because no entry of a bundle lies
/// behind a link; further on they could leave a folder that is a link itself and end anywhere.
///
/// [`Manifest::links`]: crate::domain::bundle::Manifest::links
pub(crate) fn destination(link: &str, target: &str) -> Result<String, String> {
    if target.is_empty() {
        return Err("its target is empty".to_owned());
    }
    if target.starts_with('/') {
        return Err(format!("it points to the absolute path {target}, which is different on another machine"));
    }
    if target.chars().any(char::is_control) {
        return Err("its target contains control characters".to_owned());
    }
    let mut at: Vec<&str> = link.split('/').collect();
    at.pop();
    let mut gone_down = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if gone_down => {
                return Err(format!("it points to {target}, which contains `..` after a folder"));
            }
            ".." => {
                at.pop().ok_or_else(|| format!("it points to {target}, outside the source folder"))?;
            }
            part => {
                gone_down = true;
                at.push(part);
            }
        }
    }
    if at.is_empty() {
        return Err(format!("it points to {target}, the source folder itself"));
    }
    Ok(at.join("/"))
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn links_inside_the_tree_are_followed_by_name() {
        assert_eq!(
            destination("vendor/bin/pest", "../pestphp/pest/bin/pest").as_deref(),
            Ok("vendor/pestphp/pest/bin/pest")
        );
        assert_eq!(destination("public/files", "../storage/app/files").as_deref(), Ok("storage/app/files"));
        assert_eq!(destination("a", "./b").as_deref(), Ok("b"));
    }

    #[test]
    fn links_that_leave_the_tree_are_named_as_such() {
        for (link, target) in [
            ("a", "/etc/passwd"),
            ("a", "../b"),
            ("a/b", "../../c"),
            ("a/b", ".."),
            ("a", ""),
            ("a/b", "c/../../../x"),
            ("a", "b\nc"),
        ] {
            assert!(destination(link, target).is_err(), "{link} -> {target}");
        }
    }
}
