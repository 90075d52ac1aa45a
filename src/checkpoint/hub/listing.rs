//! The listing of a model: the commit that its files are fetched from, and the size and hash of each. Ours, because hf-hub's
//! `RepoInfo` has the commit and the names alone, and its `metadata` takes two requests a file and has no kind of hash.

use super::client::broken_off;
use super::name::is_commit;
use super::settings::LOOK_TIMEOUT;
use super::{Digest, Hub, HubError, HubName};
use serde::Deserialize;
use std::io::Read;
use tr::tr;

/// What a model has at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit, 40 hexadecimal digits. A branch may move on; files are fetched of this.
    pub commit: String,
    /// The class of its pipeline, where the hub knows it: `StableDiffusionPipeline`.
    pub class: Option<String>,
    /// Every file.
    pub files: Vec<RemoteFile>,
}

/// A file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path inside the model, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its hash.
    pub digest: Digest,
}

/// More than any model's listing has.
const MAX_ANSWER: u64 = 64 << 20;

/// `GET /api/models/OWNER/NAME/revision/REVISION?blobs=true`.
#[derive(Deserialize)]
struct Model {
    sha: String,
    siblings: Vec<Sibling>,
    /// What the hub has read in the model's own files: `{"diffusers": {"_class_name": "…"}}`. Anything else may stand there.
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: Option<u64>,
}

impl Hub {
    /// Asks the hub for the listing of `name`.
    ///
    /// # Errors
    /// When the hub cannot be reached, refuses, or answers something else.
    pub fn listing(&self, name: &HubName) -> Result<Listing, HubError> {
        let client = self.client()?;
        let url = client.listing_url(name);
        let given_up = |broken| self.given_up(&url, LOOK_TIMEOUT, broken);
        let mut answer = client.get_patiently(&url, self.settings.look_timeout).map_err(given_up)?;
        if answer.status != 200 {
            return Err(self.refusal(name, answer));
        }
        let mut text = Vec::new();
        let read_to_end = (&mut answer.body).take(MAX_ANSWER).read_to_end(&mut text);
        read_to_end.map_err(|e| given_up(broken_off(&e)))?;
        read(&text).map_err(|found| HubError::Answer {
            url,
            found,
            expected: "the listing of a model: its commit, and of each file the name, size and hash",
            endpoint: self.settings.endpoint.clone(),
        })
    }
}

fn read(text: &[u8]) -> Result<Listing, String> {
    let model: Model = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if !is_commit(&model.sha) {
        return Err(tr!("the commit is `{}`", model.sha));
    }
    let file = |sibling: Sibling| {
        let digest = match &sibling.lfs {
            Some(lfs) => Digest::sha256(&lfs.sha256),
            None => sibling.blob_id.as_deref().and_then(Digest::git),
        };
        let size = sibling.lfs.and_then(|lfs| lfs.size).or(sibling.size);
        match (size, digest) {
            (Some(size), Some(digest)) => Ok(RemoteFile { path: sibling.rfilename, size, digest }),
            _ => Err(tr!("`{}` is without a size or a hash", sibling.rfilename)),
        }
    };
    let class = model.config["diffusers"]["_class_name"].as_str().map(str::to_string);
    Ok(Listing {
        commit: model.sha,
        class,
        files: model.siblings.into_iter().map(file).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the hub answers it, shortened.
    #[test]
    fn a_listing() {
        let text = r#"{"_id":"6","id":"a/b","sha":"39593d5650112b4cc580433f6b0435385882d819","private":false,"gated":false,
            "config":{"diffusers":{"_class_name":"StableDiffusionPipeline"}},
            "siblings":[{"rfilename":"model_index.json","size":511,"blobId":"f5b4ca1a22a4ef8ee6a8b0aa3a8d9d6a4d4d7c6a"},
            {"rfilename":"unet/w.safetensors","size":7,"blobId":"f5b4ca1a22a4ef8ee6a8b0aa3a8d9d6a4d4d7c6a",
             "lfs":{"sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","size":7,"pointerSize":135}}]}"#;
        let listing = read(text.as_bytes()).unwrap();
        assert_eq!(listing.commit, "39593d5650112b4cc580433f6b0435385882d819");
        assert_eq!(listing.class.as_deref(), Some("StableDiffusionPipeline"));
        assert!(matches!(&listing.files[0], RemoteFile { size: 511, digest: Digest::Git(_), .. }));
        assert!(matches!(&listing.files[1], RemoteFile { size: 7, digest: Digest::Sha256(_), .. }));
    }

    #[test]
    fn what_is_no_listing() {
        let commit = "39593d5650112b4cc580433f6b0435385882d819";
        for (text, said) in [
            ("<html>".to_string(), "expected value"),
            (r#"{"sha":"../x","siblings":[]}"#.into(), "the commit is `../x`"),
            (format!(r#"{{"sha":"{commit}","siblings":[{{"rfilename":"a"}}]}}"#), "`a` is without"),
            (
                format!(
                    r#"{{"sha":"{commit}","siblings":[{{"rfilename":"a","size":1,"blobId":"../../x"}}]}}"#
                ),
                "`a` is without",
            ),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
