//! Lists in pages: `per_page`, `page` and the `Link` header.

use axum::http::{HeaderMap, HeaderValue, Uri, header::LINK};

/// The query parameters of a list request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value of a parameter; empty values count as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, value)| key == name && !value.is_empty())?;
        Some(&found.1)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok().filter(|number| *number > 0)
    }
}

/// Cuts the requested page out of `items`; the headers link to its neighbours.
pub(super) fn page<T>(items: Vec<T>, query: &Query, api_url: &str, uri: &Uri) -> (Vec<T>, HeaderMap) {
    let per_page = query.number("per_page").unwrap_or(30).min(100);
    let page = query.number("page").unwrap_or(1);
    let last = items.len().div_ceil(per_page).max(1);

    let mut links = Vec::new();
    let mut link = |relation: &str, number: usize| {
        links.push(format!("<{api_url}{}>; rel=\"{relation}\"", with_page(uri, number)));
    };
    if page > 1 {
        link("prev", (page - 1).min(last));
        link("first", 1);
    }
    if page < last {
        link("next", page + 1);
        link("last", last);
    }

    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&links.join(", "))
        && !links.is_empty()
    {
        headers.insert(LINK, value);
    }
    let items = items.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
    (items, headers)
}

fn with_page(uri: &Uri, number: usize) -> String {
    let mut pairs: Vec<&str> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("page="))
        .collect();
    let page = format!("page={number}");
    pairs.push(&page);
    format!("{}?{}", uri.path(), pairs.join("&"))
}
