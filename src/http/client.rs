//! HTTP clients: one TLS stack, one set of trusted roots, and errors as sentences.

use std::{
    error::Error,
    io::{self, ErrorKind},
    iter,
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, redirect};
use rustls::CertificateError;

use super::{Unanswered, Why};
use crate::domain::Roots;

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a client that follows no redirects; `configure` adds what this one needs.
///
/// It trusts what the machine trusts (`SSL_CERT_FILE`, else the system's store), and Mozilla's roots where the machine
/// has none, as in an empty container; `roots` are trusted besides. Proxies come from the usual environment variables unless `configure` says no.
///
/// # Errors
/// A sentence: the client could not be set up.
pub(crate) fn build(roots: &Roots, configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = || roots.certificates().filter_map(|root| Certificate::from_der(root).ok());
    let builder = || {
        let builder = Client::builder().redirect(redirect::Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        configure(builder.tls_certs_merge(own()))
    };
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only(mozilla_roots()).build())
        .map_err(|error| format!("setting up an HTTP client: {}", sentence(&error)))
}

/// What went wrong with a request, without its URL: that may carry a signature or a token (F40).
pub(crate) fn sentence(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time".to_owned() } else { "no answer in time".to_owned() };
    }
    // The outer errors say only "error sending request" and the like; the reason is at the end of the chain.
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

/// What became of a request that has no answer.
pub(crate) fn unanswered(error: &reqwest::Error) -> Unanswered {
    let text = sentence(error);
    if let Some(error) = causes(error).find_map(tls) {
        return Unanswered::new(of_tls(error), text);
    }
    // Both libraries below keep the types of these errors to themselves.
    let says = |words: &str| causes(error).any(|cause| cause.to_string().starts_with(words));
    let kind = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let why = match kind {
        _ if says("tunnel error") => Why::Proxy,
        _ if error.is_timeout() => Why::Late,
        _ if error.is_connect() && says("dns error") => Why::Name,
        Some(ErrorKind::ConnectionRefused) => Why::Refused,
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown) => Why::Route,
        _ if error.is_builder() => Why::Client,
        _ => Why::Broken,
    };
    Unanswered::new(why, text)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |cause| (*cause).source())
}

/// The error of TLS, which travels inside of errors of input and output; these do not name what they carry as their cause.
fn tls<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    cause.downcast_ref::<rustls::Error>().or_else(|| tls(cause.downcast_ref::<io::Error>()?.get_ref()?))
}

fn of_tls(error: &rustls::Error) -> Why {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => Why::Issuer,
        rustls::Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => Why::Expired,
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => Why::Hostname,
        _ => Why::Tls,
    }
}

fn mozilla_roots() -> Vec<Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|root| Certificate::from_der(root).ok()).collect()
}
