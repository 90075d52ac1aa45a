//! A component's weights: one file, or several with an index that says which tensor is where.

use super::error::{Result, WeightsError};
use super::file::WeightsFile;
use crate::nn::error::abridged;
use crate::nn::text;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Component, Path};
use tr::tr;

/// The files that a component's tensors are in.
#[derive(Debug)]
pub struct Shards {
    name: String,
    files: Vec<WeightsFile>,
    /// The file of each tensor; `None` if there is only one file.
    places: Option<BTreeMap<String, usize>>,
    /// Whether the index begins with a byte order mark.
    has_mark: bool,
}

impl From<WeightsFile> for Shards {
    fn from(file: WeightsFile) -> Self {
        Self { name: file.name().into(), files: vec![file], places: None, has_mark: false }
    }
}

/// `….safetensors.index.json`, as diffusers and transformers write it.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// The file name of each tensor, by key.
#[derive(Debug)]
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

/// A map without duplicate keys, of which serde would take the last.
struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tr!("a tensor's key and a file's name each"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<WeightMap, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, file)) = entries.next_entry::<String, String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("tensor `{key}` is listed twice")));
            }
            map.insert(key, file);
        }
        Ok(WeightMap(map))
    }
}

impl Shards {
    /// Opens every file that the index at `path` names; `json` is the index's text.
    ///
    /// # Errors
    /// When the index is invalid, a file is missing or corrupt, or the index and the files disagree.
    pub fn open(path: &Path, json: &[u8]) -> Result<Self> {
        let name = path.display().to_string();
        let wrong = |found: String, expected: &str| WeightsError::Index {
            file: name.clone(),
            found,
            expected: expected.into(),
        };
        if let Some(encoding) = text::other_encoding(json) {
            return Err(wrong(tr!("its byte order mark says {encoding}", encoding), "JSON in UTF-8"));
        }
        let index: Index = serde_json::from_slice(text::without_mark(json)).map_err(|e| {
            wrong(abridged(&e.to_string()), r#"{"weight_map": {"TENSOR": "FILE.safetensors", …}}"#)
        })?;
        let map = index.weight_map.0;
        if map.is_empty() {
            return Err(wrong(tr!("its weight_map is empty"), "a file for every tensor"));
        }
        let mut numbers = HashMap::new();
        let mut files = Vec::new();
        let mut places = BTreeMap::new();
        for (key, file) in map {
            let number = match numbers.get(&file) {
                Some(&number) => number,
                None => {
                    let mut parts = Path::new(&file).components();
                    let is_beside =
                        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
                    // A backslash is a separator on another system.
                    if !is_beside || file.contains(['/', '\\']) || !file.ends_with(".safetensors") {
                        let found =
                            tr!("tensor `{key}` is listed in {}", format_args!("{:?}", abridged(&file)), key);
                        return Err(wrong(found, "the name of a .safetensors file in the same folder"));
                    }
                    files.push(WeightsFile::open(&path.with_file_name(&file))?);
                    numbers.insert(file, files.len() - 1);
                    files.len() - 1
                }
            };
            places.insert(key, number);
        }
        for (key, &number) in &places {
            if files[number].info(key).is_none() {
                let found = tr!("tensor `{key}` is listed in {}, which lacks it", files[number].name(), key);
                return Err(wrong(found, "files of one model: fetch or copy them again"));
            }
        }
        for (number, file) in files.iter().enumerate() {
            for (key, _) in file.tensors() {
                if let Some(&other) = places.get(&key).filter(|&&place| place != number) {
                    let found =
                        tr!("tensor `{key}` is in {} and in {}", files[other].name(), file.name(), key);
                    return Err(wrong(found, "every tensor in one file"));
                }
            }
        }
        Ok(Self { name, files, places: Some(places), has_mark: text::has_mark(json) })
    }

    /// The file's name, or the index's, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index's name, where the index begins with a byte order mark.
    pub fn marked(&self) -> Option<&str> {
        self.has_mark.then_some(&self.name)
    }

    /// The files.
    pub fn files(&self) -> &[WeightsFile] {
        &self.files
    }

    /// The file names, including the index's if there is one.
    pub fn file_names(&self) -> Vec<String> {
        let paths = self.files.iter().map(WeightsFile::name).chain([self.name.as_str()]);
        let name = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        paths.filter_map(name).collect()
    }

    /// The tensor `key`: its file, and the header's entry.
    pub fn find(&self, key: &str) -> Option<(&WeightsFile, &TensorInfo)> {
        let number = match &self.places {
            None => 0,
            Some(places) => *places.get(key)?,
        };
        let file = &self.files[number];
        Some((file, file.info(key)?))
    }

    /// The file's own key for the tensor `key`, for messages.
    pub fn stored_key(&self, key: &str) -> String {
        self.files.first().map_or_else(|| key.into(), |file| file.stored_key(key))
    }

    /// Every tensor's key, stored dtype and shape. Tensors that the index does not list are left out.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        let is_listed = |key: &str| self.places.as_ref().is_none_or(|places| places.contains_key(key));
        self.files.iter().flat_map(WeightsFile::tensors).filter(move |(key, _)| is_listed(key))
    }

    /// The size of all tensors in bytes.
    pub fn data_len(&self) -> u64 {
        self.files.iter().map(WeightsFile::data_len).sum()
    }
}
