//! What a complete pass found in one partition: a digest for each offset, dense, 8 bytes each.
//! Filled and asked by `check`.

/// Stands for "nothing was read here". A record whose digest is this by chance counts as missing, once in 2^64.
const NOTHING: u64 = 0;

/// The offsets of one partition as its first complete pass saw them.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The pass that settled it; later complete passes are only compared.
    pub(crate) pass: u32,
    from: i64,
    digests: Vec<u64>,
}

impl Settled {
    /// Nothing read yet in `from..to`.
    pub(crate) fn new(pass: u32, from: i64, to: i64) -> Self {
        let len = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        Self { pass, from, digests: vec![NOTHING; len] }
    }

    /// The first offset there is.
    pub(crate) fn from(&self) -> i64 {
        self.from
    }

    /// How many offsets `offset` is behind the first one.
    pub(crate) fn index(&self, offset: i64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.from)?).ok()
    }

    /// Notes a record that was read. Offsets outside the scope are no business of this pass; a second record at one
    /// offset is reported as read twice elsewhere.
    pub(crate) fn put(&mut self, offset: i64, digest: u64) {
        if let Some(slot) = self.index(offset).and_then(|index| self.digests.get_mut(index)) {
            *slot = digest;
        }
    }

    /// What is at an offset, if anything.
    pub(crate) fn get(&self, offset: i64) -> Option<u64> {
        self.digests.get(self.index(offset)?).copied().filter(|digest| *digest != NOTHING)
    }

    /// Every offset in order with what is there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, Option<u64>)> {
        let from = self.from;
        self.digests
            .iter()
            .zip(from..)
            .map(|(digest, offset)| (offset, Some(*digest).filter(|d| *d != NOTHING)))
    }
}
