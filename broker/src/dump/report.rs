//! What a dump prints, and how it counts what is wrong.
//!
//! Used by `segment` and `journal`. Deliberately absent: deciding what is wrong.

use std::fmt::{Arguments, Display};
use std::io::Write;
use std::path::Path;

use corelog_storage::batch::{BatchHeader, TimestampType, for_each_record};

use crate::cli::DumpOptions;

/// Why a file was not dumped to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The file cannot be read: the next one may be.
    Read(std::io::Error),
    /// The output cannot be written.
    Write(std::io::Error),
}

pub(super) type Dumped<T> = Result<T, Failure>;

/// Bytes of a key or a value that are shown.
const SHOWN_BYTES_MAX: usize = 200;

/// Where a dump goes to.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    records: bool,
    verify: bool,
    wrong: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write, options: &DumpOptions) -> Self {
        Self { out, records: options.records, verify: options.verify, wrong: 0 }
    }

    pub(super) fn wrong_count(&self) -> u64 {
        self.wrong
    }

    /// Whether everything is to be checked.
    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    /// A line that is always printed.
    pub(super) fn line(&mut self, line: Arguments<'_>) -> Dumped<()> {
        writeln!(self.out, "{line}").map_err(Failure::Write)
    }

    /// A line that is printed unless only what is wrong is wanted.
    pub(super) fn detail(&mut self, line: Arguments<'_>) -> Dumped<()> {
        if self.verify { Ok(()) } else { self.line(line) }
    }

    /// Something that is not what was written.
    pub(super) fn wrong(&mut self, path: &Path, position: u64, what: impl Display) -> Dumped<()> {
        self.wrong += 1;
        self.line(format_args!("WRONG: {} at byte {position}: {what}", path.display()))
    }

    pub(super) fn unreadable(&mut self, path: &Path, error: &std::io::Error) -> std::io::Result<()> {
        self.wrong += 1;
        writeln!(self.out, "WRONG: {} cannot be read: {error}", path.display())
    }

    /// A batch in one line, and its records where they are wanted; what is wrong with the records is returned.
    pub(super) fn batch(
        &mut self,
        position: u64,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Dumped<Option<String>> {
        self.detail(format_args!("  {}", described(position, header)))?;
        if !self.records && !self.verify {
            return Ok(None);
        }
        let mut lines = Vec::new();
        let mut odd = None;
        let mut after = header.base_offset;
        let walked = for_each_record(bytes, |record| {
            if !(after..=header.last_offset()).contains(&record.offset) {
                odd = odd.take().or(Some(format!("a record has offset {}", record.offset)));
            }
            if record.timestamp_ms > header.max_timestamp {
                odd = odd.take().or(Some(format!("offset {} is younger than its batch says", record.offset)));
            }
            after = record.offset + 1;
            if self.records && !self.verify {
                let (key, value) = (shown(record.key), shown(record.value));
                let time = time(record.timestamp_ms);
                lines.push(format!("    offset={} time={time} key={key} value={value}", record.offset));
            }
        });
        for line in lines {
            self.line(format_args!("{line}"))?;
        }
        Ok(walked.err().map(|error| error.to_string()).or(odd))
    }
}

fn described(position: u64, header: &BatchHeader) -> String {
    let mut text = format!(
        "offsets={}..={} position={position} bytes={} records={} codec={} time={} leader_epoch={}",
        header.base_offset,
        header.last_offset(),
        header.total_len(),
        header.records_count,
        header.compression(),
        time(header.max_timestamp),
        header.partition_leader_epoch,
    );
    if header.has_producer() {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        text += &format!(
            " producer={id} epoch={epoch} sequence={}..={}",
            header.base_sequence,
            header.last_sequence()
        );
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        text += " log_append_time";
    }
    if header.is_transactional() {
        text += " transactional";
    }
    if header.is_control() {
        text += " control";
    }
    if header.has_delete_horizon() {
        text += &format!(" delete_horizon={}", time(header.base_timestamp));
    }
    text
}

/// A key or a value: text as it is, other bytes escaped.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => match bytes.get(..SHOWN_BYTES_MAX) {
            Some(start) if start.len() < bytes.len() => {
                format!("\"{}\"… ({} bytes)", start.escape_ascii(), bytes.len())
            }
            _ => format!("\"{}\"", bytes.escape_ascii()),
        },
    }
}

/// Milliseconds since 1970 as a date in UTC.
pub(super) fn time(timestamp_ms: i64) -> String {
    if timestamp_ms < 0 {
        return "none".to_owned();
    }
    let (days, ms) = (timestamp_ms / 86_400_000, timestamp_ms % 86_400_000);
    // Eras of 400 years that begin in March, so that a leap day is the last one of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}
