//! Versions, processor and memory, terminal, hub and files.

use super::{Fact, Section};
use crate::checkpoint::hub::Hub;
use crate::lesson::Progress;
use crate::pipeline::memory;
use crate::tui;
use crate::tui::config::Config;
use crate::tui::terminal::Found;
use serde_json::{Map, Value, json};
use std::path::Path;
use tr::tr;

/// The version of candle.
const CANDLE: &str = "0.11.1";

/// Versions of the program and its libraries.
pub fn versions() -> Section {
    let profile = if cfg!(debug_assertions) { "a debug build: models take minutes" } else { "release" };
    let bundled = if cfg!(feature = "bundled") { "in the program" } else { "not in this build" };
    Section {
        title: "Versions",
        facts: vec![
            Fact::text("diffuscope", env!("CARGO_PKG_VERSION")),
            Fact::text("candle", CANDLE),
            Fact::text("build", profile),
            Fact::text("pocket model", bundled),
            Fact::text("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ],
    }
}

/// The processor and the memory.
pub fn machine() -> Section {
    let threads = rayon::current_num_threads();
    let features = cpu_features();
    let text = if features.is_empty() { tr!("none that are used") } else { features.join(", ") };
    let free = memory::available();
    Section {
        title: "Processor",
        facts: vec![
            Fact::new("threads", threads.to_string(), threads),
            Fact::new("instructions", text, json!(features)),
            Fact::new(
                "memory free",
                free.map_or(tr!("not reported"), |bytes| memory::human(bytes.into())),
                json!(free),
            ),
        ],
    }
}

/// The available instruction sets among those that are used.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(&'static str, bool); 0] = [];
    all.into_iter().filter_map(|(name, is_available)| is_available.then_some(name)).collect()
}

/// The terminal, as the interface would use it.
pub fn terminal() -> Section {
    let config = Config::load();
    let chosen = config.as_ref().ok();
    let mut facts = match tui::terminal::found(chosen.map(|config| config.graphics).unwrap_or_default()) {
        Some(Found { columns, rows, graphics, cell }) => vec![
            Fact::new("size", format!("{columns}×{rows}"), json!([columns, rows])),
            Fact::text("pictures", graphics),
            Fact::new("a cell's pixels", format!("{}×{}", cell.0, cell.1), json!([cell.0, cell.1])),
        ],
        None => vec![Fact::new("size", "standard input or output is not a terminal", Value::Null)],
    };
    let colours = chosen.and_then(|config| config.colours).unwrap_or_else(tui::depth::Depth::detect);
    let colours = serde_json::to_value(colours).ok().and_then(|value| value.as_str().map(String::from));
    facts.push(Fact::text("colours", colours.unwrap_or_default()));
    let set = ["TERM", "TERM_PROGRAM", "COLORTERM", "NO_COLOR", "TMUX", "LANG"];
    facts.push(variables(&set, |_, value| value.into()));
    Section { title: "Terminal", facts }
}

/// The hub's settings, and the size of the cache.
pub fn hub() -> Section {
    let hub = Hub::of_environment();
    let settings = hub.settings();
    let (bytes, count, unreadable) = match hub.scan() {
        Ok(scan) => {
            let unreadable: Vec<_> = scan.unreadable.iter().map(ToString::to_string).collect();
            (scan.bytes, scan.models.len(), unreadable.join("; "))
        }
        Err(e) => (0, 0, e.to_string()),
    };
    let unreadable = if unreadable.is_empty() { unreadable } else { format!("; {unreadable}") };
    let token = settings.token.as_ref().map(|token| token.from.clone());
    let certificates = settings.certificates.as_deref().map(Path::display);
    let known = [
        "HF_HOME",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_DISABLE_SYMLINKS",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HF_HUB_ETAG_TIMEOUT",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "SSL_CERT_FILE",
    ];
    Section {
        title: "Hub",
        facts: vec![
            Fact::text("cache", settings.cache.display().to_string()),
            Fact::new(
                "models",
                format!("{count}, {}{unreadable}", memory::human(bytes.into())),
                json!({ "count": count, "bytes": bytes }),
            ),
            Fact::text("endpoint", without_password(&settings.endpoint)),
            Fact::new(
                "token",
                token.as_ref().map_or("none".into(), |from| tr!("set, from {from}", from)),
                json!(token),
            ),
            Fact::new("offline", if settings.offline { "yes" } else { "no" }, settings.offline),
            Fact::text("certificates", certificates.map_or(tr!("Mozilla's list"), |file| file.to_string())),
            variables(&known, |name, value| match name {
                "HF_TOKEN" => tr!("(not shown)"),
                "HF_ENDPOINT" => without_password(value),
                _ => value.into(),
            }),
        ],
    }
}

/// The user's files.
pub fn files() -> Section {
    let place = |path: Option<&Path>| match path {
        Some(path) => format!("{}{}", path.display(), if path.exists() { "" } else { " (does not exist)" }),
        None => tr!("none: there is no home folder"),
    };
    let config = Config::path();
    let progress = Progress::of_reader();
    let mut facts = vec![
        Fact::new("settings", place(config.as_deref()), json!(config)),
        Fact::new("lessons", place(progress.file()), json!(progress.file())),
    ];
    if let Err(e) = Config::load() {
        facts.push(Fact::text(
            "not understood",
            e.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        ));
    }
    Section { title: "Files", facts }
}

/// The environment variables that are set.
fn variables(names: &[&str], shown: impl Fn(&str, &str) -> String) -> Fact {
    let set: Vec<(String, String)> = names
        .iter()
        .filter_map(|&name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some((name.to_string(), shown(name, &value.to_string_lossy())))
        })
        .collect();
    let text: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = if text.is_empty() { tr!("none is set") } else { text.join(" ") };
    let value: Map<String, Value> = set.into_iter().map(|(name, value)| (name, value.into())).collect();
    Fact::new("variables", text, value)
}

/// A URL without credentials: `https://user:secret@host` becomes `https://…@host`.
fn without_password(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("…@{host}{path}"),
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_candle_is_the_locked_one() {
        let locked = include_str!("../../../Cargo.lock");
        assert!(locked.contains(&format!("name = \"candle-core\"\nversion = \"{CANDLE}\"")));
    }

    #[test]
    fn a_password_is_not_shown() {
        for (address, shown) in [
            ("https://huggingface.co", "https://huggingface.co"),
            ("https://me:secret@hub.example/a@b", "https://…@hub.example/a@b"),
            ("me:secret@hub", "…@hub"),
            ("", ""),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }
}
