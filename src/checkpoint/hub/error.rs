//! What can go wrong with the hub. Each message names the culprit, what was found, and what to do next; hf-hub's errors name none
//! of the three.

use super::BrokenLink;
use super::name::short_names;
use crate::checkpoint::kind::OtherKind;
use std::path::PathBuf;

/// Why a model could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the messages say of them")]
pub enum HubError {
    /// A name that cannot be one.
    #[error(
        "`{name}`: {found}; expected a folder, OWNER/NAME, OWNER/NAME@REVISION, or one of {}",
        short_names()
    )]
    Name { name: String, found: String },
    /// A model that was taken off the hub.
    #[error("{name}: {why}; {copy} is a copy of it that others keep: say `{short}`")]
    Withdrawn { name: &'static str, why: &'static str, copy: &'static str, short: &'static str },
    /// The hub was not asked, and the cache has not got all of it.
    #[error(
        "{name}: HF_HUB_OFFLINE is set, and {found} {cache}; unset it, or where there is a network run `diffuscope model pull {name}`",
        cache = cache.display()
    )]
    Offline { name: String, found: &'static str, cache: PathBuf },
    /// Not in the cache, where only the cache is looked into.
    #[error("{name}: {found} {cache}; `diffuscope model pull {name}` fetches it", cache = cache.display())]
    NotCached { name: String, found: &'static str, cache: PathBuf },
    /// A revision that names no commit in the cache, where another commit of the model is whole.
    #[error(
        "{name}: `{revision}` names no commit in {cache}, but {name}@{commit} is there: say that, or `diffuscope model pull {name}@{revision}`",
        cache = cache.display()
    )]
    NoCommit { name: String, revision: String, commit: String, cache: PathBuf },
    /// A file whose content is not where its link leads.
    #[error("{name}: {link}; {unset}`diffuscope model verify {name} --repair` fetches it again")]
    Broken { name: String, link: BrokenLink, unset: &'static str },
    /// A listing that would have to be asked for.
    #[error("HF_HUB_OFFLINE is set, so the hub was not asked for its hash")]
    NotAsked,
    /// A repair without the hub.
    #[error(
        "{name}: HF_HUB_OFFLINE is set, so nothing can be fetched again and nothing was changed; where there is a network run `diffuscope model verify {name} --repair`"
    )]
    RepairOffline { name: String },
    /// A file of a snapshot that its commit does not have on the hub.
    #[error(
        "{name}: the hub has no {file} in this commit, so it cannot be fetched again; nothing was changed"
    )]
    NotListed { name: String, file: String },
    /// An address that is none.
    #[error("HF_ENDPOINT is `{endpoint}`; expected a hub's address, which begins with https:// or http://")]
    Endpoint { endpoint: String },
    /// Certificates that cannot be read.
    #[error("{file}, which SSL_CERT_FILE names: {found}; expected certificates in PEM", file = file.display())]
    Certificates { file: PathBuf, found: String },
    /// No connection.
    #[error(
        "{host}: cannot be reached: {why}; is there a network, does it want a proxy (HTTPS_PROXY)? `diffuscope model list` tells what runs without"
    )]
    Unreachable { host: String, why: String },
    /// A connection over which nothing came.
    #[error(
        "{url}: nothing came for {seconds} s, several times over; try again later (what has come is kept), or allow more seconds with {variable}"
    )]
    Stalled { url: String, seconds: f64, variable: &'static str },
    /// A connection that broke again and again.
    #[error(
        "{url}: the connection broke, several times over: {why}; run the same again, it goes on from what has come"
    )]
    Lost { url: String, why: String },
    /// 401 without a token: the hub does not tell which of the two it is.
    #[error(
        "{name}: the hub has no such model, or not for everyone (it answers 401 to both where no token is sent); look at {url} whether the name is right; for a private model set HF_TOKEN, or run `hf auth login`"
    )]
    MissingOrPrivate { name: String, url: String },
    /// 401 in spite of a token.
    #[error(
        "{name}: the hub does not accept the token of {token}; make another at {endpoint}/settings/tokens"
    )]
    Token { name: String, token: String, endpoint: String },
    /// 404.
    #[error(
        "{name}: the hub has no such model, or not for this token; look at {url} whether the name is right"
    )]
    Missing { name: String, url: String },
    /// A branch, tag or commit that is not there.
    #[error("{name}: the model has no branch, tag or commit `{revision}`; {url} tells which there are")]
    Revision { name: String, revision: String, url: String },
    /// Terms that have to be accepted, and nobody said who asks.
    #[error(
        "{name}: a gated model, and no token was sent; accept its terms at {url}, make a token at {endpoint}/settings/tokens, and set HF_TOKEN or run `hf auth login`"
    )]
    GatedWithoutToken { name: String, url: String, endpoint: String },
    /// Terms that the token's owner has not accepted.
    #[error("{name}: a gated model, and the token of {token} has no access to it; ask for it at {url}")]
    Gated { name: String, token: String, url: String },
    /// 403.
    #[error("{name}: the hub refuses (403{said}); {next}")]
    Forbidden { name: String, said: String, next: String },
    /// Another status that is no success.
    #[error(
        "{url}: the hub answers {status}{said}; try again later, https://status.huggingface.co tells how it is"
    )]
    Status { url: String, status: u16, said: String },
    /// What a hub does not answer.
    #[error(
        "{url}: {found}; expected {expected}; is HF_ENDPOINT ({endpoint}) a hub, and nothing between that changes what it says?"
    )]
    Answer { url: String, found: String, expected: &'static str, endpoint: String },
    /// A model without safetensors.
    #[error(
        "{name}: weights of the {component} only as a pickle ({file}), which can run code when it is read and is not read here; look for a safetensors copy in the model's discussions or other revisions, or convert it: https://huggingface.co/spaces/safetensors/convert"
    )]
    PicklesOnly { name: String, component: &'static str, file: String },
    /// Weights in several files, of which some are not there.
    #[error(
        "{name}: weights of the {component} in several files ({file}), and not all of them are there; expected {expected}"
    )]
    ShardMissing { name: String, component: &'static str, file: String, expected: String },
    /// Not a model in the diffusers layout.
    #[error(
        "{name}: no {file} at {revision}; expected a text-to-image SD 1.x or 2.x in the diffusers layout, such as {}",
        short_names()
    )]
    NotDiffusers { name: String, file: String, revision: String },
    /// A pipeline of another kind.
    #[error("{name}: {kind}, such as {}", short_names())]
    Kind { name: String, kind: OtherKind },
    /// More or less than the hub announced.
    #[error(
        "{file}: {found} bytes came, of {expected} that the hub announced; nothing of it was kept, run the same again"
    )]
    Size { file: String, found: u64, expected: u64 },
    /// Not what the hub announced.
    #[error(
        "{file}: what came has the hash {found}, and the hub announced {expected}; nothing of it was kept. Run the same again; if it stays so, something between here and the hub changes files"
    )]
    Hash { file: String, found: String, expected: String },
    /// Not enough room.
    #[error(
        "{folder}: {needed} are wanted and {free} are free; make room (`diffuscope model list`, `diffuscope model remove NAME`{prune}), or set HF_HOME to a folder on another disk",
        folder = folder.display()
    )]
    Disk { folder: PathBuf, needed: String, free: String, prune: String },
    /// A file that cannot be read, written or linked.
    #[error("{path}: {error}; expected a cache that can be read and written (HF_HOME, HF_HUB_CACHE)", path = path.display())]
    File { path: PathBuf, error: std::io::Error },
    /// Whoever was asked said no.
    #[error("{name}: not fetched")]
    Declined { name: String },
}
