//! What decides which unflushed changes a power cut leaves: chance, or a test that tries them one after the other.
//!
//! Asked by `executor`, `disk` and `content` once for every change that may be kept or lost. Deliberately absent: what a lost or torn
//! change looks like, and which combinations are legal: whoever asks keeps to the rules of file systems.

use super::random::Random;

/// Which of the unflushed changes a power cut leaves. They are counted from 0 in the order in which the disk decides about them: first
/// what was in flight, then names, then each file's bytes and lengths. Whatever is chosen, only what a disk may do is done: a name or a
/// length whose predecessor is lost is lost as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// Each as chance has it: kept, lost or torn.
    Drawn,
    /// None: the disk as its flushes left it.
    None,
    /// All of them.
    All,
    /// All but one, which is lost or torn.
    AllBut(u32),
    /// One alone, whole or torn.
    Only(u32),
    /// Those whose bit is set.
    Subset(u64),
}

/// What becomes of a write that no flush covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    Torn,
}

/// Decides about one change after the other.
pub(super) struct Settling<'a> {
    pub(super) random: &'a mut Random,
    survivors: Survivors,
    /// Decisions so far.
    pub(super) decided: u32,
    /// Of 16 changes of names, so many are kept where chance decides.
    names_of_16: u64,
}

impl<'a> Settling<'a> {
    pub(super) fn new(survivors: Survivors, random: &'a mut Random) -> Self {
        Self { random, survivors, decided: 0, names_of_16: 8 }
    }

    /// By chance alone.
    pub(super) fn drawn(random: &'a mut Random) -> Self {
        Self::new(Survivors::Drawn, random)
    }

    /// What becomes of a write.
    pub(super) fn fate(&mut self) -> Fate {
        match self.survives() {
            None => match self.random.below(3) {
                0 => Fate::Kept,
                1 => Fate::Lost,
                _ => Fate::Torn,
            },
            // The one that is not as the others may also be neither kept nor lost.
            Some(_) if self.is_the_one() && self.random.coin() => Fate::Torn,
            Some(true) => Fate::Kept,
            Some(false) => Fate::Lost,
        }
    }

    /// Whether a change that happens or does not happen did.
    pub(super) fn is_kept(&mut self) -> bool {
        match self.survives() {
            None => self.random.coin(),
            Some(survives) => survives,
        }
    }

    /// Names follow.
    pub(super) fn begin_names(&mut self) {
        if self.survivors == Survivors::Drawn {
            // One seed in four keeps nearly all, one in four nearly nothing: the extremes find the most.
            self.names_of_16 = [1, 8, 8, 15][self.random.below(4) as usize];
        }
    }

    /// Whether a change of names happened whose predecessors did.
    pub(super) fn is_name_kept(&mut self) -> bool {
        match self.survives() {
            None => self.random.below(16) < self.names_of_16,
            Some(survives) => survives,
        }
    }

    /// What the test wants of the next change; None when chance decides.
    fn survives(&mut self) -> Option<bool> {
        let number = self.decided;
        self.decided += 1;
        match self.survivors {
            Survivors::Drawn => None,
            Survivors::None => Some(false),
            Survivors::All => Some(true),
            Survivors::AllBut(lost) => Some(number != lost),
            Survivors::Only(kept) => Some(number == kept),
            Survivors::Subset(bits) => Some(number < u64::BITS && bits >> number & 1 == 1),
        }
    }

    /// Whether the change just decided about is the one that is not as the others.
    fn is_the_one(&self) -> bool {
        matches!(self.survivors, Survivors::AllBut(one) | Survivors::Only(one) if one + 1 == self.decided)
    }
}
