//! Whose directory this is: `meta.properties` and the lock in each log directory.
//!
//! Boot calls it before anything else touches a disk. The first start gives the cluster, the node and each directory an identity; later starts
//! check them. A directory that is somebody else's is refused before anything is written to it; one that cannot be read, or that is missing, is
//! lost, and the others are opened. Deliberately absent: what is in the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use corelog_logic::controller::TopicId;
use xxhash_rust::xxh3::xxh3_64;

use super::error::{ControlError, Result};
use super::known_dirs::{self, KnownDir};
use super::{METADATA_DIR, durable};

/// Where storage keeps its checkpoints: there have been logs where it is.
const CHECKPOINT_DIR: &str = "checkpoint";
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
    /// The log directories that can be used, in the order of the configuration. The first of `log.dirs` is one of them.
    pub dirs: Vec<LogDir>,
    /// Those that cannot, and those that this broker had before and that are not there: their partitions are offline.
    pub lost: Vec<LostDir>,
    /// Whether there was no log directory of this broker before.
    pub first_start: bool,
}

impl Identity {
    /// Paths of the directories that can be used.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|dir| dir.path.clone()).collect()
    }

    /// Notes which directories there are, so that the next start knows what is missing; the lost ones too, as long as something may be in them.
    ///
    /// # Errors
    /// What writing to the first directory gives.
    pub fn remember(&self, with_lost: bool) -> Result<()> {
        let Some(first) = self.dirs.first() else { return Ok(()) };
        let used = self.dirs.iter().map(|dir| (&dir.path, Some(&dir.directory_id)));
        let lost = self.lost.iter().filter(|_| with_lost).map(|dir| (&dir.path, dir.directory_id.as_ref()));
        let known = used.chain(lost).filter_map(|(path, directory_id)| {
            Some(KnownDir { directory_id: directory_id?.clone(), path: known_dirs::path_of(path) })
        });
        known_dirs::remember(&first.path, known.collect())
    }
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

/// A log directory that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostDir {
    /// Where it is, or was.
    pub path: PathBuf,
    /// Its identity, if it is known.
    pub directory_id: Option<String>,
    /// Why it is not used, and what to do.
    pub why: String,
}

/// What a `meta.properties` of ours says.
struct Meta {
    cluster_id: String,
    node_id: i32,
    directory_id: String,
}

/// Opens, creates and locks the log directories. `node_id` is what is configured (`node.id`), if anything is. A directory that the system gives
/// an error for is lost and no error, unless it is the first, which holds the metadata, or the broker has never been started.
///
/// # Errors
/// One sentence: a directory that is locked, belongs to Kafka, to another broker or cluster, holds unknown files, or cannot be written; an order
/// in which the first does not hold the metadata.
pub fn open_log_dirs(dirs: &[PathBuf], node_id: Option<i32>) -> Result<Identity> {
    let mut found = Vec::new();
    for dir in dirs {
        found.push(Unusable::or_lost(inspect(dir))?);
    }
    let known: Vec<(&PathBuf, &Meta)> = dirs
        .iter()
        .zip(&found)
        .filter_map(|(dir, meta)| Some((dir, meta.as_ref().ok()?.as_ref()?)))
        .collect();
    check_known(&known, node_id)?;
    let first_start = known.is_empty();
    let cluster_id = known.first().map_or_else(random_id, |(_, meta)| meta.cluster_id.clone());
    let node_id = node_id.or(known.first().map(|(_, meta)| meta.node_id)).unwrap_or(NODE_ID_DEFAULT);
    let mut missing = Vec::new();
    if let (Some(first), Some(Ok(_))) = (dirs.first(), found.first()) {
        check_metadata(first, &known)?;
        missing = known_dirs::read(first)?;
        missing.retain(|one| known.iter().all(|(_, meta)| meta.directory_id != one.directory_id));
    }

    let mut locked = Vec::new();
    let mut lost = Vec::new();
    let mut real_paths = BTreeSet::new();
    for (index, (dir, meta)) in dirs.iter().zip(found).enumerate() {
        let earlier = missing.iter().position(|one| one.path == known_dirs::path_of(dir));
        let earlier = earlier.map(|at| missing.remove(at));
        let taken = match (meta, &earlier) {
            (Err(why), _) => Err(why),
            // Made ours it would be given what belongs to the disk that is not there.
            (Ok(None), Some(earlier)) => Err(Unusable(format!(
                "it is empty, and held partitions of this broker before (directory.id {}); mount its disk, or name another directory in \
                 log.dirs if there is a new one",
                earlier.directory_id
            ))),
            (Ok(meta), _) => match Unusable::or_lost(take(dir, &mut real_paths))? {
                Ok(lock) => Ok((meta, lock)),
                Err(why) => Err(why),
            },
        };
        match taken {
            Ok((meta, lock)) => locked.push((dir, meta, lock)),
            Err(Unusable(why)) if index == 0 || first_start => {
                return Err(ControlError::Directory { dir: dir.clone(), why });
            }
            Err(Unusable(why)) => {
                let directory_id = earlier.map(|one| one.directory_id);
                lost.push(LostDir { path: dir.clone(), directory_id, why });
            }
        }
    }
    let mut opened = Vec::new();
    for (dir, meta, lock) in locked {
        let directory_id = match meta {
            Some(meta) => meta.directory_id,
            None => create(dir, &cluster_id, node_id).map_err(|error| unusable(dir, error))?,
        };
        opened.push(LogDir { path: dir.clone(), directory_id, _lock: lock });
    }
    lost.extend(missing.into_iter().map(|one| LostDir {
        why: format!(
            "log.dirs does not name it any more (directory.id {}); name it again, or delete the topics of its partitions",
            one.directory_id
        ),
        path: one.path,
        directory_id: Some(one.directory_id),
    }));
    Ok(Identity { cluster_id, node_id, dirs: opened, lost, first_start })
}

