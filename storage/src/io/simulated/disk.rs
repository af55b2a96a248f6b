//! The simulated file system: names, inodes, room; and what a power cut leaves of the names.
//!
//! Called by `executor` when an operation completes. A change of a name is *pending* until its directory is synced; a
//! power cut keeps a prefix of each directory's changes. Deliberately absent: time, faults, who waits for what.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Error;
use std::path::{Component, Path};

use super::content::Content;
use super::survivors::Settling;
use crate::io::{DirEntry, OpenMode};

/// A file or directory, whatever it is called.
pub(super) type InodeId = u64;

/// The root directory, always there.
const ROOT: InodeId = 0;

/// Room on a disk whose capacity no test has set, in bytes.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

type Names = BTreeMap<String, InodeId>;

#[derive(Debug, Clone)]
enum Node {
    File { content: Content, handles: u64, linked: bool },
    Dir { current: Names, durable: Names },
}

/// A change of names that is visible and not durable.
#[derive(Debug, Clone)]
enum NameChange {
    Link { dir: InodeId, name: String, inode: InodeId },
    Unlink { dir: InodeId, name: String },
    Rename { from: (InodeId, String), to: (InodeId, String) },
}

impl NameChange {
    fn dirs(&self) -> [InodeId; 2] {
        match self {
            Self::Link { dir, .. } | Self::Unlink { dir, .. } => [*dir, *dir],
            Self::Rename { from, to } => [from.0, to.0],
        }
    }
}

/// Everything that is on the disk, volatile and durable.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: BTreeMap<InodeId, Node>,
    inode_next: InodeId,
    /// Grows with every change, so that a flush knows what came before it.
    sequence: u64,
    changes: Vec<(u64, NameChange)>,
    pub(super) capacity_bytes: Option<u64>,
}

fn os_error(errno: i32) -> Error {
    Error::from_raw_os_error(errno)
}

/// The names along a path from the root. `.` and a leading `/` mean nothing here; `..` is refused.
fn names_of(path: &Path) -> Vec<String> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            Component::ParentDir => panic!("{} goes up: the simulated disk has no '..'", path.display()),
            _ => None,
        })
        .collect()
}

impl Disk {
    pub(super) fn new() -> Self {
        let root = Node::Dir { current: Names::new(), durable: Names::new() };
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self { nodes, inode_next: ROOT + 1, sequence: 0, changes: Vec::new(), capacity_bytes: None }
    }

