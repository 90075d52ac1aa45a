//! Requests, made with hf-hub's client: it has the addresses, the headers and the token.
//!
//! Ours is what hf-hub 0.5 has no setting for, or does otherwise (`tests/program/hf_hub.rs` shows each): time-outs; the certificates
//! of `SSL_CERT_FILE`; redirects on which the token goes to the hub's own origin only; the hub's reasons for a refusal.

use super::{Hub, HubError, HubName, Settings};
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use tr::tr;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// More redirects than any hub makes.
const MAX_REDIRECTS: usize = 8;
/// How often in a row a connection may bring nothing new.
pub(super) const ATTEMPTS: u32 = 4;

/// How long to wait before the attempt after `fruitless` ones.
pub(super) fn pause(fruitless: u32) -> Duration {
    Duration::from_millis(250) * 2u32.pow(fruitless.min(6))
}

/// A client of one hub.
#[derive(Debug)]
pub(super) struct Client {
    api: Api,
    /// Scheme, host and port that the token is for.
    origin: String,
    tls: TlsConfig,
}

/// The answer at the end of all redirects.
pub(super) struct Answer {
    pub url: String,
    /// Whether the hub itself answered, and not a host that it redirected to.
    pub is_hubs: bool,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Box<dyn Read + Send>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection, or no HTTP.
    Unreachable { host: String, why: String },
    /// Nothing comes.
    Stalled,
    /// The connection ended early.
    Lost(String),
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Self, HubError> {
        let endpoint = settings.endpoint.to_lowercase();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(HubError::Endpoint { endpoint: settings.endpoint.clone() });
        }
        let certificates = settings.certificates.as_deref().map(certificates_in).transpose()?;
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.as_ref().map(|token| token.secret().into()))
            .with_user_agent("diffuscope", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| HubError::Unreachable { host: settings.endpoint.clone(), why: e.to_string() })?;
        let tls = TlsConfig::builder().root_certs(certificates.unwrap_or(RootCerts::WebPki)).build();
        Ok(Self { api, origin: origin(&endpoint).into(), tls })
    }

    fn repo(&self, name: &HubName, revision: &str) -> ApiRepo {
        // hf-hub escapes slashes alone.
        let revision = escaped(revision);
        self.api.repo(Repo::with_revision(name.repository.clone(), RepoType::Model, revision))
    }

    /// The address of the listing of `name`.
    pub fn listing_url(&self, name: &HubName) -> String {
        let request = self.repo(name, name.revision()).info_request();
        // An endpoint that makes no address is what the error is to name.
        request.uri_ref().map_or_else(|| self.origin.clone(), |url| format!("{url}?blobs=true"))
    }

    /// The address of a file at a commit.
    pub fn file_url(&self, name: &HubName, commit: &str, path: &str) -> String {
        let path: Vec<_> = path.split('/').map(escaped).collect();
        self.repo(name, commit).url(&path.join("/"))
    }

    /// Gets `url`, from byte `from` on if that is not 0. `patience` is how long nothing may come.
    pub fn get(&self, url: &str, from: u64, patience: Duration) -> Result<Answer, Broken> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self
                .api
                .model(String::new())
                .info_request()
                .uri(&url)
                .config()
                .timeout_connect(Some(patience))
                .timeout_recv_response(Some(patience))
                .timeout_per_read(Some(patience))
                .tls_config(self.tls.clone())
                .http_status_as_error(false)
                // ureq leaves the token out on a redirect within a hub on http.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .build()
                // A compressed answer has no ranges, and its length is not the file's.
                .header("Accept-Encoding", "identity");
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let is_hubs = origin(&url).to_lowercase() == self.origin;
            if let Some(headers) = request.headers_mut().filter(|_| !is_hubs) {
                headers.remove("Authorization");
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
        Err(Broken::Lost(tr!("it leads on and on, in the end to {url}", url)))
    }

    /// Gets `url`, and again if the connection breaks or the hub is busy. If there is no host, the first attempt is the last.
    pub fn get_patiently(&self, url: &str, patience: Duration) -> Result<Answer, Broken> {
        let mut fruitless = 0;
        loop {
            fruitless += 1;
            match self.get(url, 0, patience) {
                Ok(answer) if fruitless < ATTEMPTS && answer.is_busy() => {}
                Err(Broken::Stalled | Broken::Lost(_)) if fruitless < ATTEMPTS => {}
                answer => return answer,
            }
            std::thread::sleep(pause(fruitless));
        }
    }
}

