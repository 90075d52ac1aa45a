//! A hub on loopback, as the Hugging Face hub answers: a listing with sizes and hashes, a relative redirect for small files, and
//! for large ones a redirect to another host. What it answers can be changed by the test. It has one model under two names, of which
//! the second is kept with Xet. `examples/hub.rs` serves it to Python (tools/hub/).

use diffuscope::checkpoint::hub::Digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the model is called.
pub const NAME: &str = "you/mini";
/// The same files under another name, with Xet hashes.
pub const TWIN: &str = "you/twin";
/// The only commit of both.
pub const COMMIT: &str = "39593d5650112b4cc580433f6b0435385882d819";

/// The hub. The threads that answer end with the test's process.
pub struct Hub {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// By their names in small letters.
    pub headers: HashMap<String, String>,
}

/// What is answered.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub play: Play,
}

/// How the body goes out.
pub enum Play {
    /// As it should.
    Whole,
    /// In chunks, without a length.
    Chunked,
    /// So many bytes, and the connection ends.
    CutAfter(usize),
    /// So many bytes, and nothing more.
    StallAfter(usize),
    /// Not even a status.
    Silent,
    /// After a while.
    Late(Duration),
}

impl Request {
    /// Whether this asks for the content of `file`, and not for where it is.
    pub fn gets(&self, file: &str) -> bool {
        let path = self.path.split('?').next();
        self.method == "GET" && path.is_some_and(|path| path.ends_with(&format!("/content/{file}")))
    }

    /// The first byte asked for, where not all of it is.
    pub fn from(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    pub fn looks(&self) -> bool {
        self.path.starts_with("/api/models/")
    }
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: vec![], body: body.to_string().into_bytes(), play: Play::Whole }
    }

    /// A status with the header that tells why.
    pub fn error(status: u16, code: &str) -> Self {
        let mut reply = Self::json(status, &json!({ "error": "no" }));
        if !code.is_empty() {
            reply.headers.push(("X-Error-Code", code.into()));
        }
        reply
    }
}

/// The files in `folder`, by their names in it.
pub fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, before: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{before}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                walk(&path, &format!("{name}/"), files);
            } else {
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(folder, "", &mut files);
    files
}

/// What names the content in the cache: SHA-256 of weights, git's id of all else.
pub fn digest(file: &str, content: &[u8]) -> String {
    let kind = if is_large(file) { Digest::sha256(&"0".repeat(64)) } else { Digest::git(&"0".repeat(40)) };
    let mut hasher = kind.unwrap().hasher(content.len() as u64);
    hasher.update(content);
    hasher.finish()
}

pub fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".bin")
}

impl Hub {
    /// A hub with `files`, of which each answer goes through `change`.
    pub fn start(
        files: BTreeMap<String, Vec<u8>>,
        change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(vec![]));
        let hub = Self { port, seen: Arc::clone(&seen) };
        let shared = Arc::new((files, change));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (shared, seen) = (Arc::clone(&shared), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let Some(request) = read(&connection) else { return };
                    seen.lock().unwrap().push(request.clone());
                    let reply = (shared.1)(&request, answer(&request, &shared.0, port));
                    // Whoever asked may have gone.
                    let _ = send(connection, reply, request.method == "HEAD");
                });
            }
        });
        hub
    }

    /// What `HF_ENDPOINT` has to be.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked so far.
    pub fn seen(&self) -> MutexGuard<'_, Vec<Request>> {
        self.seen.lock().unwrap()
    }

    /// How often the content of `file` was asked for.
    pub fn gets(&self, file: &str) -> usize {
        self.seen().iter().filter(|request| request.gets(file)).count()
    }
}

/// What Xet would name the content: here any 64 digits that follow from it do.
pub fn xet_hash(content: &[u8]) -> String {
    digest("xet.safetensors", &[b"xet", content].concat())
}

/// As the Hugging Face hub answers.
fn answer(request: &Request, files: &BTreeMap<String, Vec<u8>>, port: u16) -> Reply {
    let is_hub = request.headers["host"].starts_with("127.0.0.1");
    let path = request.path.split('?').next().unwrap();
    for name in [NAME, TWIN] {
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{name}/revision/")) {
            return match revision {
                "main" | COMMIT => info(name, files),
                _ => Reply::error(404, "RevisionNotFound"),
            };
        }
        if path == format!("/api/models/{name}/tree/{COMMIT}") {
            let entries = files.iter().map(|(file, content)| entry(name, file, content));
            return Reply::json(200, &Value::Array(entries.collect()));
        }
        if let Some(file) = path.strip_prefix(&format!("/{name}/resolve/{COMMIT}/")) {
            return match files.get(file) {
                Some(content) => resolve(name, file, content, port),
                None => Reply::error(404, "EntryNotFound"),
            };
        }
    }
    match path.split_once("/content/").and_then(|(_, file)| Some((file, files.get(file)?))) {
        Some((file, content)) if is_hub != is_large(file) => {
            let etag = ("ETag", format!("\"{}\"", digest(file, content)));
            let commit = ("X-Repo-Commit", COMMIT.into());
            match request.from().filter(|&from| from < content.len()) {
                Some(from) => {
                    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                    let headers = vec![etag, commit, ("Content-Range", range)];
                    Reply { status: 206, headers, body: content[from..].to_vec(), play: Play::Whole }
                }
                None => Reply {
                    status: 200,
                    headers: vec![etag, commit],
                    body: content.clone(),
                    play: Play::Whole,
                },
            }
        }
        _ if request.headers.contains_key("authorization") => Reply::error(404, "RepoNotFound"),
        _ => Reply::error(401, "RepoNotFound"),
    }
}