/// Why a directory cannot be used, which need not concern the others.
struct Unusable(String);

impl Unusable {
    /// Sets errors of the operating system apart, as of a broken disk. What a directory holds is another matter.
    fn or_lost<T>(result: Result<T>) -> Result<std::result::Result<T, Self>> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(error @ ControlError::Io { .. }) => Ok(Err(Self(why(&error)))),
            Err(error) => Err(error),
        }
    }
}

/// Makes a directory, if need be, and locks it.
fn take(dir: &Path, real_paths: &mut BTreeSet<PathBuf>) -> Result<File> {
    durable::create_dir_all(dir)?;
    let real = fs::canonicalize(dir).map_err(|e| ControlError::io("resolve", dir, e))?;
    if !real_paths.insert(real) {
        return Err(ControlError::Directory {
            dir: dir.to_owned(),
            why: "it is named twice in log.dirs".to_owned(),
        });
    }
    lock(dir)
}

/// All directories that are ours are this broker's, and each is another one.
fn check_known(known: &[(&PathBuf, &Meta)], node_id: Option<i32>) -> Result<()> {
    let Some((first_dir, first)) = known.first() else { return Ok(()) };
    for (dir, meta) in known {
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
    Ok(())
}

/// The first directory holds the metadata, unless there is none yet. With an empty one in its place every partition would be one of a topic that
/// does not exist, and be removed.
fn check_metadata(first: &Path, known: &[(&PathBuf, &Meta)]) -> Result<()> {
    if first.join(METADATA_DIR).is_dir() {
        return Ok(());
    }
    let holding = |name: &str| known.iter().map(|(dir, _)| *dir).find(|dir| dir.join(name).is_dir());
    let why = if let Some(other) = holding(METADATA_DIR) {
        let other = other.display();
        format!("log.dirs names it first, but the metadata is in {other}; name {other} first")
    } else if let Some(other) = holding(CHECKPOINT_DIR) {
        format!(
            "log.dirs names it first, and it does not hold the metadata (there is no {METADATA_DIR} in it), without which the partitions in \
             {} mean nothing; mount its disk, or name the directory that holds the metadata first",
            other.display()
        )
    } else {
        return Ok(());
    };
    Err(ControlError::Directory { dir: first.to_owned(), why })
}

/// Says of an error of the operating system which directory it makes useless, and what to do.
fn unusable(dir: &Path, error: ControlError) -> ControlError {
    match error {
        ControlError::Io { .. } => ControlError::Directory { dir: dir.to_owned(), why: why(&error) },
        error => error,
    }
}

/// An error of the operating system, and what to do.
fn why(error: &ControlError) -> String {
    let kind = match error {
        ControlError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    let way_out = match kind {
        io::ErrorKind::NotADirectory => "log.dirs takes directories, and a file is in the way",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the broker's user read and write it, or name another directory in log.dirs"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, or name another directory in log.dirs"
        }
        _ => "name another directory in log.dirs",
    };
    format!("{error}; {way_out}")
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