    /// What a flush issued now covers: changes with a smaller sequence number.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    fn advance(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn add(&mut self, node: Node) -> InodeId {
        self.inode_next += 1;
        self.nodes.insert(self.inode_next - 1, node);
        self.inode_next - 1
    }

    fn names(&self, dir: InodeId) -> Result<&Names, Error> {
        match self.nodes.get(&dir) {
            Some(Node::Dir { current, .. }) => Ok(current),
            Some(Node::File { .. }) => Err(os_error(libc::ENOTDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    fn find(&self, path: &Path) -> Result<InodeId, Error> {
        let mut at = ROOT;
        for name in names_of(path) {
            at = *self.names(at)?.get(&name).ok_or_else(|| os_error(libc::ENOENT))?;
        }
        Ok(at)
    }

    /// The directory and the name in it that `path` means; the directory must exist, the name need not.
    fn find_place(&self, path: &Path) -> Result<(InodeId, String), Error> {
        let mut names = names_of(path);
        let name = names.pop().ok_or_else(|| os_error(libc::EBUSY))?;
        let dir = self.find(Path::new(&names.join("/")))?;
        self.names(dir)?;
        Ok((dir, name))
    }

    fn is_dir(&self, inode: InodeId) -> bool {
        matches!(self.nodes.get(&inode), Some(Node::Dir { .. }))
    }

    /// Applies a change to what programs see and remembers it for the next sync.
    fn change(&mut self, change: NameChange) {
        let sequence = self.advance();
        self.apply(&change, |node| match node {
            Node::Dir { current, .. } => Some(current),
            Node::File { .. } => None,
        });
        self.changes.push((sequence, change));
    }

    fn apply_durably(&mut self, change: &NameChange) {
        self.apply(change, |node| match node {
            Node::Dir { durable, .. } => Some(durable),
            Node::File { .. } => None,
        });
    }

    fn apply(&mut self, change: &NameChange, side: impl Fn(&mut Node) -> Option<&mut Names>) {
        let mut names = |dir: &InodeId, edit: &mut dyn FnMut(&mut Names)| {
            if let Some(names) = self.nodes.get_mut(dir).and_then(&side) {
                edit(names);
            }
        };
        match change {
            NameChange::Link { dir, name, inode } => names(dir, &mut |names| {
                names.insert(name.clone(), *inode);
            }),
            NameChange::Unlink { dir, name } => names(dir, &mut |names| {
                names.remove(name);
            }),
            NameChange::Rename { from, to } => {
                let mut moved = None;
                names(&from.0, &mut |names| moved = names.remove(&from.1));
                if let Some(moved) = moved {
                    names(&to.0, &mut |names| {
                        names.insert(to.1.clone(), moved);
                    });
                }
            }
        }
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> Result<InodeId, Error> {
        let (dir, name) = self.find_place(path)?;
        let inode = match (self.names(dir)?.get(&name), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(os_error(libc::EEXIST)),
            (Some(&inode), _) if self.is_dir(inode) => return Err(os_error(libc::EISDIR)),
            (Some(&inode), _) => inode,
            (None, OpenMode::Existing) => return Err(os_error(libc::ENOENT)),
            (None, _) => {
                let inode = self.add(Node::File { content: Content::default(), handles: 0, linked: true });
                self.change(NameChange::Link { dir, name, inode });
                inode
            }
        };
        Ok(inode)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<(), Error> {
        let mut at = ROOT;
        for name in names_of(path) {
            at = match self.names(at)?.get(&name) {
                Some(&inode) if self.is_dir(inode) => inode,
                Some(_) => return Err(os_error(libc::EEXIST)),
                None => {
                    let inode = self.add(Node::Dir { current: Names::new(), durable: Names::new() });
                    self.change(NameChange::Link { dir: at, name, inode });
                    inode
                }
            };
        }
        Ok(())
    }

    pub(super) fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, Error> {
        let names = self.names(self.find(path)?)?;
        Ok(names
            .iter()
            .map(|(name, &inode)| DirEntry { name: name.clone(), is_dir: self.is_dir(inode) })
            .collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let (from, to) = (self.find_place(from)?, self.find_place(to)?);
        let moved = *self.names(from.0)?.get(&from.1).ok_or_else(|| os_error(libc::ENOENT))?;
        if let Some(&replaced) = self.names(to.0)?.get(&to.1) {
            if replaced == moved {
                return Ok(());
            }
            match (self.is_dir(moved), self.is_dir(replaced)) {
                (false, false) => self.unlinked(replaced),
                (true, true) if self.names(replaced)?.is_empty() => {}
                (true, true) => return Err(os_error(libc::ENOTEMPTY)),
                (true, false) => return Err(os_error(libc::ENOTDIR)),
                (false, true) => return Err(os_error(libc::EISDIR)),
            }
        }
        self.change(NameChange::Rename { from, to });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<(), Error> {
        let (dir, name) = self.find_place(path)?;
        let inode = *self.names(dir)?.get(&name).ok_or_else(|| os_error(libc::ENOENT))?;
        if self.is_dir(inode) {
            return Err(os_error(libc::EISDIR));
        }
        self.unlinked(inode);
        self.change(NameChange::Unlink { dir, name });
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> Result<(), Error> {
        let (dir, name) = self.find_place(path)?;
        let inode = *self.names(dir)?.get(&name).ok_or_else(|| os_error(libc::ENOENT))?;
        let below: Vec<String> = self.names(inode)?.keys().cloned().collect();
        for child in below {
            let child = path.join(child);
            if self.is_dir(self.find(&child)?) {
                self.remove_dir_all(&child)?;
            } else {
                self.remove_file(&child)?;
            }
        }
        self.change(NameChange::Unlink { dir, name });
        Ok(())
    }

    fn unlinked(&mut self, inode: InodeId) {
        if let Some(Node::File { linked, .. }) = self.nodes.get_mut(&inode) {
            *linked = false;
        }
    }

    /// A sync of one directory has completed that was issued at sequence number `before`.
    ///
    /// What it needs in other directories (a rename's other half, and what happened there earlier) comes along.
    pub(super) fn sync_dir(&mut self, dir: InodeId, before: u64) {
        let mut needed = BTreeSet::from([dir]);
        let mut durable = vec![false; self.changes.len()];
        for (at, (sequence, change)) in self.changes.iter().enumerate().rev() {
            if *sequence < before && change.dirs().iter().any(|dir| needed.contains(dir)) {
                needed.extend(change.dirs());
                durable[at] = true;
            }
        }
        let changes = std::mem::take(&mut self.changes);
        for (change, durable) in changes.into_iter().zip(durable) {
            if durable {
                self.apply_durably(&change.1);
            } else {
                self.changes.push(change);
            }
        }
        self.collect();
    }

    /// Names and bytes of everything, as of sequence number `before`.
    pub(super) fn sync_all(&mut self, before: u64) {
        let covered = self.changes.partition_point(|(sequence, _)| *sequence < before);
        let changes: Vec<_> = self.changes.drain(..covered).collect();
        for (_, change) in changes {
            self.apply_durably(&change);
        }
        for content in self.contents() {
            content.flush(before);
        }
        self.collect();
    }

    /// A sync failed: each of the changes it covered is on the medium or not, and will never be written again.
    pub(super) fn sync_failed(&mut self, dir: Option<InodeId>, before: u64, settling: &mut Settling<'_>) {
        let changes = std::mem::take(&mut self.changes);
        let covers = |sequence: u64, change: &NameChange| {
            sequence < before && dir.is_none_or(|dir| change.dirs().contains(&dir))
        };
        let (covered, rest) = changes.into_iter().partition(|(sequence, change)| covers(*sequence, change));
        self.changes = rest;
        self.settle(covered, settling);
        if dir.is_none() {
            for content in self.contents() {
                content.flush_failed(before, settling);
            }
        }
    }

    /// The power went. Nothing is open any more.
    pub(super) fn crash(&mut self, settling: &mut Settling<'_>) {
        let changes = std::mem::take(&mut self.changes);
        self.settle(changes, settling);
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir { current, durable } => current.clone_from(durable),
                Node::File { content, handles, .. } => {
                    content.crash(settling);
                    *handles = 0;
                }
            }
        }
        self.collect();
        // A file that is still reachable has its name back.
        for node in self.nodes.values_mut() {
            if let Node::File { linked, .. } = node {
                *linked = true;
            }
        }
    }

    /// The process died: its descriptors are closed, nothing else changes.
    pub(super) fn close_all(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File { handles, .. } = node {
                *handles = 0;
            }
        }
    }

    /// Keeps a prefix of each directory's changes; a rename between two directories needs the prefix of both.
    fn settle(&mut self, changes: Vec<(u64, NameChange)>, settling: &mut Settling<'_>) {
        let mut stopped = BTreeSet::new();
        settling.begin_names();
        for (_, change) in changes {
            let alive = change.dirs().iter().all(|dir| !stopped.contains(dir));
            if alive && settling.is_name_kept() {
                self.apply_durably(&change);
            } else {
                stopped.extend(change.dirs());
            }
        }
    }

    /// Frees what neither programs nor a power cut can find any more.
    fn collect(&mut self) {
        let mut reached = BTreeSet::new();
        let mut next = vec![ROOT];
        for (_, change) in &self.changes {
            if let NameChange::Link { inode, .. } = change {
                next.push(*inode);
            }
        }
        while let Some(inode) = next.pop() {
            if reached.insert(inode)
                && let Some(Node::Dir { current, durable }) = self.nodes.get(&inode)
            {
                next.extend(current.values().chain(durable.values()));
            }
        }
        // What was renamed away is reachable through `durable`, what was opened through its handle.
        self.nodes.retain(|inode, node| {
            reached.contains(inode) || matches!(node, Node::File { handles, .. } if *handles > 0)
        });
    }

    fn contents(&mut self) -> impl Iterator<Item = &mut Content> {
        self.nodes.values_mut().filter_map(|node| match node {
            Node::File { content, .. } => Some(content),
            Node::Dir { .. } => None,
        })
    }

    /// The bytes of a file that is open or named.
    pub(super) fn content(&mut self, inode: InodeId) -> Result<&mut Content, Error> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File { content, .. }) => Ok(content),
            Some(Node::Dir { .. }) => Err(os_error(libc::EISDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    /// The file a path names now.
    pub(super) fn content_at(&mut self, path: &Path) -> Result<&mut Content, Error> {
        let inode = self.find(path)?;
        self.content(inode)
    }

    /// The directory a path names now.
    pub(super) fn dir_at(&self, path: &Path) -> Result<InodeId, Error> {
        let inode = self.find(path)?;
        self.names(inode)?;
        Ok(inode)
    }

    pub(super) fn handle_opened(&mut self, inode: InodeId) {
        if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&inode) {
            *handles += 1;
        }
    }

    pub(super) fn handle_closed(&mut self, inode: InodeId) {
        if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&inode) {
            *handles -= 1;
        }
    }

    /// How many handles are open.
    pub(super) fn handles(&self) -> u64 {
        self.nodes.values().map(|node| if let Node::File { handles, .. } = node { *handles } else { 0 }).sum()
    }

    /// Bytes left for new blocks.
    pub(super) fn available_bytes(&self) -> u64 {
        let used: u64 = self
            .nodes
            .values()
            .map(|node| match node {
                Node::File { content, handles, linked } if *linked || *handles > 0 => {
                    content.current.reserved
                }
                _ => 0,
            })
            .sum();
        self.capacity_bytes.unwrap_or(CAPACITY_BYTES_DEFAULT).saturating_sub(used)
    }

    /// Fails with ENOSPC when the file's blocks up to `end` do not fit.
    pub(super) fn make_room(&mut self, inode: InodeId, end: u64) -> Result<(), Error> {
        if self.capacity_bytes.is_none() {
            return Ok(());
        }
        let reserved = self.content(inode)?.current.reserved;
        if end.saturating_sub(reserved) > self.available_bytes() {
            return Err(os_error(libc::ENOSPC));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, inode: InodeId, position: u64, bytes: &[u8]) -> Result<(), Error> {
        self.make_room(inode, position + bytes.len() as u64)?;
        let sequence = self.advance();
        self.content(inode)?.write(sequence, position, super::content::blocks_of(bytes));
        Ok(())
    }

    pub(super) fn write_partly(
        &mut self,
        inode: InodeId,
        position: u64,
        bytes: &[u8],
        settling: &mut Settling<'_>,
    ) {
        if self.make_room(inode, position + bytes.len() as u64).is_err() {
            return;
        }
        let sequence = self.advance();
        if let Ok(content) = self.content(inode) {
            content.write_partly(sequence, position, &super::content::blocks_of(bytes), settling);
        }
    }

    pub(super) fn set_len(&mut self, inode: InodeId, len: u64) -> Result<(), Error> {
        let sequence = self.advance();
        self.content(inode)?.set_len(sequence, len);
        Ok(())
    }

    pub(super) fn reserve(&mut self, inode: InodeId, len: u64) -> Result<(), Error> {
        self.make_room(inode, crate::io::align_up(len))?;
        let sequence = self.advance();
        self.content(inode)?.reserve(sequence, len);
        Ok(())
    }

    /// Every file's path, sorted.
    pub(super) fn paths(&self) -> Vec<std::path::PathBuf> {
        let mut paths = Vec::new();
        let mut next = vec![(ROOT, std::path::PathBuf::from("/"))];
        while let Some((inode, path)) = next.pop() {
            match self.nodes.get(&inode) {
                Some(Node::Dir { current, .. }) => {
                    next.extend(current.iter().map(|(name, &inode)| (inode, path.join(name))));
                }
                Some(Node::File { .. }) => paths.push(path),
                None => {}
            }
        }
        paths.sort();
        paths
    }
}