impl Answer {
    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the hub has too much to do just now.
    pub fn is_busy(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

impl Hub {
    /// The error for an answer that is no success.
    pub(super) fn refusal(&self, name: &HubName, mut answer: Answer) -> HubError {
        const LONGEST: u64 = 4096;
        let endpoint = self.settings.endpoint.clone();
        let page = format!("{endpoint}/{}", name.repository);
        let code = answer.header("X-Error-Code").unwrap_or_default().to_string();
        let mut reason = answer.header("X-Error-Message").map(str::to_string);
        if reason.is_none() {
            let mut body = Vec::new();
            // An answer that breaks off has no reason in it.
            let _ = (&mut answer.body).take(LONGEST).read_to_end(&mut body);
            let body = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
            reason = body["error"].as_str().map(str::to_string);
        }
        let said = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let (name, url, revision) = (name.repository.clone(), page, name.revision().to_string());
        match (answer.status, &*code, self.settings.token.as_ref().map(|token| token.from.clone())) {
            (401 | 403, "GatedRepo", None) => HubError::GatedWithoutToken { name, url, endpoint },
            (401 | 403, "GatedRepo", Some(token)) => HubError::Gated { name, token, url },
            (401, _, None) => HubError::MissingOrPrivate { name, url },
            (401, code, Some(token)) if code != "RepoNotFound" => HubError::Token { name, token, endpoint },
            (404, "RevisionNotFound", _) => {
                HubError::Revision { name, revision, url: format!("{url}/tree/main") }
            }
            (401 | 404, _, _) => HubError::Missing { name, url },
            (403, _, token) => {
                let see = |token| {
                    tr!(
                        "see at {endpoint}/settings/tokens whether the token of {token} may read this",
                        endpoint,
                        token
                    )
                };
                let set = tr!("set HF_TOKEN to a token that may read this, or run `hf auth login`");
                HubError::Forbidden { name, said, next: token.map_or(set, see) }
            }
            (status, _, _) => HubError::Status { url: answer.url, status, said },
        }
    }

    /// The error for a connection that is not tried again; `variable` sets how long it may stall.
    pub(super) fn given_up(&self, url: &str, variable: &'static str, broken: Broken) -> HubError {
        let url = url.to_string();
        match broken {
            Broken::Unreachable { host, why } => HubError::Unreachable { host, why },
            Broken::Lost(why) => HubError::Lost { url, why },
            Broken::Stalled => {
                let seconds = self.settings.timeout(variable).as_secs_f64();
                HubError::Stalled { url, seconds, variable }
            }
        }
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
        return Err(wrong(tr!("no certificate is in it")));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn broken(url: &str, error: ureq::Error) -> Broken {
    use ureq::{Error, Timeout};
    let why = match error {
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => tr!("it does not answer"),
        Error::Timeout(_) => return Broken::Stalled,
        Error::HostNotFound => tr!("no such host is known"),
        Error::Io(e) if e.kind() == io::ErrorKind::TimedOut => return Broken::Stalled,
        Error::Io(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Broken::Lost(e.to_string());
        }
        other if other.to_string().contains("invalid peer certificate") => tr!(
            "{other} (something between that has its own? SSL_CERT_FILE names a file of those to believe)",
            other
        ),
        other => other.to_string(),
    };
    Broken::Unreachable { host: origin(url).into(), why }
}

/// The same for an error that comes while a body is read.
pub(super) fn broken_off(error: &io::Error) -> Broken {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut {
        Broken::Stalled
    } else {
        Broken::Lost(error.to_string())
    }
}

/// The encoding that a body could not be decoded from: a client built with gzip decodes it unasked.
pub(super) fn undecoded(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref()? {
        ureq::Error::Decompress(encoding, _) => Some(encoding),
        _ => None,
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
        format!("{}{location}", base.split("//").next().unwrap_or_default())
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let path = base[origin.len()..].split(['?', '#']).next().unwrap_or_default();
        format!("{origin}{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder))
    }
}

/// `text` as part of a path: all but what needs no escape is escaped, a slash too.
fn escaped(text: &str) -> String {
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
