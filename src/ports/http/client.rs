//! HTTP clients: one TLS stack, one set of trusted roots, and errors as sentences.

use std::{error::Error, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, redirect};

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a client that follows no redirects; `configure` adds what this one needs.
///
/// It trusts what the machine trusts (`SSL_CERT_FILE`, else the system's store), and Mozilla's roots where the machine
/// has none, as in an empty container. Proxies come from the usual environment variables unless `configure` says no.
///
/// # Errors
/// A sentence: the client could not be set up.
pub(in crate::ports) fn build(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || configure(Client::builder().redirect(redirect::Policy::none()).connect_timeout(CONNECT_TIMEOUT));
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only(mozilla_roots()).build())
        .map_err(|error| format!("setting up an HTTP client: {}", sentence(&error)))
}

/// What went wrong with a request, without its URL: that may carry a signature or a token (F40).
pub(in crate::ports) fn sentence(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time".to_owned() } else { "no answer in time".to_owned() };
    }
    // The outer errors say only "error sending request" and the like; what people need is at the end of the chain.
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    let text = match text.split_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None if text.is_empty() => "the request failed".to_owned(),
        None => text,
    };
    if error.is_connect() { format!("no connection: {text}") } else { text }
}

fn mozilla_roots() -> Vec<Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|root| Certificate::from_der(root).ok()).collect()
}
