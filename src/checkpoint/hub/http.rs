//! Requests: who asks, how long is waited, and which redirects are followed.

use super::HubError;
use super::settings::{Settings, Token};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// No hub sends one on as often as this.
const MAX_REDIRECTS: usize = 8;

/// Asks a hub.
#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    /// Scheme, host and port that the token is for.
    origin: String,
    token: Option<Token>,
}

/// What was answered.
pub(super) struct Answer {
    /// Where it came from in the end.
    pub url: String,
    /// Whether it is the hub's own, and not that of a host that the hub led to.
    pub is_hubs: bool,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Box<dyn Read + Send>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nobody is there, or says something that is no HTTP.
    Unreachable { host: String, why: String },
    /// Nothing comes.
    Stalled,
    /// The connection ended early.
    Lost(String),
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, HubError> {
        let endpoint = settings.endpoint.to_lowercase();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(HubError::Endpoint { endpoint: settings.endpoint.clone() });
        }
        let certificates = match &settings.certificates {
            Some(file) => certificates_in(file)?,
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(certificates).build())
            .user_agent(concat!("diffuscope/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Followed here, so that it is seen which host is sent what.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        let origin = origin(&settings.endpoint).to_lowercase();
        Ok(Self { agent: Agent::new_with_config(config), origin, token: settings.token.clone() })
    }

    /// Gets `url`, from byte `from` on where that is not 0. `patience` is how long nothing may come.
    pub fn get(&self, url: &str, from: u64, patience: Duration) -> Result<Answer, Broken> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self
                .agent
                .get(&url)
                .config()
                .timeout_connect(Some(patience))
                .timeout_recv_response(Some(patience))
                .timeout_per_read(Some(patience))
                .build()
                // A compressed answer has no ranges, and its length is not the file's.
                .header("Accept-Encoding", "identity");
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let is_hubs = origin(&url).to_lowercase() == self.origin;
            if let Some(token) = self.token.as_ref().filter(|_| is_hubs) {
                request = request.header("Authorization", token.header());
            }
            let response = request.call().map_err(|e| broken(&url, e))?;
            let status = response.status().as_u16();
            let location = response.headers().get("Location").and_then(|value| value.to_str().ok());
            match location {
                Some(location) if (300..400).contains(&status) => url = join(&url, location),
                _ => {
                    let (parts, body) = response.into_parts();
                    let body = Box::new(body.into_reader());
                    return Ok(Answer { url, is_hubs, status, headers: parts.headers, body });
                }
            }
        }
        Err(Broken::Lost(format!("it leads on and on, in the end to {url}")))
    }
}

impl Answer {
    /// A header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The certificates of a file in PEM.
fn certificates_in(file: &Path) -> Result<RootCerts, HubError> {
    let wrong = |found: String| HubError::Certificates { file: file.into(), found };
    let text = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    let mut certificates = vec![];
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong("no certificate is in it".into()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn broken(url: &str, error: ureq::Error) -> Broken {
    use ureq::{Error, Timeout};
    match error {
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Broken::Unreachable { host: origin(url).into(), why: "it does not answer".into() }
        }
        Error::Timeout(_) => Broken::Stalled,
        Error::HostNotFound => {
            Broken::Unreachable { host: origin(url).into(), why: "no such host is known".into() }
        }
        Error::Io(e) if e.kind() == io::ErrorKind::TimedOut => Broken::Stalled,
        Error::Io(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            Broken::Lost(e.to_string())
        }
        other if other.to_string().contains("invalid peer certificate") => Broken::Unreachable {
            host: origin(url).into(),
            why: format!(
                "{other} (something between that has its own? SSL_CERT_FILE names a file of those to believe)"
            ),
        },
        other => Broken::Unreachable { host: origin(url).into(), why: other.to_string() },
    }
}

/// As what an error counts that comes while a body is read.
pub(super) fn broken_off(error: &io::Error) -> Broken {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut {
        Broken::Stalled
    } else {
        Broken::Lost(error.to_string())
    }
}

/// Scheme, host and port of an address: all before the path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Where a redirect from `base` leads.
fn join(base: &str, location: &str) -> String {
    let origin = origin(base);
    if location.starts_with("http://") || location.starts_with("https://") {
        location.into()
    } else if location.starts_with("//") {
        let scheme = base.split("//").next().unwrap_or_default();
        format!("{scheme}{location}")
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let path = base[origin.len()..].split(['?', '#']).next().unwrap_or_default();
        let folder = path.rfind('/').map_or("", |at| &path[..at]);
        format!("{origin}{folder}/{location}")
    }
}

/// `text` as part of a path: all but what needs no escape is escaped, a slash too.
pub(super) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead() {
        let from = |location| join("https://a.example:8/b/c?d=/e", location);
        assert_eq!(from("https://x/y"), "https://x/y");
        assert_eq!(from("//x/y"), "https://x/y");
        assert_eq!(from("/y?z"), "https://a.example:8/y?z");
        assert_eq!(from("y"), "https://a.example:8/b/y");
        assert_eq!(join("https://a.example", "y"), "https://a.example/y");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://a.example:8/b"), "https://a.example:8");
        assert_eq!(origin("https://a.example?b"), "https://a.example");
        assert_eq!(origin("https://a.example"), "https://a.example");
        // A host that only begins like another is another.
        assert_ne!(origin("https://hub.example.evil/b"), origin("https://hub.example/b"));
        assert_ne!(origin("https://hub.example@evil/b"), origin("https://hub.example/b"));
    }

    #[test]
    fn a_revision_is_one_part_of_a_path() {
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escaped("v1.0-a_b~c"), "v1.0-a_b~c");
        assert_eq!(escaped("ü?"), "%C3%BC%3F");
    }
}