/// What a model's API says of it.
fn info(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Reply {
    let siblings: Vec<_> = files.iter().map(|(name, content)| sibling(name, content)).collect();
    let index = files.get("model_index.json").and_then(|text| serde_json::from_slice::<Value>(text).ok());
    let config = json!({ "diffusers": { "_class_name": index.map(|index| index["_class_name"].clone()) } });
    Reply::json(200, &json!({ "id": name, "sha": COMMIT, "config": config, "siblings": siblings }))
}

/// Where a file's content is, and what is known of it.
fn resolve(name: &str, file: &str, content: &[u8], port: u16) -> Reply {
    let (status, location) = if is_large(file) {
        (302, format!("http://localhost:{port}/cdn/content/{file}?signed=yes"))
    } else {
        (307, format!("/api/resolve-cache/content/{file}"))
    };
    let mut headers = vec![("Location", location), ("X-Repo-Commit", COMMIT.into())];
    if is_large(file) {
        headers.push(("X-Linked-Etag", format!("\"{}\"", digest(file, content))));
        headers.push(("X-Linked-Size", content.len().to_string()));
        if name == TWIN {
            headers.push(("X-Xet-Hash", xet_hash(content)));
            headers.push(("X-Xet-Refresh-Route", format!("/api/models/{name}/xet-read-token/{COMMIT}")));
        }
    }
    Reply { status, headers, body: b"look there".to_vec(), play: Play::Whole }
}

/// A file as the tree has it, which Python asks for.
fn entry(name: &str, file: &str, content: &[u8]) -> Value {
    let (hash, size) = (digest(file, content), content.len());
    if !is_large(file) {
        return json!({ "type": "file", "path": file, "size": size, "oid": hash });
    }
    let lfs = json!({ "oid": hash, "size": size, "pointerSize": 134 });
    let mut entry = json!({ "type": "file", "path": file, "size": size, "oid": "0".repeat(40), "lfs": lfs });
    if name == TWIN {
        entry["xetHash"] = xet_hash(content).into();
    }
    entry
}

/// A file as the listing has it.
pub fn sibling(name: &str, content: &[u8]) -> Value {
    let (hash, size) = (digest(name, content), content.len());
    if is_large(name) {
        let lfs = json!({ "sha256": hash, "size": size, "pointerSize": 134 });
        json!({ "rfilename": name, "size": size, "blobId": "0".repeat(40), "lfs": lfs })
    } else {
        json!({ "rfilename": name, "size": size, "blobId": hash })
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next()?.ok()?;
    let (method, path) = first.split_once(' ')?;
    let (method, path) = (method.to_string(), path.split(' ').next()?.to_string());
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_string());
    }
    Some(Request { method, path, headers })
}

fn send(mut connection: TcpStream, reply: Reply, is_head: bool) -> std::io::Result<()> {
    if let Play::Late(after) = reply.play {
        std::thread::sleep(after);
    }
    if matches!(reply.play, Play::Silent) {
        return wait_for_end(connection);
    }
    write!(connection, "HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(connection, "{name}: {value}\r\n")?;
    }
    match reply.play {
        Play::Chunked => {
            write!(connection, "Transfer-Encoding: chunked\r\n\r\n")?;
            for chunk in reply.body.chunks(1000) {
                write!(connection, "{:x}\r\n", chunk.len())?;
                connection.write_all(chunk)?;
                write!(connection, "\r\n")?;
            }
            write!(connection, "0\r\n\r\n")
        }
        play => {
            write!(connection, "Content-Length: {}\r\n\r\n", reply.body.len())?;
            match play {
                _ if is_head => Ok(()),
                Play::CutAfter(n) => connection.write_all(&reply.body[..n.min(reply.body.len())]),
                Play::StallAfter(n) => {
                    connection.write_all(&reply.body[..n.min(reply.body.len())])?;
                    wait_for_end(connection)
                }
                _ => connection.write_all(&reply.body),
            }
        }
    }
}

/// Keeps the connection until the other side has ended it.
fn wait_for_end(mut connection: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut connection, &mut std::io::sink()).map(drop)
}
