//! Where a leader epoch ends in a log (OffsetForLeaderEpoch, KIP-101, KIP-320): how a client finds out that what it read was cut.
//!
//! Pure, over what a log knows of its epochs; follows Kafka's `LeaderEpochFileCache.endOffsetFor`. Deliberately absent: asking the log.

/// The end of an epoch, or of the nearest one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch that is not above the one asked for; that one itself when the log begins above it. -1 when not known.
    pub leader_epoch: i32,
    /// The first offset after it. -1 when not known.
    pub end_offset: i64,
}

/// What is not known.
pub const UNKNOWN: EpochEnd = EpochEnd { leader_epoch: -1, end_offset: -1 };

/// A log and its epochs.
#[derive(Debug, Clone, Copy)]
pub struct EpochsOfLog<'a> {
    /// Epoch and first offset written in it, ascending.
    pub entries: &'a [(i32, i64)],
    /// First offset that can be read.
    pub log_start_offset: i64,
    /// Offset after the last record.
    pub log_end_offset: i64,
    /// The epoch of now, in which nothing need have been written yet.
    pub leader_epoch: i32,
}

impl EpochsOfLog<'_> {
    /// Where `requested` ends.
    pub fn end_of(&self, requested: i32) -> EpochEnd {
        // Only -1 says that there is none; what is below it is an epoch before the first.
        if requested == -1 || requested > self.leader_epoch {
            return UNKNOWN;
        }
        let current = (self.leader_epoch, self.log_end_offset);
        let is_new = self.entries.last().is_none_or(|(epoch, _)| *epoch < self.leader_epoch);
        let entries = || self.entries.iter().copied().chain(is_new.then_some(current));
        // The end of the newest epoch moves with the log.
        if requested == self.leader_epoch {
            return EpochEnd { leader_epoch: requested, end_offset: self.log_end_offset };
        }
        let Some((_, next_start)) = entries().find(|(epoch, _)| *epoch > requested) else {
            return UNKNOWN;
        };
        let end_offset = next_start.max(self.log_start_offset);
        // An epoch all of whose records are gone is as if it had never been.
        let is_gone = next_start <= self.log_start_offset;
        let floor = entries().take_while(|(epoch, _)| *epoch <= requested).last();
        let leader_epoch = match floor {
            Some((epoch, _)) if !is_gone => epoch,
            _ => requested,
        };
        EpochEnd { leader_epoch, end_offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(log: EpochsOfLog<'_>, requested: i32) -> (i32, i64) {
        let end = log.end_of(requested);
        (end.leader_epoch, end.end_offset)
    }

    const LOG: EpochsOfLog<'_> = EpochsOfLog {
        entries: &[(2, 0), (3, 10), (7, 25)],
        log_start_offset: 0,
        log_end_offset: 40,
        leader_epoch: 7,
    };

    #[test]
    fn an_epoch_ends_where_the_next_one_begins_and_the_newest_with_the_log() {
        assert_eq!(end(LOG, 2), (2, 10));
        assert_eq!(end(LOG, 3), (3, 25));
        assert_eq!(end(LOG, 7), (7, 40));
    }

    #[test]
    fn an_epoch_that_wrote_nothing_is_answered_with_the_one_before_it() {
        assert_eq!(end(LOG, 5), (3, 25));
        assert_eq!(end(EpochsOfLog { leader_epoch: 9, ..LOG }, 8), (7, 40));
        assert_eq!(end(EpochsOfLog { leader_epoch: 9, ..LOG }, 9), (9, 40));
        assert_eq!(end(EpochsOfLog { leader_epoch: 9, ..LOG }, 7), (7, 40));
    }

    #[test]
    fn an_epoch_below_the_log_gives_its_start() {
        assert_eq!(end(LOG, 0), (0, 0));
        assert_eq!(end(LOG, -2), (-2, 0));
        let cut = EpochsOfLog { log_start_offset: 12, ..LOG };
        assert_eq!(end(cut, 0), (0, 12));
        // All that epoch 2 wrote is gone.
        assert_eq!(end(cut, 2), (2, 12));
        assert_eq!(end(cut, 3), (3, 25));
    }

    #[test]
    fn what_cannot_be_known_is_not_answered() {
        assert_eq!(LOG.end_of(-1), UNKNOWN);
        assert_eq!(LOG.end_of(8), UNKNOWN);
        assert_eq!(LOG.end_of(i32::MAX), UNKNOWN);
    }

    #[test]
    fn an_empty_log_ends_every_epoch_at_its_start() {
        let empty = EpochsOfLog { entries: &[], log_start_offset: 0, log_end_offset: 0, leader_epoch: 3 };
        assert_eq!(end(empty, 3), (3, 0));
        assert_eq!(end(empty, 1), (1, 0));
    }
}
