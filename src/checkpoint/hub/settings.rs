//! What the environment says of the hub, by the names that Python's `huggingface_hub` has for it. Ours, because hf-hub 0.5 reads
//! `HF_HOME` and `HF_ENDPOINT` alone.

use crate::nn::text::trimmed;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tr::tr;

/// Where the hub is, where its files are kept, and who asks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HF_ENDPOINT`: a hub's address, without a slash at its end.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// Not `HF_HUB_DISABLE_SYMLINKS`: snapshots hold links to the blobs.
    pub links: bool,
    /// `HF_TOKEN`, else the one that `hf auth login` saved.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: nothing is asked of the network.
    pub offline: bool,
    /// `HF_HUB_ETAG_TIMEOUT`: how long the hub may take to list a model.
    pub look_timeout: Duration,
    /// `HF_HUB_DOWNLOAD_TIMEOUT`: how long a transfer may stand still.
    pub download_timeout: Duration,
    /// `SSL_CERT_FILE`: the certificates to trust, instead of Mozilla's list.
    pub certificates: Option<PathBuf>,
}

/// A secret; it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    /// Where it came from, for messages: `HF_TOKEN`, or a file.
    pub from: String,
}

/// The variable with the time that the hub may take to answer.
pub(super) const LOOK_TIMEOUT: &str = "HF_HUB_ETAG_TIMEOUT";
/// The variable with the time that a transfer may stand still.
pub(super) const DOWNLOAD_TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";

const ENDPOINT: &str = "https://huggingface.co";
const TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// What this process' environment says.
    pub fn of_environment() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// The time that `variable` sets.
    pub(super) fn timeout(&self, variable: &str) -> Duration {
        if variable == LOOK_TIMEOUT { self.look_timeout } else { self.download_timeout }
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home_folder = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
        let folder = |name: &str| {
            let path = PathBuf::from(set(name)?);
            Some(path.strip_prefix("~").map(|rest| home_folder.join(rest)).unwrap_or(path))
        };
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().trim().to_string());
        let is_true = |name: &str| {
            text(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&&*value.to_lowercase()))
        };
        let seconds = |name: &str| {
            let seconds = text(name).and_then(|value| value.parse::<f64>().ok());
            let usable =
                seconds.filter(|&seconds| seconds > 0.).and_then(|s| Duration::try_from_secs_f64(s).ok());
            usable.unwrap_or(TIMEOUT)
        };

        let home = folder("HF_HOME").unwrap_or_else(|| {
            folder("XDG_CACHE_HOME").unwrap_or_else(|| home_folder.join(".cache")).join("huggingface")
        });
        let saved = || {
            let file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let secret = trimmed(&std::fs::read_to_string(&file).ok()?).to_string();
            Some(Token { secret, from: file.display().to_string() })
        };
        let given = text("HF_TOKEN").map(|secret| Token { secret, from: "HF_TOKEN".into() });
        let token = if given.is_none() && is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            given.or_else(saved)
        };
        Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').into(),
            cache: folder("HF_HUB_CACHE")
                .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            // What is no token cannot be put into a header.
            token: token.filter(|token| {
                !token.secret.is_empty() && token.secret.bytes().all(|b| b.is_ascii_graphic())
            }),
            links: !is_true("HF_HUB_DISABLE_SYMLINKS"),
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
            look_timeout: seconds(LOOK_TIMEOUT),
            download_timeout: seconds(DOWNLOAD_TIMEOUT),
            certificates: folder("SSL_CERT_FILE"),
        }
    }
}

impl Token {
    /// What an `Authorization` header holds.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tr!("Token of {}", self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        Settings::of(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| settings(&[&[("HOME", "/h")], variables].concat()).cache;
        assert_eq!(cache(&[]), PathBuf::from("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/f")]), PathBuf::from("/h/f/hub"));
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/g")]), PathBuf::from("/g"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/g")]), PathBuf::from("/c"));
        assert_eq!(
            cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", "")]),
            PathBuf::from("/h/.cache/huggingface/hub")
        );
    }

    #[test]
    fn tokens() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_saved\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| {
            settings(&[&[("HF_HOME", home)], variables].concat()).token.map(|token| token.secret)
        };
        assert_eq!(token(&[]), Some("hf_saved".into()));
        assert_eq!(token(&[("HF_TOKEN", "hf_given\n")]), Some("hf_given".into()));
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
        assert_eq!(token(&[("HF_TOKEN", "two\r\nHeader: lines")]), None);
        assert!(!format!("{:?}", settings(&[("HF_TOKEN", "hf_given")])).contains("hf_given"));
    }

    #[test]
    fn switches_and_times() {
        let settings = settings(&[
            ("HF_HUB_OFFLINE", "ON"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "30"),
            ("HF_HUB_ETAG_TIMEOUT", "-1"),
        ]);
        assert!(settings.offline);
        assert_eq!(settings.download_timeout, Duration::from_secs(30));
        assert_eq!(settings.look_timeout, TIMEOUT);
        assert_eq!(settings.endpoint, "https://huggingface.co");
    }
}
