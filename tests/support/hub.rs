//! A hub on loopback with one model, as the Hugging Face hub answers: a listing with sizes and hashes, a relative redirect for
//! small files, and for large ones a redirect to another host. What it answers can be changed by the test.

use diffuscope::model::hub::Digest;
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
/// Its only commit.
pub const COMMIT: &str = "39593d5650112b4cc580433f6b0435385882d819";

/// The hub. The threads that answer end with the test's process.
pub struct Hub {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
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
        self.path.split('?').next().is_some_and(|path| path.ends_with(&format!("/content/{file}")))
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

fn is_large(file: &str) -> bool {
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
                    let _ = send(connection, reply);
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

/// As the Hugging Face hub answers.
fn answer(request: &Request, files: &BTreeMap<String, Vec<u8>>, port: u16) -> Reply {
    let is_hub = request.headers["host"].starts_with("127.0.0.1");
    let path = request.path.split('?').next().unwrap();
    if path == format!("/api/models/{NAME}/revision/main") && request.path.ends_with("?blobs=true") {
        let siblings: Vec<_> = files.iter().map(|(name, content)| sibling(name, content)).collect();
        let index = files.get("model_index.json").and_then(|text| serde_json::from_slice::<Value>(text).ok());
        let config =
            json!({ "diffusers": { "_class_name": index.map(|index| index["_class_name"].clone()) } });
        return Reply::json(
            200,
            &json!({ "id": NAME, "sha": COMMIT, "config": config, "siblings": siblings }),
        );
    }
    if path.starts_with(&format!("/api/models/{NAME}/revision/")) {
        return Reply::error(404, "RevisionNotFound");
    }
    let redirect = |status, location| Reply {
        status,
        headers: vec![("Location", location), ("X-Repo-Commit", COMMIT.into())],
        body: b"look there".to_vec(),
        play: Play::Whole,
    };
    if let Some(file) = path.strip_prefix(&format!("/{NAME}/resolve/{COMMIT}/")) {
        return match files.contains_key(file) {
            true if is_large(file) => {
                redirect(302, format!("http://localhost:{port}/cdn/content/{file}?signed=yes"))
            }
            true => redirect(307, format!("/api/resolve-cache/content/{file}")),
            false => Reply::error(404, "EntryNotFound"),
        };
    }
    match path.split_once("/content/").and_then(|(_, file)| Some((file, files.get(file)?))) {
        Some((file, content)) if is_hub != is_large(file) => {
            let etag = ("ETag", format!("\"{}\"", digest(file, content)));
            match request.from().filter(|&from| from < content.len()) {
                Some(from) => {
                    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                    let headers = vec![etag, ("Content-Range", range)];
                    Reply { status: 206, headers, body: content[from..].to_vec(), play: Play::Whole }
                }
                None => Reply { status: 200, headers: vec![etag], body: content.clone(), play: Play::Whole },
            }
        }
        _ if request.headers.contains_key("authorization") => Reply::error(404, "RepoNotFound"),
        _ => Reply::error(401, "RepoNotFound"),
    }
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
    let path = first.split(' ').nth(1)?.to_string();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_string());
    }
    Some(Request { path, headers })
}

fn send(mut connection: TcpStream, reply: Reply) -> std::io::Result<()> {
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
