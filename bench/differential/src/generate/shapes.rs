//! Requests of every API that both brokers serve, made from Corelog's table of request shapes: right in form, random in
//! content. New APIs are covered on the day their shape is in the table.
//!
//! Deliberately absent: APIs whose random requests would wait, or would change what other scripts find.

use corelog::api::shape::{Field, Shape, Wire};
use corelog::api::wire::WriteWire;

use super::Maker;
use crate::names::nominal_topic_id;
use crate::script::Request;

/// Produce, Fetch and what goes to the controller wait for as long as they say; creating, deleting, joining and the broker's own features and
/// quotas would be felt by every other script, and so would the topics that Kafka makes when it is asked for a coordinator. All have generators of their own, or need one.
const EXCLUDED: &[i16] = &[
    0, 1, 10, 11, 14, 19, 20, 21, 22, 33, 36, 37, 43, 44, 45, 46, 49, 51, 57, 64, 68, 76, 78, 79, 80, 81, 88,
];

/// APIs that only read: they may name the fixtures.
const READING: &[i16] = &[2, 3, 9, 15, 16, 23, 29, 32, 35, 55, 60, 61, 65, 66, 69, 74, 75];

/// An unknown tag, as a later version may bring one.
const LATER_TAG: u32 = 9_999;

/// Whatever is served.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..16 {
        let keys: Vec<i16> =
            maker.world.versions.keys().copied().filter(|key| !EXCLUDED.contains(key)).collect();
        if keys.is_empty() {
            return;
        }
        let key = maker.random.pick(&keys);
        let (Some(version), Some(shape)) = (maker.version(key), Shape::of(key)) else { continue };
        let body = body(maker, shape, version);
        match maker.frame(key, version, &body) {
            Ok(frame) => {
                let label = format!("random {} version {version}", shape.name);
                maker.push(Request::new(key, version, maker.correlation_id(), frame, label));
            }
            Err(error) => maker.failed = Some(error),
        }
    }
}

/// A body of this shape.
pub(super) fn body(maker: &mut Maker<'_>, shape: &'static Shape, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    let writer = Writer { key: shape.key, version, flexible: version >= shape.flexible };
    writer.fields(maker, &mut body, shape.fields);
    body
}

struct Writer {
    key: i16,
    version: i16,
    flexible: bool,
}

impl Writer {
    fn fields(&self, maker: &mut Maker<'_>, out: &mut Vec<u8>, fields: &'static [Field]) {
        let present = |field: &&Field| field.is_in(self.version);
        for field in fields.iter().filter(present).filter(|field| field.tag().is_none()) {
            self.value(maker, out, field.wire());
        }
        if self.flexible {
            self.tagged(maker, out, fields);
        }
    }

    fn tagged(&self, maker: &mut Maker<'_>, out: &mut Vec<u8>, fields: &'static [Field]) {
        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields.iter().filter(|field| field.is_in(self.version)) {
            if let Some(tag) = field.tag()
                && maker.random.once_in(3)
            {
                let mut value = Vec::new();
                self.value(maker, &mut value, field.wire());
                tagged.push((tag, value));
            }
        }
        if maker.random.once_in(8) {
            tagged.push((LATER_TAG, b"later".to_vec()));
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        out.put_varint(tagged.len() as u32);
        for (tag, value) in tagged {
            out.put_varint(tag);
            out.put_varint(value.len() as u32);
            out.extend_from_slice(&value);
        }
    }

    fn value(&self, maker: &mut Maker<'_>, out: &mut Vec<u8>, wire: &'static Wire) {
        match wire {
            Wire::Fixed(16) => {
                let topic = self.topic(maker);
                let id = maker.random.pick(&[
                    nominal_topic_id(&topic),
                    nominal_topic_id(&topic),
                    [0; 16],
                    [9; 16],
                ]);
                out.extend_from_slice(&id);
            }
            Wire::Fixed(8) => {
                let value = maker.random.pick(&[0_i64, 1, -1, -2, 5, 1_000, i64::MAX, i64::MIN]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Wire::Fixed(4) => {
                let value = maker.random.pick(&[0_i32, 0, 1, 1, -1, 2, 3, 5, 1_000, i32::MAX, i32::MIN]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Wire::Fixed(2) => {
                let value = maker.random.pick(&[0_i16, 1, -1, 5, i16::MAX, i16::MIN]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Wire::Fixed(len) => {
                out.extend((0..*len).map(|_| maker.random.pick(&[0_u8, 0, 1, 1, 2, 3, 4, 0xff])))
            }
            Wire::String => {
                let text = self.text(maker);
                out.put_nullable_string(self.flexible, text.as_deref());
            }
            Wire::Bytes => match maker.random.below(4) {
                0 => out.put_count(self.flexible, 0),
                _ => {
                    out.put_count(self.flexible, 3);
                    out.extend_from_slice(b"\x00ab");
                }
            },
            Wire::Array(element) => {
                if maker.random.once_in(12) {
                    if self.flexible {
                        out.push(0)
                    } else {
                        out.extend_from_slice(&(-1_i32).to_be_bytes())
                    }
                    return;
                }
                let count = maker.random.pick(&[0, 1, 1, 1, 2, 3]);
                out.put_count(self.flexible, count);
                (0..count).for_each(|_| self.value(maker, out, element));
            }
            Wire::Struct(fields) => self.fields(maker, out, fields),
            Wire::Nullable(fields) => match maker.random.below(3) {
                0 => out.push(0xff),
                _ => {
                    out.push(1);
                    self.fields(maker, out, fields);
                }
            },
        }
    }

    fn topic(&self, maker: &mut Maker<'_>) -> String {
        let fixtures = maker.world.fixtures();
        if READING.contains(&self.key) { maker.random.pick(&fixtures).0 } else { "no-such-topic".to_owned() }
    }

    fn text(&self, maker: &mut Maker<'_>) -> Option<String> {
        match maker.random.below(14) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("..".to_owned()),
            3 => Some("a b\u{e4}\n".to_owned()),
            // Metadata would create it.
            4 if self.key != 3 => Some("x".repeat(300)),
            5..=6 if self.key != 3 => Some("no-such-name".to_owned()),
            _ => Some(self.topic(maker)),
        }
    }
}
