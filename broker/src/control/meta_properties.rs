//! Whose directory this is: `meta.properties` and the lock in each log directory.
//!
//! Boot calls it before anything else touches a disk. The first start gives the cluster, the node and each directory an identity; later starts
//! check them. A directory that is somebody else's is refused before anything is written to it. Deliberately absent: what is in the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use corelog_logic::controller::TopicId;
use xxhash_rust::xxh3::xxh3_64;

use super::durable;
use super::error::{ControlError, Result};

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
/// What may lie in a directory that we make ours: our own beginnings, and what a fresh file system has.
const HARMLESS: [&str; 3] = [LOCK, "meta.properties.new", "lost+found"];
/// The format of everything in a log directory (decision 0001).
const FORMAT: &str = "1";
/// The key of the checksum over the others, and no word of Kafka's.
const HASH: &str = "corelog.hash";
/// Node id when none is configured.
const NODE_ID_DEFAULT: i32 = 1;

/// Who this broker is.
#[derive(Debug)]
pub struct Identity {
    /// Kafka's cluster id: 22 letters of URL-safe base64.
    pub cluster_id: String,
    /// This broker's id.
    pub node_id: i32,
    /// The log directories in the order of the configuration.
    pub dirs: Vec<LogDir>,
    /// Whether there was no log directory of this broker before.
    pub first_start: bool,
}

/// A log directory that is ours and locked as long as this lives.
#[derive(Debug)]
pub struct LogDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its identity (KIP-858), in the same form as the cluster's.
    pub directory_id: String,
    _lock: File,
}

/// What a `meta.properties` of ours says.
struct Meta {
    cluster_id: String,
    node_id: i32,
    directory_id: String,
}

/// Opens, creates and locks the log directories. `node_id` is what is configured (`node.id`), if anything is.
///
/// # Errors
/// One sentence: a directory that is locked, belongs to Kafka, to another broker or cluster, holds unknown files, or cannot be written.
pub fn open_log_dirs(dirs: &[PathBuf], node_id: Option<i32>) -> Result<Identity> {
    let mut found: Vec<Option<Meta>> = Vec::new();
    for dir in dirs {
        found.push(inspect(dir).map_err(|error| unusable(dir, error))?);
    }
    let mut locks = Vec::new();
    let mut real_paths = BTreeSet::new();
    for dir in dirs {
        durable::create_dir_all(dir).map_err(|error| unusable(dir, error))?;
        let real = fs::canonicalize(dir).map_err(|e| ControlError::io("resolve", dir, e))?;
        if !real_paths.insert(real) {
            return Err(ControlError::Directory {
                dir: dir.clone(),
                why: "it is named twice in log.dirs".to_owned(),
            });
        }
        locks.push(lock(dir).map_err(|error| unusable(dir, error))?);
    }
    let known: Vec<(&PathBuf, &Meta)> =
        dirs.iter().zip(&found).filter_map(|(d, m)| Some((d, m.as_ref()?))).collect();
    for (dir, meta) in &known {
        let (first_dir, first) = known[0];
        let refuse = |why: String| Err(ControlError::Directory { dir: (*dir).clone(), why });
        if meta.cluster_id != first.cluster_id {
            return refuse(format!(
                "it belongs to cluster {}, but {} belongs to cluster {}; log.dirs may only name directories of one broker",
                meta.cluster_id,
                first_dir.display(),
                first.cluster_id
            ));
        }
        let expected = node_id.unwrap_or(first.node_id);
        if meta.node_id != expected {
            return refuse(format!(
                "it belongs to node {}, and this is node {expected}; correct node.id or name another directory in log.dirs",
                meta.node_id
            ));
        }
        if let Some((other, _)) = known.iter().find(|(d, m)| d != dir && m.directory_id == meta.directory_id)
        {
            return refuse(format!(
                "it has the same directory.id as {}: one is a copy of the other",
                other.display()
            ));
        }
    }
    let first_start = known.is_empty();
    let cluster_id = known.first().map_or_else(random_id, |(_, meta)| meta.cluster_id.clone());
    let node_id = node_id.or(known.first().map(|(_, meta)| meta.node_id)).unwrap_or(NODE_ID_DEFAULT);
    let mut opened = Vec::new();
    for ((dir, meta), lock) in dirs.iter().zip(found).zip(locks) {
        let directory_id = match meta {
            Some(meta) => meta.directory_id,
            None => create(dir, &cluster_id, node_id).map_err(|error| unusable(dir, error))?,
        };
        opened.push(LogDir { path: dir.clone(), directory_id, _lock: lock });
    }
    Ok(Identity { cluster_id, node_id, dirs: opened, first_start })
}

