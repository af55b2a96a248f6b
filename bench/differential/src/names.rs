//! Names that each broker makes up by itself, and the nominal ones that stand for them in scripts and comparisons.
//!
//! Called by `run`. A nominal name has the real one's length, so that frames are rewritten in place: requests before
//! they are sent, replies before they are decoded. Deliberately absent: names inside a checksum.

/// One peer's names, in the order in which they were learnt.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Names {
    /// `nominal` stands for `real` from now on. Names of different lengths, and a name that stands for itself, are not
    /// kept: the difference shall be seen.
    pub fn learn(&mut self, nominal: &[u8], real: &[u8]) {
        if nominal.len() == real.len() && nominal != real {
            self.pairs.retain(|(known, _)| known != nominal);
            self.pairs.push((nominal.to_vec(), real.to_vec()));
        }
    }

    /// Puts the real names into a request.
    pub fn make_real(&self, bytes: &mut [u8]) {
        self.pairs.iter().for_each(|(nominal, real)| replace(bytes, nominal, real));
    }

    /// Puts the nominal names into a reply.
    pub fn make_nominal(&self, bytes: &mut [u8]) {
        self.pairs.iter().for_each(|(nominal, real)| replace(bytes, real, nominal));
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        match bytes.get_mut(at..at + from.len()) {
            Some(found) if found == from => {
                found.copy_from_slice(to);
                at += from.len();
            }
            _ => at += 1,
        }
    }
}

/// The topic id that stands for that of the topic with this name.
pub fn nominal_topic_id(topic: &str) -> [u8; 16] {
    let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut id = [0xd1; 16];
    let (_, last) = id.split_at_mut(8);
    last.copy_from_slice(&hash.to_be_bytes());
    id
}

/// The fetch session that stands for the one a broker gave.
pub const NOMINAL_SESSION_ID: i32 = 0x5e55_10d5;

/// The member id that stands for the one a broker made of a client's or an instance's name: the first, the second, …
pub fn nominal_member(prefix: &str, number: usize) -> String {
    format!("{prefix}-{NOMINAL_UUID_START}{number:012}")
}

/// The same for a consumer whose name is nothing but a uuid in base64.
pub fn nominal_consumer(number: usize) -> String {
    format!("{NOMINAL_CONSUMER_START}{number:08}")
}

/// What a nominal consumer's name begins with.
pub const NOMINAL_CONSUMER_START: &str = "NominalMember-";

/// What a nominal member's uuid begins with.
pub const NOMINAL_UUID_START: &str = "00000000-0000-4000-8000-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_the_real_names_and_a_reply_the_nominal_ones() {
        let mut names = Names::default();
        names.learn(b"nominal-1", b"broker-77");
        names.learn(b"short", b"longer");
        let mut request = b"a nominal-1, nominal-1 and short".to_vec();
        names.make_real(&mut request);
        assert_eq!(request, b"a broker-77, broker-77 and short");
        names.make_nominal(&mut request);
        assert_eq!(request, b"a nominal-1, nominal-1 and short");
    }

    #[test]
    fn topics_have_ids_of_their_own() {
        assert_ne!(nominal_topic_id("a"), nominal_topic_id("b"));
        assert_eq!(nominal_topic_id("a"), nominal_topic_id("a"));
    }
}
