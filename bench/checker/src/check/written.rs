//! Everything that writers did, in memory: 16 bytes a record and 16 for the index by digest, so ten million records
//! take 320 MB. Filled from the histories by `check`, then asked for every record that was read.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};

/// A partition of a topic, numbered over all histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u32);

/// Names of places; the same topic and partition is the same place in every history.
#[derive(Debug, Default)]
pub(crate) struct Places {
    names: Vec<(String, u32)>,
    numbers: HashMap<(String, u32), Place>,
}

impl Places {
    /// The number of a partition.
    pub(crate) fn number(&mut self, topic: &str, partition: u32) -> Place {
        if let Some(place) = self.numbers.get(&(topic.to_owned(), partition)) {
            return *place;
        }
        let place = Place(self.names.len() as u32);
        self.names.push((topic.to_owned(), partition));
        self.numbers.insert((topic.to_owned(), partition), place);
        place
    }

    /// The topic of a place.
    pub(crate) fn topic(&self, place: Place) -> &str {
        self.names.get(place.0 as usize).map_or("", |(topic, _)| topic.as_str())
    }

    /// `topic-partition`, as Kafka writes it.
    pub(crate) fn name(&self, place: Place) -> String {
        self.names
            .get(place.0 as usize)
            .map_or_else(String::new, |(topic, partition)| format!("{topic}-{partition}"))
    }
}

/// What became of an invocation, as far as its writer knows.
pub(crate) mod fate {
    /// No answer, or the producer gave up: stored or not, both are right.
    pub(crate) const UNKNOWN: i64 = -2;
    /// Acknowledged without a promise (acks=0).
    pub(crate) const UNPROMISED: i64 = -1;
}

/// One record as its writer knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// The acknowledged offset, or one of [`fate`].
    pub(crate) offset: i64,
    /// Where it was sent.
    pub(crate) place: Place,
    /// What the writer relies on, see `history::promise`.
    pub(crate) promises: u8,
    /// Found by the first complete pass, anywhere.
    pub(crate) seen: bool,
    /// Found by it at the acknowledged offset.
    pub(crate) seen_in_place: bool,
}

/// Names one record: its writer and the writer's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The writer's place in [`Writers`], not the number it has in the histories.
    pub(crate) writer: u32,
    /// From 0, without holes.
    pub(crate) sequence: u32,
}

/// All records of all writers.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    numbers: HashMap<u32, u32>,
    records: Vec<Vec<Written>>,
    /// Sorted by digest once [`Writers::index`] was called.
    by_digest: Vec<(u64, Name)>,
}

impl Writers {
    /// Takes an invocation. A writer numbers its records from 0 without holes.
    pub(crate) fn invoke(
        &mut self,
        writer: u32,
        sequence: u64,
        digest: u64,
        record: Written,
    ) -> anyhow::Result<Name> {
        let next = self.records.len() as u32;
        let index = *self.numbers.entry(writer).or_insert(next);
        if index == next {
            self.records.push(Vec::new());
        }
        let records = &mut self.records[index as usize];
        let due = records.len() as u64;
        ensure!(sequence == due, "writer {writer} invoked number {sequence} where {due} was due");
        records.push(record);
        let sequence = u32::try_from(sequence).context("more than 2^32 records of one writer")?;
        let name = Name { writer: index, sequence };
        self.by_digest.push((digest, name));
        Ok(name)
    }

    /// The record that an acknowledgement or a failure is about.
    pub(crate) fn answered(&mut self, writer: u32, sequence: u64) -> anyhow::Result<(Name, &mut Written)> {
        let name = self.numbers.get(&writer).zip(u32::try_from(sequence).ok());
        let name = name.map(|(writer, sequence)| Name { writer: *writer, sequence });
        let record =
            name.and_then(|name| self.records.get_mut(name.writer as usize)?.get_mut(name.sequence as usize));
        match name.zip(record) {
            Some(record) => Ok(record),
            None => bail!("writer {writer} got an answer to number {sequence}, which it never invoked"),
        }
    }

    /// Makes the records findable by digest. Two records with one digest would make every verdict void.
    pub(crate) fn index(&mut self) -> anyhow::Result<()> {
        self.by_digest.sort_unstable_by_key(|(digest, _)| *digest);
        let twins = self.by_digest.windows(2).find(|pair| matches!(pair, [a, b] if a.0 == b.0));
        if let Some([(digest, a), (_, b)]) = twins {
            bail!(
                "two records have the digest {digest:016x}: {a:?} and {b:?}; a workload must make unique records"
            );
        }
        Ok(())
    }

    /// Finds a record by the digest that was read.
    pub(crate) fn find(&mut self, digest: u64) -> Option<(Name, &mut Written)> {
        let at = self.by_digest.binary_search_by_key(&digest, |(digest, _)| *digest).ok()?;
        let (_, name) = *self.by_digest.get(at)?;
        let record = self.records.get_mut(name.writer as usize)?.get_mut(name.sequence as usize)?;
        Some((name, record))
    }

    /// The record of a name.
    pub(crate) fn get(&self, name: Name) -> Option<&Written> {
        self.records.get(name.writer as usize)?.get(name.sequence as usize)
    }

    /// Every record with its name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Name, &Written)> {
        self.records.iter().enumerate().flat_map(|(writer, records)| {
            records.iter().enumerate().map(move |(sequence, record)| {
                (Name { writer: writer as u32, sequence: sequence as u32 }, record)
            })
        })
    }

    /// How many records were invoked.
    pub(crate) fn len(&self) -> u64 {
        self.by_digest.len() as u64
    }
}