/// Says of an error of the operating system which directory it makes useless, and what to do.
fn unusable(dir: &Path, error: ControlError) -> ControlError {
    let ControlError::Io { source, .. } = &error else { return error };
    let way_out = match source.kind() {
        io::ErrorKind::NotADirectory => "log.dirs takes directories, and a file is in the way",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the broker's user read and write it, or name another directory in log.dirs"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, or name another directory in log.dirs"
        }
        _ => "name another directory in log.dirs",
    };
    ControlError::Directory { dir: dir.to_owned(), why: format!("{error}; {way_out}") }
}

/// Looks at a directory without touching it. None when it can be made ours.
fn inspect(dir: &Path) -> Result<Option<Meta>> {
    let refuse = |why: String| Err(ControlError::Directory { dir: dir.to_owned(), why });
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ControlError::io("list", dir, e)),
    };
    let mut unknown = None;
    for entry in entries {
        let entry = entry.map_err(|e| ControlError::io("list", dir, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == META_PROPERTIES {
            return read(dir).map(Some);
        }
        if !HARMLESS.contains(&name.as_str()) {
            unknown = Some(name);
        }
    }
    match unknown {
        None => Ok(None),
        Some(name) => refuse(format!(
            "it has no {META_PROPERTIES} but holds '{name}', so it is not Corelog's; name an empty or a new directory in log.dirs"
        )),
    }
}

fn read(dir: &Path) -> Result<Meta> {
    let path = dir.join(META_PROPERTIES);
    let text = fs::read_to_string(&path).map_err(|e| ControlError::io("read", &path, e))?;
    let properties: BTreeMap<&str, &str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    match properties.get("corelog.format") {
        Some(&FORMAT) => {}
        Some(found) => {
            return Err(ControlError::UnknownVersion { path, found: (*found).to_owned(), known: 1 });
        }
        None => {
            let why = "it belongs to Apache Kafka (its meta.properties has no corelog.format); name a directory of Corelog's own in log.dirs";
            return Err(ControlError::Directory { dir: dir.to_owned(), why: why.to_owned() });
        }
    }
    let get = |key: &str| {
        let value = properties.get(key).filter(|value| !value.is_empty());
        value
            .map(|v| (*v).to_owned())
            .ok_or_else(|| ControlError::corrupt(&path, 0, format!("{key} is missing")))
    };
    let node_id = get("node.id")?;
    let node_id = node_id.parse().ok().filter(|id| *id >= 0).ok_or_else(|| {
        ControlError::corrupt(&path, 0, format!("node.id={node_id} is not a number from 0 on"))
    })?;
    let meta = Meta { cluster_id: get("cluster.id")?, node_id, directory_id: get("directory.id")? };
    // Earlier versions wrote none.
    match properties.get(HASH) {
        Some(hash) if *hash != meta.hash() => {
            let what = format!(
                "it does not match its checksum; restore it, or remove the line {HASH} when all else in it is right"
            );
            Err(ControlError::corrupt(path, 0, what))
        }
        _ => Ok(meta),
    }
}

impl Meta {
    /// A checksum over all that it says.
    fn hash(&self) -> String {
        let Self { cluster_id, node_id, directory_id } = self;
        format!("{:016x}", xxh3_64(format!("{cluster_id}\n{node_id}\n{directory_id}\n{FORMAT}").as_bytes()))
    }
}

/// Takes the directory's lock for the life of the process.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| ControlError::io("create", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ControlError::Directory {
            dir: dir.to_owned(),
            why: "another broker is running in it (.lock is held); stop that one or name another directory in log.dirs".to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(ControlError::io("lock", path, e)),
    }
}

fn create(dir: &Path, cluster_id: &str, node_id: i32) -> Result<String> {
    let directory_id = random_id();
    let meta = Meta { cluster_id: cluster_id.to_owned(), node_id, directory_id };
    let (directory_id, hash) = (&meta.directory_id, meta.hash());
    let text = format!(
        "version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\ncorelog.format={FORMAT}\n{HASH}={hash}\n"
    );
    durable::replace(&dir.join(META_PROPERTIES), text.as_bytes())?;
    Ok(meta.directory_id)
}

/// A UUID in Kafka's form.
fn random_id() -> String {
    loop {
        if let Some(id) = TopicId::from_random(rand::random(), rand::random()) {
            return id.to_string();
        }
    }
}
