//! What a recording holds is what was recorded, also when it ends in the middle of a record.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Data, Entry, HEADER_BYTES, Kind, Log, entries};
use crate::scratch::Scratch;

fn recorded(scratch: &Scratch, records: &[(Kind, u64, Data<'_>)]) -> (File, Vec<Entry>) {
    let path = scratch.path("log");
    let mut log = Log::create(&path, 1 << 20).unwrap();
    for (kind, subject, data) in records {
        log.append(*kind, *subject, *data).unwrap();
    }
    let file = File::options().read(true).write(true).open(path).unwrap();
    let entries = entries(&file).unwrap();
    (file, entries)
}

#[test]
fn records_come_back_in_order_with_their_data() {
    let scratch = Scratch::new();
    let (file, entries) = recorded(
        &scratch,
        &[
            (Kind::WriteBegun, 8192, Data::Bytes(b"abc")),
            (Kind::WriteDone, 0, Data::Bytes(b"")),
            (Kind::FlushBegun, 0, Data::Bytes(b"")),
            (Kind::FlushDone, 2, Data::Bytes(b"")),
            (Kind::History, 0, Data::Bytes(b"said")),
        ],
    );
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.sequence, entry.subject)).collect();
    assert_eq!(
        kinds,
        [
            (Kind::WriteBegun, 0, 8192),
            (Kind::WriteDone, 1, 0),
            (Kind::FlushBegun, 2, 0),
            (Kind::FlushDone, 3, 2),
            (Kind::History, 4, 0),
        ]
    );
    for (index, data) in [(0, &b"abc"[..]), (4, b"said")] {
        let mut found = vec![0; usize::try_from(entries[index].length).unwrap()];
        file.read_exact_at(&mut found, entries[index].data_at.unwrap()).unwrap();
        assert_eq!(found, data);
    }
}

#[test]
fn zeros_take_no_space_in_the_recording() {
    let scratch = Scratch::new();
    let zeros = vec![0; 4096];
    let (file, entries) = recorded(
        &scratch,
        &[(Kind::WriteBegun, 0, Data::Bytes(&zeros)), (Kind::WriteBegun, 4096, Data::Zeros(1 << 40))],
    );
    assert_eq!(file.metadata().unwrap().len(), 2 * HEADER_BYTES as u64);
    let found: Vec<_> = entries.iter().map(|entry| (entry.length, entry.data_at)).collect();
    assert_eq!(found, [(4096, None), (1 << 40, None)]);
}

#[test]
fn a_record_that_was_cut_off_is_left_out() {
    let scratch = Scratch::new();
    let records =
        [(Kind::WriteBegun, 0, Data::Bytes(b"first")), (Kind::WriteBegun, 512, Data::Bytes(b"second"))];
    let (file, whole) = recorded(&scratch, &records);
    let end = file.metadata().unwrap().len();
    let first_end = (HEADER_BYTES + 5) as u64;
    for length in (first_end..end).rev() {
        file.set_len(length).unwrap();
        assert_eq!(entries(&file).unwrap(), whole[..1], "{length} of {end} bytes");
    }
}

#[test]
fn a_recording_stops_at_its_limit_and_says_so() {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.path("log"), 100).unwrap();
    log.append(Kind::WriteBegun, 0, Data::Bytes(&[7; 60])).unwrap();
    let refused = log.append(Kind::WriteDone, 0, Data::Bytes(b"")).unwrap_err().to_string();
    assert!(refused.contains("140 bytes and its limit is 100"), "{refused}");
}

#[test]
fn a_store_takes_one_recording_only() {
    let scratch = Scratch::new();
    Log::create(&scratch.path("log"), 100).unwrap();
    assert!(Log::create(&scratch.path("log"), 100).is_err());
}

#[test]
fn an_unknown_kind_is_refused() {
    let scratch = Scratch::new();
    let (file, _) = recorded(&scratch, &[(Kind::FlushBegun, 0, Data::Bytes(b""))]);
    file.write_all_at(&[9], 0).unwrap();
    assert!(entries(&file).unwrap_err().to_string().contains("unknown kind 9"));
}
