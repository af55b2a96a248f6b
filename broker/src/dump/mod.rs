//! `corelog dump-log`: what segments and journals hold, for people, and whether it is what was written.
//!
//! Called by `main`. Reads files and changes nothing; what a running broker is about to write is not there yet. Deliberately absent:
//! checkpoints, and repairing anything: a start does that from the journals.

mod journal;
mod report;
mod segment;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use corelog_storage::segment::{SegmentFile, SegmentName, parse_file_name};

use crate::cli::DumpOptions;
use report::Report;

/// Directories below directories that are entered: a partition's in a log directory, and one for what holds several of them.
const DEPTH_MAX: usize = 3;

/// Dumps everything that was named. Fails when something could not be read or is not what was written.
pub fn dump_log(options: &DumpOptions) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let dumped = dump(options, &mut out).and_then(|wrong| out.flush().map(|()| wrong));
    let failed = match dumped {
        Ok(0) => return ExitCode::SUCCESS,
        // Whoever pages through it may leave early.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Ok(1) => "1 thing is wrong".to_owned(),
        Ok(wrong) => format!("{wrong} things are wrong"),
        Err(error) => format!("the output cannot be written: {error}"),
    };
    let _closed_stderr = writeln!(std::io::stderr(), "corelog: {failed}");
    ExitCode::FAILURE
}

/// Returns how many things are wrong.
fn dump(options: &DumpOptions, out: &mut dyn Write) -> Result<u64> {
    let mut report = Report::new(out, options);
    for path in &options.paths {
        let mut files = Vec::new();
        if let Err(error) = find(path, DEPTH_MAX, &mut files) {
            report.unreadable(path, &error)?;
        } else if files.is_empty() {
            let nothing = std::io::Error::new(ErrorKind::NotFound, "it holds no segment and no journal");
            report.unreadable(path, &nothing)?;
        }
        for file in files {
            dump_file(&file, &mut report)?;
        }
    }
    Ok(report.wrong_count())
}

/// Segments and journals in `path`, or itself, in the order of their names.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        // What was named by hand is opened in any case, so that an error says what is wrong with it.
        files.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            if depth > 0 {
                find(&entry, depth - 1, files)?;
            }
        } else if segment_name(&entry).is_some() || journal::is_name(&entry) {
            files.push(entry);
        }
    }
    Ok(())
}

fn dump_file(path: &Path, report: &mut Report<'_>) -> Result<()> {
    let dumped = match segment_name(path) {
        Some(name) => segment::dump(path, name, is_newest(path, name), report),
        None if journal::is_name(path) => journal::dump(path, report),
        None => {
            let what = "its name is not that of a segment (.log) or a journal (.journal)";
            Err(report::Failure::Read(std::io::Error::new(ErrorKind::InvalidInput, what)))
        }
    };
    match dumped {
        Ok(()) => Ok(()),
        Err(report::Failure::Read(error)) => report.unreadable(path, &error),
        Err(report::Failure::Write(error)) => Err(error),
    }
}

fn segment_name(path: &Path) -> Option<SegmentName> {
    let name = parse_file_name(path.file_name()?.to_str()?)?;
    (name.file == SegmentFile::Log).then_some(name)
}

/// Whether it may be appended to: no segment beside it begins later.
fn is_newest(path: &Path, name: SegmentName) -> bool {
    let beside = path.parent().map(std::fs::read_dir);
    let Some(Ok(beside)) = beside else { return true };
    let later = beside.flatten().filter_map(|entry| segment_name(&entry.path()));
    name.generation == 0 && !later.into_iter().any(|other| other.base_offset > name.base_offset)
}
