//! What can go wrong with the hub. Each message names the culprit, what was found, and what to do next; hf-hub's errors name none
//! of the three.

use super::BrokenLink;
use super::name::short_names;
use crate::checkpoint::kind::OtherKind;
use std::path::PathBuf;
use tr::tr;

/// Why a model could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is what its message says")]
pub enum HubError {
    #[error(
        "{}", tr!(
            "`{name}`: {found}; expected a folder, OWNER/NAME, OWNER/NAME@REVISION, or one of {}",
            short_names(), name = .name, found = .found
        ))]
    Name { name: String, found: String },
    #[error("{}", tr!(
        "{name}: {why}; {copy} is a copy of it that others keep: say `{short}`",
        name = .name, why = .why, copy = .copy, short = .short
    ))]
    Withdrawn { name: &'static str, why: &'static str, copy: &'static str, short: &'static str },
    #[error(
        "{}", tr!(
            "{name}: HF_HUB_OFFLINE is set, and {found} {cache}; unset it, or where there is a network run `diffuscope model pull {name}`",
            name = .name, found = .found, cache = cache.display()
        ))]
    Offline { name: String, found: &'static str, cache: PathBuf },
    #[error("{}", tr!(
        "{name}: {found} {cache}; `diffuscope model pull {name}` fetches it",
        name = .name, found = .found, cache = cache.display()
    ))]
    NotCached { name: String, found: &'static str, cache: PathBuf },
    #[error(
        "{}", tr!(
            "{name}: `{revision}` names no commit in {cache}, but {name}@{commit} is there: say that, or `diffuscope model pull {name}@{revision}`",
            name = .name, revision = .revision, cache = cache.display(), commit = .commit
        ))]
    NoCommit { name: String, revision: String, commit: String, cache: PathBuf },
    #[error("{}", tr!(
        "{name}: {link}; {unset}`diffuscope model verify {name} --repair` fetches it again",
        name = .name, link = .link, unset = .unset
    ))]
    Broken { name: String, link: BrokenLink, unset: &'static str },
    #[error("{}", tr!("HF_HUB_OFFLINE is set, so the hub was not asked for its hash"))]
    NotAsked,
    #[error(
        "{}", tr!(
            "{name}: HF_HUB_OFFLINE is set, so nothing can be fetched again and nothing was changed; where there is a network run `diffuscope model verify {name} --repair`",
            name = .name
        ))]
    RepairOffline { name: String },
    #[error(
        "{}", tr!(
            "{name}: the hub has no {file} in this commit, so it cannot be fetched again; nothing was changed",
            name = .name, file = .file
        ))]
    NotListed { name: String, file: String },
    #[error("{}", tr!(
        "HF_ENDPOINT is `{endpoint}`; expected a hub's address, which begins with https:// or http://",
        endpoint = .endpoint
    ))]
    Endpoint { endpoint: String },
    #[error("{}", tr!(
        "{file}, which SSL_CERT_FILE names: {found}; expected certificates in PEM",
        file = file.display(), found = .found
    ))]
    Certificates { file: PathBuf, found: String },
    #[error(
        "{}", tr!(
            "{host}: cannot be reached: {why}; is there a network, does it want a proxy (HTTPS_PROXY)? `diffuscope model list` tells what runs without",
            host = .host, why = .why
        ))]
    Unreachable { host: String, why: String },
    #[error(
        "{}", tr!(
            "{url}: nothing came for {seconds} s, several times over; try again later (what has come is kept), or allow more seconds with {variable}",
            url = .url, seconds = .seconds, variable = .variable
        ))]
    Stalled { url: String, seconds: f64, variable: &'static str },
    #[error(
        "{}", tr!(
            "{url}: the connection broke, several times over: {why}; run the same again, it goes on from what has come",
            url = .url, why = .why
        ))]
    Lost { url: String, why: String },
    #[error(
        "{}", tr!(
            "{name}: the hub has no such model, or not for everyone (it answers 401 to both where no token is sent); look at {url} whether the name is right; for a private model set HF_TOKEN, or run `hf auth login`",
            name = .name, url = .url
        ))]
    MissingOrPrivate { name: String, url: String },
    #[error(
        "{}", tr!(
            "{name}: the hub does not accept the token of {token}; make another at {endpoint}/settings/tokens",
            name = .name, token = .token, endpoint = .endpoint
        ))]
    Token { name: String, token: String, endpoint: String },
    #[error(
        "{}", tr!(
            "{name}: the hub has no such model, or not for this token; look at {url} whether the name is right",
            name = .name, url = .url
        ))]
    Missing { name: String, url: String },
    #[error("{}", tr!(
        "{name}: the model has no branch, tag or commit `{revision}`; {url} tells which there are",
        name = .name, revision = .revision, url = .url
    ))]
    Revision { name: String, revision: String, url: String },
    #[error(
        "{}", tr!(
            "{name}: a gated model, and no token was sent; accept its terms at {url}, make a token at {endpoint}/settings/tokens, and set HF_TOKEN or run `hf auth login`",
            name = .name, url = .url, endpoint = .endpoint
        ))]
    GatedWithoutToken { name: String, url: String, endpoint: String },
    #[error("{}", tr!(
        "{name}: a gated model, and the token of {token} has no access to it; ask for it at {url}",
        name = .name, token = .token, url = .url
    ))]
    Gated { name: String, token: String, url: String },
    #[error("{}", tr!(
        "{name}: the hub refuses (403{said}); {next}",
        name = .name, said = .said, next = .next
    ))]
    Forbidden { name: String, said: String, next: String },
    #[error(
        "{}", tr!(
            "{url}: the hub answers {status}{said}; try again later, https://status.huggingface.co tells how it is",
            url = .url, status = .status, said = .said
        ))]
    Status { url: String, status: u16, said: String },
    #[error(
        "{}", tr!(
            "{url}: {found}; expected {expected}; is HF_ENDPOINT ({endpoint}) a hub, and nothing between that changes what it says?",
            url = .url, found = .found, expected = .expected, endpoint = .endpoint
        ))]
    Answer { url: String, found: String, expected: &'static str, endpoint: String },
    #[error(
        "{}", tr!(
            "{name}: weights of the {component} only as a pickle ({file}), which can run code when it is read and is not read here; look for a safetensors copy in the model's discussions or other revisions, or convert it: https://huggingface.co/spaces/safetensors/convert",
            name = .name, component = .component, file = .file
        ))]
    PicklesOnly { name: String, component: &'static str, file: String },
    #[error(
        "{}", tr!(
            "{name}: weights of the {component} in several files ({file}), and not all of them are there; expected {expected}",
            name = .name, component = .component, file = .file, expected = .expected
        ))]
    ShardMissing { name: String, component: &'static str, file: String, expected: String },
    #[error(
        "{}", tr!(
            "{name}: no {file} at {revision}; expected a text-to-image SD 1.x or 2.x in the diffusers layout, such as {}",
            short_names(), name = .name, file = .file, revision = .revision
        ))]
    NotDiffusers { name: String, file: String, revision: String },
    #[error("{}", tr!("{name}: {kind}, such as {}", short_names(), name = .name, kind = .kind))]
    Kind { name: String, kind: OtherKind },
    #[error(
        "{}", tr!(
            "{file}: {found} bytes came, of {expected} that the hub announced; nothing of it was kept, run the same again",
            file = .file, found = .found, expected = .expected
        ))]
    Size { file: String, found: u64, expected: u64 },
    #[error(
        "{}", tr!(
            "{file}: what came has the hash {found}, and the hub announced {expected}; nothing of it was kept. Run the same again; if it stays so, something between here and the hub changes files",
            file = .file, found = .found, expected = .expected
        ))]
    Hash { file: String, found: String, expected: String },
    #[error(
        "{}", tr!(
            "{folder}: {needed} are needed and {free} are free; make room (`diffuscope model list`, `diffuscope model remove NAME`{prune}), or set HF_HOME to a folder on another disk",
            folder = folder.display(), needed = .needed, free = .free, prune = .prune
        ))]
    Disk { folder: PathBuf, needed: String, free: String, prune: String },
    #[error("{}", tr!(
        "{path}: {error}; expected a cache that can be read and written (HF_HOME, HF_HUB_CACHE)",
        path = path.display(), error = .error
    ))]
    File { path: PathBuf, error: std::io::Error },
    #[error("{}", tr!("{name}: not fetched", name = .name))]
    Declined { name: String },
}
